"""The cost of building on a server, beside `docker build` run on that server itself.

    python -m benchmarks.ecs --server root@10.0.0.5 --size-gb 0.5 2 8
    python -m benchmarks.ecs --stand-in --size-gb 0.5 --generate-gb 36

Payloads are random bytes, which nothing can compress. One of 36 GB is made on the server itself, in
a RUN step, so that it is on disk once. The table is written to ecs.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from benchmarks.ecs_page import page
from benchmarks.machine import this_machine
from custom_image import ecs
from custom_image.build_context import write_build_context
from custom_image.ecs.transfer.manifest import context_key
from custom_image.ecs.transfer.send import STORE
from custom_image.engines.readiness import wait_until_ready
from custom_image.errors import CustomImageError
from custom_image.model_package import SERVICE_FILE
from custom_image.progress import say
from custom_image.rules import Needs, catalogue
from custom_image.settings import enter_project
from custom_image.specification import GB, HEALTH_URL
from custom_image.verification import verify

OUTPUT: Final = Path("build/benchmarks/ecs.json")
PAGE: Final = Path(__file__).with_name("ecs.md")
_FILE_BYTES: Final = 64 * 2**20
_PARTS: Final = 6
# On the server a payload is in its store, in the builder's copy of the context, and in the image.
_COPIES_THERE: Final = 3
_RESERVE_BYTES: Final = 3 * GB
_GENERATED_GB: Final = 9
# `docker save`, which rules on contents read, writes the whole image beside itself first.
_SAVE_COPIES: Final = 1.1


@dataclass
class Figures:
    """One payload; a figure that was not measured is missing."""

    what: str
    values: dict[str, float] = field(default_factory=dict)
    not_run: str = ""
    log: list[str] = field(default_factory=list)


class Bench:
    """A server, a package with real code and weights of random bytes, and the measuring."""

    def __init__(self, server: ecs.BuildServer, folder: Path, *, on_this_disk: bool) -> None:
        """Look at a server; ``on_this_disk`` where its disk is a file on this machine's."""
        self.server, self.connection = server, server.connection
        self.on_this_disk = on_this_disk
        self.folder = folder

    def package(self, sizes: list[int]) -> Any:
        """Write a model package with files of these sizes beside the example's own."""
        model = self.folder / "model"
        shutil.rmtree(self.folder / "model", ignore_errors=True)
        source = Path("build/model_package/model")
        shutil.copytree(source, model)
        for number, size in enumerate(sizes):
            with (model / f"random-{number}.bin").open("wb") as file:
                while size > 0:
                    file.write(os.urandom(min(size, _FILE_BYTES)))
                    size -= _FILE_BYTES
        return SimpleNamespace(folder=model)

    def measure(self, size_gb: float) -> Figures:
        """Build twice, and once by the server's own `docker build`."""
        found = Figures(f"{size_gb:g} GB")
        needed = int(size_gb * GB * _COPIES_THERE) + _RESERVE_BYTES
        if reason := self._too_little(needed, int(size_gb * GB) + GB):
            found.not_run = reason
            return found
        values = found.values
        package = self.package([int(size_gb * GB)])
        began = time.monotonic()
        context = self._context(package)
        values["context_s"] = time.monotonic() - began
        tag = f"ecs-benchmark:{size_gb:g}"
        free = self._free()
        image = self._build(context, tag, values)
        values["disk_gb"] = (free - self._free()) / GB
        self._edit(package)
        began = time.monotonic()
        context = self._context(package)
        values["second_context_s"] = time.monotonic() - began
        before = self.connection.traffic.copy()
        second = ecs.build(context, tag, on=self.server)
        values["second_s"] = second.seconds
        values["second_sent_kb"] = (self.connection.traffic.sent - before.sent) / 1000
        assert second.facts.id != image.facts.id
        self._remove(tag)
        values["baseline_s"] = self._baseline(tag, image.job)
        values["times"] = values["build_s"] / values["baseline_s"]
        return found

    def measure_splitting(self, size_gb: float) -> Figures:
        """Build a file in one layer and in parts, and start both."""
        found = Figures(f"one file of {size_gb:g} GB in {_PARTS} parts")
        needed = int(size_gb * GB * 2 * (_COPIES_THERE + 1)) + _RESERVE_BYTES
        if reason := self._too_little(needed, 3 * int(size_gb * GB)):
            found.not_run = reason
            return found
        package = self.package([int(size_gb * GB)])
        for name, layer_bytes in (
            ("whole", 10 * GB),
            ("parts", int(size_gb * GB / (_PARTS - 0.5))),
        ):
            tag = f"ecs-benchmark:{name}"
            values: dict[str, float] = {}
            image = self._build(self._context(package, layer_bytes), tag, values)
            found.values[f"{name}_build_s"] = values["build_s"]
            found.values[f"{name}_image_gb"] = image.facts.size_bytes / GB
            began = time.monotonic()
            with self.server.engine.start(tag) as service:
                wait_until_ready(service, HEALTH_URL.value, timeout_s=600)
                found.values[f"{name}_ready_s"] = time.monotonic() - began
                _, output = service.execute(["du", "-sm", "/home/ma-user/infer/model/1"])
                found.values[f"{name}_folder_gb"] = int(output.split()[0]) * 2**20 / GB
            self._remove(tag)
        return found

    def generate(self, size_gb: float) -> Figures:
        """Build and verify an image whose payload a RUN step makes there."""
        found = Figures(f"{size_gb:g} GB, made there")
        per_layer = min(_GENERATED_GB, size_gb)
        # The classic builder has the layer that it is at twice.
        copies = 0 if self.server.facts.buildkit else per_layer
        needed = int((size_gb + copies) * GB) + _RESERVE_BYTES
        if reason := self._too_little(needed, GB):
            found.not_run = reason
            return found
        context = self._context(self.package([]))
        lines, left, number = [], int(size_gb * GB), 0
        while left > 0:
            size = min(left, int(per_layer * GB))
            target = f"/home/ma-user/infer/model/1/generated-{number}.bin"
            lines.append(f"RUN head -c {size} /dev/urandom >{target}")
            left, number = left - size, number + 1
        dockerfile = context.folder / "Dockerfile"
        dockerfile.write_text(dockerfile.read_text() + "\n".join(lines) + "\n")
        tag = f"ecs-benchmark:{size_gb:g}"
        free = self._free()
        image = self._build(context, tag, found.values)
        found.values["image_gb"] = image.facts.size_bytes / GB
        found.values["disk_gb"] = (free - self._free()) / GB
        found.log = str(image).splitlines()
        contents = self._too_little(int(size_gb * GB * _SAVE_COPIES) + _RESERVE_BYTES, 0)
        only = [r.id for r in catalogue() if not (contents and Needs.CONTENTS in r.needs)]
        began = time.monotonic()
        report = verify(tag, engine=self.server.engine, only=only)
        found.values["verify_s"] = time.monotonic() - began
        if contents:
            found.log.append(f"rules on contents NOT RUN: {contents}")
        found.log += str(report).splitlines()
        self._remove(tag)
        return found

    def _context(self, package: Any, layer_bytes: int = 10 * GB) -> Any:
        folder = self.folder / "ecs" / "context"
        return write_build_context(package, "ecs_build", layer_bytes=layer_bytes, folder=folder)

    def _edit(self, package: Any) -> None:
        code = package.folder / SERVICE_FILE.name
        code.write_text(code.read_text() + f"# edited at {time.time()}\n")

    def _build(self, context: Any, tag: str, values: dict[str, float]) -> ecs.ServerImage:
        # As the first build of a server: no step and no context from before, but the base.
        self.connection.run("docker builder prune --all --force", timeout_s=None)
        _reset_peak()
        self._run_as_root("for p in $(pgrep -x dockerd); do echo 5 >/proc/$p/clear_refs; done")
        before = self.connection.traffic.copy()
        image = ecs.build(context, tag, on=self.server)
        assert image.sent is not None
        values["total_s"] = image.seconds
        values["send_s"] = image.sent.seconds
        values["build_s"] = self._job_seconds(image.job)
        values["sent_gb"] = (self.connection.traffic.sent - before.sent) / GB
        values["payload_gb"] = image.sent.context_bytes / GB
        values["peak_here_mb"] = _peak_mb()
        peak = self._run_as_root("grep VmHWM /proc/$(pgrep -x dockerd)/status")
        values["peak_dockerd_mb"] = int(peak.split()[1]) / 1000 if peak else float("nan")
        return image

    def _job_seconds(self, job: str) -> float:
        folder = f"{STORE}/jobs/{job}"
        done = self.connection.run(f"stat -c %.9Y {folder}/script {folder}/code")
        began, ended = map(float, done.output.split())
        return ended - began

    def _baseline(self, tag: str, job: str) -> float:
        """Return how long the server's own `docker build` takes for the same context."""
        tree = f"{STORE}/contexts/{context_key(tag)}/tree"
        note = json.loads(self.connection.run(f"cat {STORE}/jobs/{job}/note").output)
        base = shlex.quote(f"BASE_IMAGE={note['base']}")
        copy = f"{STORE}/baseline"
        command = (
            f"docker builder prune --all --force >/dev/null; rm -rf {copy}; cp -al {tree} {copy};"
            f" began=$(date +%s.%N); DOCKER_BUILDKIT={int(note['buildkit'])}"
            f" docker build --no-cache --network none --build-arg {base} --tag {tag}-baseline"
            f" {copy}"
            " >/dev/null 2>&1 || exit 1; echo $(date +%s.%N) $began;"
            f" rm -rf {copy}"
        )
        done = self.connection.run(command, timeout_s=None)
        assert done.code == 0, done.error
        ended, began = map(float, done.output.split())
        self._remove(f"{tag}-baseline")
        return ended - began

    def _remove(self, tag: str) -> None:
        prune = "docker builder prune --all --force"
        self.connection.run(f"docker rmi {tag}; {prune}", timeout_s=None)

    def _free(self) -> int:
        return self.server.refresh().docker_free_bytes

    def _too_little(self, there: int, here: int) -> str:
        """Return why there is too little disk; empty where there is enough."""
        free_there, free_here = self._free(), shutil.disk_usage(self.folder).free
        say(
            f"free: {free_there / GB:.1f} GB there, {there / GB:.1f} required; "
            f"{free_here / GB:.1f} GB here, {here / GB:.1f} required"
        )
        # The disk of a stand-in is a file on this one.
        on_this_disk = here + there if self.on_this_disk else here
        for where, required, free in (
            ("there", there, free_there),
            ("here", on_this_disk, free_here),
        ):
            if free < required:
                return f"{where}: {required / GB:.1f} GB of disk required, {free / GB:.1f} found"
        return ""

    def _run_as_root(self, command: str) -> str:
        """Run what only root may; nothing comes of it for another user."""
        return self.connection.run(f"[ $(id -u) = 0 ] && {{ {command}; }} 2>/dev/null").output


def main() -> None:
    """Measure, write the page with the tables, and keep the figures below build/."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", default="", help="user@host; see also --stand-in")
    parser.add_argument("--ssh-config", default="", help="instead of ~/.ssh/config")
    parser.add_argument("--stand-in", action="store_true", help="that of the tests; needs root")
    parser.add_argument("--size-gb", type=float, nargs="*", default=[0.5, 2, 8])
    parser.add_argument("--split-gb", type=float, default=0.5, help="0: leave out")
    parser.add_argument("--generate-gb", type=float, default=0, help="0: leave out")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    enter_project()
    machine = this_machine()
    Path("build/benchmarks").mkdir(parents=True, exist_ok=True)
    try:
        with (
            tempfile.TemporaryDirectory(dir="build/benchmarks") as folder,
            _server(options, Path(folder).resolve()) as (address, config),
            ecs.BuildServer(ecs.Connection.open(address, config_file=config)) as server,
        ):
            bench = Bench(server, Path(folder).resolve(), on_this_disk=options.stand_in)
            sizes: list[Figures] = []
            splitting: list[Figures] = []
            made: list[Figures] = []

            def keep() -> None:  # after each: a long run may be ended before its last size
                everything = [asdict(figures) for figures in (*sizes, *splitting, *made)]
                OUTPUT.write_text(json.dumps(everything, indent=1) + "\n")
                command = " ".join(sys.argv[1:])
                text = page(machine, str(bench.server), sizes, splitting, made, command)
                options.page.write_text(text)

            for size_gb in options.size_gb:
                sizes.append(bench.measure(size_gb))
                keep()
            if options.split_gb:
                splitting.append(bench.measure_splitting(options.split_gb))
                keep()
            if options.generate_gb:
                made.append(bench.generate(options.generate_gb))
                keep()
    except CustomImageError as error:
        say(str(error))
        raise SystemExit(error.exit_code) from error
    say(f"{options.page.read_text()}\nwritten to {options.page}; figures: {OUTPUT}")


@contextmanager
def _server(options: argparse.Namespace, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the address of the server and the ssh configuration."""
    if not options.stand_in:
        yield options.server, options.ssh_config
        return
    sys.path.insert(0, "tests/support")
    from ecs_server import EcsServer  # type: ignore[import-not-found]

    (folder / "server").mkdir()
    size_gb = shutil.disk_usage(folder).free / GB
    with EcsServer.start(folder / "server", disk_gb=size_gb) as server:
        yield server.host, str(server.ssh_config)


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _peak_mb() -> float:
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    return int(line.split()[1]) / 1000


if __name__ == "__main__":
    main()
