"""Versions of a package that have a wheel for a Python, where the author's pip looks.

pip itself is asked, with its own configuration: at ``-vv`` it names every file of a package's page,
also those that do not fit. One call tells of all Pythons.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Final
from urllib.parse import unquote

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from custom_image.extras import require
from custom_image.target_python import SUPPORTED, TargetPython

_FILE: Final = re.compile(
    r"(?:https?|file)://\S*?/([^/\s#?]+\.(?:whl|tar\.gz|zip))(?:[#?]\S*)?"
    r"(?: \(from [^)]*\))?(?: \(requires-python:([^)]*)\))?"
)
_AT_ONCE: Final = 4


@dataclass(frozen=True)
class Wheel:
    """One file of an index."""

    version: Version
    tags: frozenset[Tag]
    requires_python: str

    def fits(self, python: TargetPython) -> bool:
        """Tell whether it runs on a Python."""
        try:
            if self.requires_python and python.version not in SpecifierSet(self.requires_python):
                return False
        except InvalidSpecifier:
            pass
        return not self.tags.isdisjoint(_tags(python))


@dataclass(frozen=True)
class Published:
    """What an index has of one package.

    Attributes:
        sources: the versions that are there as source alone.
    """

    name: str
    wheels: tuple[Wheel, ...]
    sources: frozenset[Version]

    def versions(self, python: TargetPython) -> list[Version]:
        """Return the versions that have a wheel for a Python, oldest first, without previews."""
        found = {w.version for w in self.wheels if not w.version.is_prerelease and w.fits(python)}
        return sorted(found)

    def pythons(self, allowed: SpecifierSet, machine: str) -> tuple[str, ...]:
        """Return the Pythons that have a wheel of one of the versions that are allowed."""
        wheels = [w for w in self.wheels if allowed.contains(w.version, prereleases=True)]
        pythons = [TargetPython(minor, machine) for minor in SUPPORTED]
        return tuple(p.minor for p in pythons if any(w.fits(p) for w in wheels))


def ask_index(names: Iterable[str]) -> dict[str, Published]:
    """Return what there is of each package, by its canonical name."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        wanted = sorted({str(canonicalize_name(name)) for name in names})
        return dict(zip(wanted, pool.map(_ask, wanted), strict=True))


@cache
def _ask(name: str) -> Published:
    require("build")
    command = [sys.executable, "-m", "pip", "index", "versions", name, "-vv", "--no-input"]
    done = subprocess.run(
        [*command, "--disable-pip-version-check"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    wheels, sources = [], set()
    for file, requires_python in _files(done.stdout):
        try:
            if file.endswith(".whl"):
                found, version, _, tags = parse_wheel_filename(file)
                if found == name:
                    wheels.append(Wheel(version, frozenset(tags), requires_python))
            else:
                found, version = parse_sdist_filename(file)
                if found == name:
                    sources.add(version)
        except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
            continue  # of another age than the names of today
    return Published(name, tuple(wheels), frozenset(sources - {w.version for w in wheels}))


def _files(output: str) -> Iterator[tuple[str, str]]:
    for match in _FILE.finditer(output):
        yield unquote(match[1]), (match[2] or "").replace("&gt;", ">").replace("&lt;", "<")


@cache
def _tags(python: TargetPython) -> frozenset[Tag]:
    major, minor = (int(part) for part in python.minor.split("."))
    platforms = [*python.platforms, f"linux_{python.machine}"]
    interpreter = f"cp{major}{minor}"
    return frozenset(
        [
            *cpython_tags((major, minor), platforms=platforms),
            *compatible_tags((major, minor), interpreter, platforms),
        ]
    )
