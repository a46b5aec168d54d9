"""The cost of installing the tool, and how soon a new user has a verdict on an image.

    python -m benchmarks.install --image mine:1

A wheel is made of this checkout and installed into bare environments of each Python that is here,
from wherever pip looks. Then the path of a new user is walked in an empty folder: `pip install`,
and `custom-image verify IMAGE`. The table is written to install.md beside this file.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.machine import this_machine
from benchmarks.page import remark_on, table
from custom_image.settings import project_files

PAGE: Final = Path(__file__).with_suffix(".md")
PYTHONS: Final = ("3.11", "3.13")
LARGEST_MB: Final = {"": 110, "cloud": 170}
"""What a fresh environment may take with each extra, pip and all."""
# What a wheel is made of.
_SOURCES: Final = (
    *("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"),
    *("docker", "model_package", "notebooks", "scripts"),
)
_FILES: Final = {
    "config.json": "model_package/model",
    "Dockerfile": "docker/dockerfile_build",
    "run.sh": "docker/rootfs/home",
}


def make_wheel(folder: Path) -> tuple[Path, Path]:
    """Return the sdist of this checkout, and the wheel that is made of that."""
    tree = folder / "tree"
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", ".ipynb_checkpoints")
    for name in _SOURCES:
        source = project_files() / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=ignored)
        else:
            tree.mkdir(exist_ok=True)
            shutil.copy(source, tree / name)
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", tree)
    (sdist,), (wheel,) = ((folder / "dist").glob(f"*{end}") for end in (".tar.gz", ".whl"))
    return sdist, wheel


def find_python(version: str) -> str:
    """Return the interpreter of that version, of PATH or pyenv's; empty where there is none."""
    places = [shutil.which(f"python{version}") or ""]
    places += [str(p) for p in Path.home().glob(f".pyenv/versions/{version}.*/bin/python3")]
    works = (place for place in places if place and _run(place, "-c", "import venv", check=False))
    return next(works, "")


def install(wheel: Path, python: str, folder: Path, extra: str = "") -> Path:
    """Make a bare environment, install the wheel with what it asks for, and return its bin/."""
    _run(python, "-m", "venv", folder)
    _install_into(folder, wheel, extra)
    return folder / "bin"


def _install_into(folder: Path, wheel: Path, extra: str) -> None:
    wanted = f"{wheel}[{extra}]" if extra else str(wheel)
    _run(folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", wanted)


def size_mb(folder: Path) -> float:
    """Return what the files of an environment take, in MB of 10^6 bytes."""
    return sum(f.lstat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6


def _run(*command: str | Path, check: bool = True, cwd: Path | None = None) -> bool:
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}")
    return done.returncode == 0


@dataclass
class Taken:
    """What a step took: seconds of the clock, and of processors, which no other work lengthens."""

    wall: float = 0.0
    cpu: float = 0.0

    def cells(self) -> list[str]:
        """Return both as cells of a table."""
        return [f"{self.wall:.1f}", f"{self.cpu:.1f}"]


@contextmanager
def _timed() -> Iterator[Taken]:
    taken = Taken()
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    yield taken
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    taken.wall = time.monotonic() - began
    taken.cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _measure_installs(wheel: Path, folder: Path, versions: list[str]) -> list[list[str]]:
    rows = []
    for version in PYTHONS:
        python = find_python(version) if version in versions else ""
        for extra, largest in LARGEST_MB.items():
            name = f"Python {version}, {f'with `{extra}`' if extra else 'core'}"
            if not python:
                rows.append([name, "NOT RUN", "", "", ""])
                continue
            place = folder / f"{version}{extra}"
            _run(python, "-m", "venv", place)
            with _timed() as taken:
                _install_into(place, wheel, extra)
            rows.append([name, *taken.cells(), f"{size_mb(place):.0f}", f"< {largest} MB"])
    return rows


def _measure_new_user(wheel: Path, folder: Path, image: str) -> list[list[str]]:
    place = folder / "user"
    place.mkdir()
    with _timed() as whole:
        with _timed() as installing:
            command = install(wheel, find_python(PYTHONS[0]) or sys.executable, place / "env")
        with _timed() as judging:
            passed = _run(command / "custom-image", "verify", image, check=False, cwd=place)
    megabytes = size_mb(command.parent)
    return [
        [f"an environment of {megabytes:.0f} MB, `pip install`", *installing.cells(), "< 110 MB"],
        [f"`custom-image verify`: {'passed' if passed else 'failed'}", *judging.cells(), ""],
        ["from nothing to the verdict", *whole.cells(), "< 120 s"],
    ]


def _measure_hook(command: Path, folder: Path, rounds: int) -> list[list[str]]:
    files = folder / "files"
    files.mkdir()
    for name, source in _FILES.items():
        shutil.copy(project_files() / source / name, files)
    found = []
    for _ in range(rounds):
        with _timed() as taken:
            _run(command, "hook", *_FILES, check=False, cwd=files)
        found.append(taken)
    wall, cpu = median(t.wall for t in found), median(t.cpu for t in found)
    return [[", ".join(_FILES), f"{wall:.2f}", f"{cpu:.2f}", "< 1 s"]]


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--image", required=True, help="an image of the engine, to be judged")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pythons", nargs="*", default=PYTHONS, help="to install into, each alone")
    arguments = parser.parse_args()
    machine = this_machine()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _, wheel = make_wheel(folder)
        installs = _measure_installs(wheel, folder, arguments.pythons)
        user = _measure_new_user(wheel, folder, arguments.image)
        command = folder / "user/env/bin/custom-image"
        static = _measure_hook(command, folder, arguments.rounds)
        size = wheel.stat().st_size / 1e6
    parts = [
        "# What installing takes",
        f"Written by `{' '.join(['python -m benchmarks.install', *sys.argv[1:]])}`.",
        f"{machine}. The wheel has {size:.1f} MB; pip looks where it is configured to look.",
        remark_on(machine),
        table(
            [
                "`pip install` into a fresh environment",
                "seconds",
                "of CPU",
                "MB, pip and all",
                "required",
            ],
            installs,
        ),
        table(["a new user, in an empty folder", "seconds", "of CPU", "required"], user),
        table(["`custom-image hook`, median", "seconds", "of CPU", "required"], static),
    ]
    PAGE.write_text("\n\n".join(filter(None, parts)) + "\n")


if __name__ == "__main__":
    main()
