"""Pushing an image's layers to a registry on loopback beside oras, from what an engine saves."""

from __future__ import annotations

import multiprocessing
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.page import table
from custom_image.cloud.upload.repository import Repository
from custom_image.cloud.upload.upload import manifest_of
from custom_image.image_archive import media_types

LAYERS: Final = 4
LAYER_BYTES: Final = 64 * 10**6
_READ_BYTES: Final = 2**20
_CONFIG: Final = (
    "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {folder}}}}}\n"
    "http: {{addr: '127.0.0.1:{port}', relativeurls: true}}\n"
)


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """Yield the address of a registry that asks for no login."""
    program = subprocess.check_output(["scripts/ensure_registry.sh"], text=True).strip()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = folder / "registry.yml"
    config.write_text(_CONFIG.format(folder=folder / "registry", port=port))
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen([program, "serve", config], **quiet)  # type: ignore[call-overload]
    try:
        while True:
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def saved(folder: Path) -> Iterator[Iterator[bytes]]:
    """Yield the layers as an engine's ``docker save`` brings them: each once, in pieces."""

    def pieces(path: Path) -> Iterator[bytes]:
        with path.open("rb") as file:
            while piece := file.read(_READ_BYTES):
                yield piece

    for number in range(LAYERS):
        yield pieces(folder / f"layer-{number}")


def by_hand(host: str, folder: Path, tag: str) -> None:
    """Push as ``custom-image push`` does where the engine keeps an index."""
    with Repository(host, "bench/here", "", "") as repository:
        layers = [repository.send(layer) for layer in saved(folder)]
        config = repository.send([b"{}"])
        manifest = manifest_of(config, layers)
        repository.put_manifest(tag, media_types.DOCKER_IMAGE, manifest)


def by_oras(host: str, folder: Path, tag: str) -> None:
    """Push by oras, which takes files."""
    import oras.client  # type: ignore[import-not-found]

    with tempfile.TemporaryDirectory(dir=folder) as name:
        files = []
        for number, layer in enumerate(saved(folder)):
            path = Path(name) / f"{number}"
            with path.open("wb") as file:
                file.writelines(layer)
            files.append(f"{path}:{media_types.DOCKER_LAYER}")
        client = oras.client.OrasClient(hostname=host, insecure=True, tls_verify=False)
        client.push(f"{host}/bench/oras:{tag}", files=files, disable_path_validation=True)


def alone(way: Any, *arguments: Any) -> tuple[float, float]:
    """Run in a process of its own; return seconds and what memory it took on top, in MB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found: tuple[float, float] = pool.apply(_timed, (way, arguments))
        return found


def _timed(way: Any, arguments: Any) -> tuple[float, float]:
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before_mb = _peak_mb()
    began = time.monotonic()
    way(*arguments)
    return time.monotonic() - began, _peak_mb() - before_mb


def _peak_mb() -> float:
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    return int(line.split()[1]) / 1000


def measure(rounds: int) -> str:
    """Return the table."""
    ways = {"here": by_hand, "oras": by_oras}
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory(dir="build") as name, registry(Path(name)) as host:
        for number in range(rounds):
            for layer in range(LAYERS):
                (Path(name) / f"layer-{layer}").write_bytes(os.urandom(LAYER_BYTES))
            for way, push in ways.items():
                found[way].append(alone(push, host, Path(name), str(number)))
    size_mb = LAYERS * LAYER_BYTES / 1e6
    rows = [
        (
            way,
            f"{median(seconds for seconds, _ in runs):.2f}",
            f"{median(memory_mb for _, memory_mb in runs):.0f}",
            "0" if way == "here" else f"{size_mb:.0f}",
        )
        for way, runs in found.items()
    ]
    heads = ("way", "push, s", "memory on top, MB", "disk beside the engine's, MB")
    return (
        f"{LAYERS} layers of {LAYER_BYTES / 1e6:.0f} MB that come once, in order, as from "
        f"`docker save`, to a registry on loopback; medians of {rounds} rounds, ways in turn. "
        f"oras {metadata.version('oras')}.\n\n{table(heads, rows)}"
    )
