"""The wait of an instance for weights: in layers of its image, or mounted beside a thin one.

    python -m benchmarks.pull --image dockerfile_build:latest --size-gb 1 --keep

A registry on loopback stands for SWR, so what is measured is the engine's own work: to fetch,
check, unpack and write. What the network adds is reckoned from a bandwidth, and the page says which
is which. Weights are random, as no real ones compress either.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

import requests

from benchmarks.machine import this_machine
from benchmarks.page import remark_on, table
from benchmarks.processes import free_ports
from custom_image.specification import GB
from local_modelarts.registry.process import find_program

PAGE: Final = Path(__file__).with_name("pull.md")
WEIGHTS_GB: Final = 40
BANDWIDTHS_GBIT: Final = (1, 10)
_BLOCK: Final = 2**22
_CONFIG: Final = """version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


def docker(*arguments: str) -> str:
    """Run the engine's client; return what it wrote."""
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Serve a registry that keeps its layers in a folder; yield its host."""
    (port,) = free_ports(1)
    config = folder / "registry.yml"
    config.write_text(_CONFIG.format(folder=folder / "registry", port=port))
    command = [find_program() or "docker-registry", "serve", str(config)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        host = f"127.0.0.1:{port}"
        try:
            _wait_for(f"http://{host}/v2/")
            yield host
        finally:
            server.terminate()


def _wait_for(url: str, timeout_s: float = 30) -> None:
    until = time.monotonic() + timeout_s
    while time.monotonic() < until:
        try:
            if requests.get(url, timeout=1).ok:
                return
        except requests.ConnectionError:
            time.sleep(0.1)
    raise TimeoutError(f"{url} did not answer within {timeout_s:g} s")


def write_weights(path: Path, size_gb: float) -> None:
    """Write random bytes."""
    with path.open("wb") as file:
        for _ in range(round(size_gb * GB / _BLOCK)):
            file.write(os.urandom(_BLOCK))


def seconds_to_pull(host: str, thin: str, weights: Path, rounds: int) -> float:
    """Return what a layer with these weights adds to a pull of an image whose rest is here."""
    name = f"{host}/benchmark/fat:1"
    dockerfile = f"FROM {thin}\nCOPY {weights.name} /weights\n"
    (weights.parent / "Dockerfile").write_text(dockerfile)
    docker("build", "--quiet", "--tag", name, str(weights.parent))
    try:
        docker("push", "--quiet", name)
        times = []
        for _ in range(rounds):
            docker("rmi", name)
            began = time.perf_counter()
            docker("pull", "--quiet", name)
            times.append(time.perf_counter() - began)
        return median(times)
    finally:
        docker("rmi", name)


def seconds_to_read(thin: str, weights: Path, rounds: int) -> float:
    """Return how long a container takes to read mounted weights past the page cache."""
    script = "date +%s.%N; dd if=/model/weights.bin of=/dev/null bs=4M iflag=direct; date +%s.%N"
    mount = f"type=bind,source={weights.parent},target=/model,readonly"
    started = ["run", "--rm", "--network=none", "--user=0", "--mount", mount]

    def run() -> float:
        began, ended = map(float, docker(*started, "--entrypoint=sh", thin, "-c", script).split())
        return ended - began

    return median(run() for _ in range(rounds))


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--image", required=True, help="a thin one, of the local engine")
    parser.add_argument("--size-gb", type=float, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", action="store_true", help=f"write {PAGE.name} into the tree")
    given = parser.parse_args()
    machine = this_machine()
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "context", "weights.bin")
        weights.parent.mkdir()
        write_weights(weights, given.size_gb)
        with registry(Path(folder)) as host:
            pulled_s = seconds_to_pull(host, given.image, weights, given.rounds) / given.size_gb
        read_s = seconds_to_read(given.image, weights, given.rounds) / given.size_gb
    rows = [("measured", "none: loopback", "1", f"{pulled_s:.1f}", f"{read_s:.1f}")]
    for gbit in BANDWIDTHS_GBIT:
        wire_s = WEIGHTS_GB * 8 / gbit
        # The engine fetches and unpacks at once, so the slower of the two is what one waits for.
        layers_s, mount_s = (max(wire_s, WEIGHTS_GB * each) for each in (pulled_s, read_s))
        rows.append(
            ("reckoned", f"{gbit} Gbit/s", str(WEIGHTS_GB), f"{layers_s:.0f}", f"{mount_s:.0f}")
        )
    heads = ("figure", "network", "GB of weights", "in layers, s", "mounted and read once, s")
    page = [
        "# Weights in layers, or mounted",
        f"{machine}.",
        remark_on(machine),
        f"Measured with {given.size_gb:g} GB of random bytes, the median of {given.rounds}: "
        "layers from a registry on this machine, mounted weights from its own disk past the "
        "page cache. Reckoned: the same for each GB, or what the stated bandwidth takes where that "
        "is longer; nothing of it was run.",
        table(heads, rows),
    ]
    written = "\n\n".join(part for part in page if part) + "\n"
    print(written)  # noqa: T201
    if given.keep:
        PAGE.write_text(written)


if __name__ == "__main__":
    main()
