"""The cost of verifying, beside `docker save IMAGE | sha256sum` in the same run.

    python -m benchmarks.verifier --size-gb 2 10 --rounds 3 --archive

An image of incompressible files is made in the engine, judged, and removed. What is measured is a
whole process each time: Python's start and imports belong to what a user waits for. The table is
written to verifier.md beside this file, with the machine and the date.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final

import docker

from benchmarks.machine import Machine, this_machine
from custom_image.errors import CustomImageError, UsageError
from custom_image.progress import say
from custom_image.rules import Level, Needs, catalogue
from custom_image.settings import enter_project
from custom_image.specification import GB, MIB

BLOCK_BYTES: Final = 64 * MIB
SMALL_FILES: Final = 5000
OUTPUT: Final = Path("build/benchmarks/verifier.json")
PAGE: Final = Path(__file__).with_name("verifier.md")
MOST_TIMES: Final = 1.3
"""How long reading all layers may take, beside the first row."""
MOST_METADATA_S: Final = 5.0
MOST_METADATA_GB: Final = 10.0
"""Up to this size; the rest of the image is not read."""
MOST_MB: Final = 300.0
# What the image takes, what `docker save` writes beside it before it answers, and a reserve.
DISK_FACTOR: Final = 2.2
ARCHIVE_FACTOR: Final = 1.0
VERIFY: Final = """
import json, re, sys, time
from pathlib import Path
began = time.monotonic()
from custom_image.verification import verify
report = verify(sys.argv[1], level="static", only=json.loads(sys.argv[2]))
peak = int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1000
verdicts = {check.id: [check.verdict, check.measured] for check in report.checks}
print(json.dumps([time.monotonic() - began, peak, verdicts]))
"""


@dataclass(frozen=True)
class Cost:
    """One measured process.

    Attributes:
        seconds: from its start to its end.
        peak_mb: of its memory, 10**6 bytes; 0 where it is not ours.
    """

    what: str
    seconds: float
    peak_mb: float = 0.0


@dataclass(frozen=True)
class Results:
    """One run; ``costs`` holds every process of every round."""

    size_gb: float
    rounds: int
    load_before: float
    costs: tuple[Cost, ...]

    def seconds(self, what: str) -> float:
        """Return the median of a row over the rounds."""
        return median(cost.seconds for cost in self.costs if cost.what == what)

    def rows(self) -> Iterator[tuple[str, float, float, float]]:
        """Yield what, seconds, times the baseline, and peak memory of every row."""
        baseline_s = self.seconds(BASELINE)
        for what in dict.fromkeys(cost.what for cost in self.costs):
            peak_mb = max(cost.peak_mb for cost in self.costs if cost.what == what)
            yield what, self.seconds(what), self.seconds(what) / baseline_s, peak_mb

    def required(self, what: str) -> str:
        """Return what a row has to keep to; empty for the baseline."""
        if what == BASELINE:
            return ""
        if what in (METADATA, ARCHIVE_METADATA):
            is_meant = self.size_gb <= MOST_METADATA_GB
            return f"< {MOST_METADATA_S:g} s" if is_meant else ""
        return f"<= {MOST_TIMES:g} times"

    def keeps(self, what: str, seconds: float, times: float, peak_mb: float) -> bool:
        """Tell whether a row keeps to what is required of it."""
        if what in (LAYERS, ARCHIVE_LAYERS) and times > MOST_TIMES:
            return False
        is_metadata = what in (METADATA, ARCHIVE_METADATA) and self.size_gb <= MOST_METADATA_GB
        return not (is_metadata and seconds >= MOST_METADATA_S) and peak_mb < MOST_MB

    def to_markdown(self) -> str:
        """Return the table of one size."""
        rounds = "one round" if self.rounds == 1 else f"median of {self.rounds}"
        lines = [
            f"| image of {self.size_gb:g} GB, {rounds} | seconds | times the first row "
            f"| peak memory | required, and < {MOST_MB:g} MB |",
            "|---|---|---|---|---|",
        ]
        for what, seconds, times, peak_mb in self.rows():
            peak = f"{peak_mb:.0f} MB" if peak_mb else ""
            required = self.required(what)
            if required and not self.keeps(what, seconds, times, peak_mb):
                required = f"**missed**: {required}"
            lines.append(f"| {what} | {seconds:.1f} | {times:.2f} | {peak} | {required} |")
        return "\n".join(lines)


BASELINE: Final = "`docker save IMAGE \\| sha256sum`"
LAYERS: Final = "all static rules, image in the engine"
METADATA: Final = "rules on metadata, image in the engine"
ARCHIVE_LAYERS: Final = "all static rules, archive"
ARCHIVE_METADATA: Final = "rules on metadata, archive"


def main() -> None:
    """Measure, write the page with the tables, and keep the figures below build/."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--size-gb", type=float, nargs="+", default=[2.0], help="of each image (10**9 bytes)"
    )
    parser.add_argument("--rounds", type=int, default=2, help="of every measurement, in turn")
    parser.add_argument("--archive", action="store_true", help="measure a saved archive as well")
    parser.add_argument("--page", type=Path, default=PAGE, help="where the tables are written")
    options = parser.parse_args()
    options.page = options.page.resolve()
    enter_project()
    machine = this_machine()
    try:
        results = [
            measure(size_gb, options.rounds, with_archive=options.archive)
            for size_gb in options.size_gb
        ]
    except CustomImageError as error:
        say(str(error))
        raise SystemExit(error.exit_code) from error
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps([asdict(result) for result in results], indent=1) + "\n")
    text = page(machine, docker_version(), results, " ".join(sys.argv[1:]))
    options.page.write_text(text)
    say(f"{text}\nwritten to {options.page}; every round: {OUTPUT}")


def docker_version() -> str:
    """Return the version of the engine that is measured along."""
    return str(docker.from_env().version()["Version"])


def page(machine: Machine, engine: str, results: list[Results], options: str) -> str:
    """Return the text of verifier.md."""
    others = (
        ""
        if machine.was_idle
        else f"\nOthers kept the processors {machine.others_percent:.0f} % busy when it began: the "
        "figures are preliminary.\n"
    )
    tables = "\n\n".join(result.to_markdown() for result in results)
    return f"""# What verifying an image costs

Written by `python -m benchmarks.verifier {options}`.

{machine}; Docker {engine}.
{others}
{tables}
"""


def measure(size_gb: float, rounds: int, *, with_archive: bool) -> Results:
    """Make the image, measure in turn, and remove it again.

    Raises:
        UsageError: the disk has no room for it.
    """
    client = docker.from_env(timeout=3600)
    folder = Path(client.info()["DockerRootDir"])
    needed = size_gb * GB * (DISK_FACTOR + (ARCHIVE_FACTOR if with_archive else 0))
    free = shutil.disk_usage(folder if folder.is_dir() else Path()).free
    if free < needed + 2 * GB:
        raise UsageError(
            f"{folder} has {free / GB:.1f} GB free; expected {needed / GB + 2:.1f} GB.\n"
            "Choose a smaller --size-gb, or leave --archive out."
        )
    image = f"custom-image/benchmark:{secrets.token_hex(4)}"
    archive = OUTPUT.parent / f"{image.rpartition(':')[2]}.tar"
    load = os.getloadavg()[0]
    costs: list[Cost] = []
    try:
        say(f"making an image of {size_gb:g} GB ...")
        changes = ['CMD ["sh", "/home/run.sh"]', "USER 1000:100"]
        layer = image_tar(int(size_gb * GB))
        repository, _, tag = image.rpartition(":")
        client.api.import_image_from_stream(layer, repository, tag, changes=changes)
        if with_archive:
            archive.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["docker", "save", "--output", str(archive), image], check=True)
        for number in range(rounds):
            for cost in _round(image, archive if with_archive else None):
                say(f"round {number + 1}: {cost.what}: {cost.seconds:.1f} s {cost.peak_mb:.0f} MB")
                costs.append(cost)
    finally:
        archive.unlink(missing_ok=True)
        with suppress(docker.errors.ImageNotFound):
            client.images.remove(image, force=True)
    return Results(size_gb, rounds, load, tuple(costs))


def _round(image: str, archive: Path | None) -> Iterator[Cost]:
    yield Cost(BASELINE, _baseline_s(image))
    static = [rule for rule in catalogue() if rule.level is Level.STATIC]
    metadata = [rule.id for rule in static if Needs.CONTENTS not in rule.needs]
    every = [rule.id for rule in static]
    yield _verify(LAYERS, image, every)
    yield _verify(METADATA, image, metadata)
    if archive:
        yield _verify(ARCHIVE_LAYERS, str(archive), every)
        yield _verify(ARCHIVE_METADATA, str(archive), metadata)


def _baseline_s(image: str) -> float:
    began = time.monotonic()
    with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as save:
        subprocess.run(["sha256sum"], stdin=save.stdout, stdout=subprocess.DEVNULL, check=True)
    if save.returncode:
        raise UsageError(f"docker save {image} ended with code {save.returncode}")
    return time.monotonic() - began


def _verify(what: str, target: str, rules: list[str]) -> Cost:
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", VERIFY, target, json.dumps(rules)],
        env=os.environ | {"TQDM_DISABLE": "1"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds = time.monotonic() - began
    _, peak_mb, verdicts = json.loads(done.stdout)
    unpacked = verdicts.get("layers.unpack", ["PASSED", ""])
    if unpacked[0] != "PASSED" or "broke" in done.stdout:
        raise CustomImageError(f"the image was not read as it should be: {verdicts}")
    return Cost(what, round(seconds, 2), round(peak_mb, 1))


def image_tar(size_bytes: int) -> Iterator[bytes]:
    """Yield a root file system: what an image needs, many small files, and incompressible ones."""
    yield from _file("home/run.sh", [b"#!/bin/sh\nexec python3 serve.py\n"])
    yield from _file("etc/passwd", [b"ma-user:x:1000:100::/home/ma-user:/bin/sh\n"])
    source = b"".join(b"value_%d = compute(%d)  # a line of Python\n" % (n, n) for n in range(200))
    for number in range(SMALL_FILES):
        yield from _file(f"opt/lib/module_{number:05d}.py", [b"# %d\n" % number, source])
    block, left, number = os.urandom(BLOCK_BYTES), size_bytes, 0
    while left > 0:
        # Each differs in its first bytes, and so by its digest, at no cost of randomness.
        size = min(left, 16 * BLOCK_BYTES)
        parts = [number.to_bytes(8, "big")]
        parts += [block] * (size // BLOCK_BYTES) + [block[: size % BLOCK_BYTES]]
        yield from _file(f"opt/model/weights-{number:03d}.safetensors", parts)
        left, number = left - size, number + 1
    yield bytes(2 * tarfile.BLOCKSIZE)


def _file(name: str, parts: list[bytes]) -> Iterator[bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.mode = sum(len(part) for part in parts), 0o644
    yield info.tobuf()
    yield from parts
    yield bytes(-info.size % tarfile.BLOCKSIZE)


if __name__ == "__main__":
    main()
