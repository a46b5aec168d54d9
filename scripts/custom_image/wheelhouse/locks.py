"""The locks in docker/requirements: one of each ``.in`` for every Python, with hashes.

``python -m custom_image.wheelhouse [--upgrade]`` writes them. A lock names no index: wheels
come from wherever the author's pip looks, and must have these hashes.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from custom_image.errors import BuildFailed
from custom_image.progress import say
from custom_image.settings import project_files
from custom_image.target_python import DEFAULT, TargetPython
from custom_image.wheelhouse.download import run_pip

# First the one that fewer wheels are made for, so that the versions are there for both.
_MACHINES: Final = ("aarch64", "x86_64")
# Of Debian 12, of Debian 10 and its likes, and of the oldest that wheels are made for: a base of
# another age may get another file of the same version.
_GLIBCS: Final = (36, 28, 17)
# Left out although ONNX Runtime's metadata names them: only its tools import them, which images do
# not have either (trim.py).
_LEFT_OUT: Final = {"onnxruntime": {"coloredlogs", "flatbuffers", "protobuf", "sympy"}}
# Made for the project's own stand-in alone, on its own base.
_DEFAULT_ALONE: Final = {"preset"}

Report = Mapping[str, Mapping[str, Any]]
"""What pip's installation report says of each package, by its name."""


def lock_files(engine: str, python: TargetPython) -> list[Path]:
    """Return the locks of what an image installs, and of pip: docker/requirements/3.11/..."""
    folder = project_files() / "docker/requirements" / python.minor
    return [folder / f"{name}.txt" for name in (engine, "installer")]


def write_locks(folder: Path, minor: str, *, upgrade: bool = False) -> None:
    """Lock the ``.in`` files of a folder for one Python, into ``folder/<minor>/``.

    Args:
        folder: of the files.
        minor: the Python, ``3.11``.
        upgrade: take the newest versions; else those that are locked stay where they can.

    Raises:
        BuildFailed: pip finds no set of wheels.
    """
    inputs = [
        path
        for path in sorted(folder.glob("*.in"))
        if minor == DEFAULT or path.stem not in _DEFAULT_ALONE
    ]
    locks = [folder / minor / f"{path.stem}.txt" for path in inputs]
    pins = "" if upgrade else "\n".join(_pins(lock) for lock in locks if lock.is_file())
    version = TargetPython().version if minor == DEFAULT else minor
    report = _resolve(inputs, pins, TargetPython(version, _MACHINES[0]))
    hashes = {name: {_digest(package)} for name, package in report.items()}
    for machine in _MACHINES:
        for glibc in _GLIBCS:
            python = TargetPython(version, machine, glibc)
            for name, package in _find_all(inputs, report, python).items():
                hashes[name].add(_digest(package))
    (folder / minor).mkdir(exist_ok=True)
    for path, lock in zip(inputs, locks, strict=True):
        needed = _closure(path, report, TargetPython(version, _MACHINES[0]))
        lock.write_text("".join(_entry(name, report, hashes, needed) for name in sorted(needed)))


def _find_all(inputs: Iterable[Path], report: Report, python: TargetPython) -> Report:
    """Return the same versions as found for another machine or glibc, where they are there."""
    pins = {name: f"{name}=={_version(report, name)}" for name in report}
    with suppress(BuildFailed):
        return _resolve(inputs, "\n".join(pins.values()), python)
    found: dict[str, Mapping[str, Any]] = {}
    for name, pin in pins.items():
        if not report[name]["download_info"]["url"].endswith("-none-any.whl"):
            try:
                found |= _report("--no-deps", pin, python=python)
            except BuildFailed:
                say(f"{pin} has no wheel for {python} with glibc 2.{python.glibc}")
    return found


def _resolve(inputs: Iterable[Path], pins: str, python: TargetPython) -> Report:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write(pins)
        constraints.flush()
        files = [part for path in inputs for part in ("--requirement", str(path))]
        return _report("--constraint", constraints.name, *files, python=python)


def _report(*arguments: str, python: TargetPython) -> Report:
    with tempfile.TemporaryDirectory() as work:
        report = Path(work, "report.json")
        run_pip(
            *("install", "--dry-run", "--ignore-installed", "--quiet", "--target", work),
            *("--report", str(report), *arguments),
            python=python,
        )
        packages = json.loads(report.read_bytes())["install"]
    return {canonicalize_name(found["metadata"]["name"]): found for found in packages}


def _closure(path: Path, report: Report, python: TargetPython) -> dict[str, set[str]]:
    """Return what must be installed for a ``.in`` file, each with the packages that need it."""
    needed: dict[str, set[str]] = {
        canonicalize_name(wanted.name): set()
        for wanted in map(Requirement, _lines(path))
        if _applies(wanted, python)
    }
    waiting = list(needed)
    while waiting:
        parent = waiting.pop()
        for line in report[parent]["metadata"].get("requires_dist", []):
            wanted = Requirement(line)
            name = canonicalize_name(wanted.name)
            if not _applies(wanted, python) or name in _LEFT_OUT.get(parent, ()):
                continue
            if name not in needed:
                waiting.append(name)
            needed.setdefault(name, set()).add(parent)
    return needed


def _applies(wanted: Requirement, python: TargetPython) -> bool:
    return not wanted.marker or wanted.marker.evaluate({**python.markers, "extra": ""})


def _lines(path: Path) -> list[str]:
    """Return the requirements of a ``.in`` file, those of files that it includes among them."""
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        text = line.partition("#")[0].strip()
        if text.startswith("-r "):
            lines += _lines(path.parent / text[3:].strip())
        elif text:
            lines.append(text)
    return lines


def _entry(
    name: str, report: Report, hashes: Mapping[str, set[str]], needed: Mapping[str, set[str]]
) -> str:
    lines = [f"{name}=={_version(report, name)}"]
    lines += [f"    --hash=sha256:{digest}" for digest in sorted(hashes[name])]
    via = f"    # via {', '.join(sorted(needed[name]))}\n" if needed[name] else ""
    return " \\\n".join(lines) + "\n" + via


def _digest(package: Mapping[str, Any]) -> str:
    return str(package["download_info"]["archive_info"]["hashes"]["sha256"])


def _version(report: Report, name: str) -> str:
    return str(report[name]["metadata"]["version"])


def _pins(lock: Path) -> str:
    return "\n".join(re.findall(r"^[^\s#]+==[^\s;\\]+", lock.read_text(), re.MULTILINE))
