"""Python packages against their lock, and the layers that a container stands on."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from custom_image.audit.findings import Finding
from custom_image.errors import UsageError
from custom_image.specification import NOTEBOOK_LAYERS

PACKAGES: Final = "packages"
_PIN: Final = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)
# From here on a few more saves reach the limit.
_MANY_LAYERS: Final = NOTEBOOK_LAYERS.value - 25


def find_drift(
    packages: Mapping[str, str], lock: Path, python: str, added: Collection[str] = ()
) -> Iterator[Finding]:
    """Yield the packages that are missing, that have another version, or that no lock knows.

    Args:
        packages: versions by name.
        lock: requirements, every package pinned.
        python: whose packages they are, for the commands that fix.
        added: the names of those that the image did not bring. What it brought itself, and the lock
            does not name, is the preset's own.

    Raises:
        UsageError: the lock cannot be read, or pins nothing.
    """
    try:
        pins = _PIN.findall(lock.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{lock}: expected a file of requirements, but {error}.") from error
    if not pins:
        raise UsageError(
            f"{lock} pins no package.\nExpected lines of the form name==version, as pip freeze "
            "writes them."
        )
    found = {_normal(name): version for name, version in packages.items()}
    for name, version in pins:
        have = found.get(_normal(name))
        if have == version:
            continue
        what = f"{name} {have}, where the lock has {version}" if have else f"no {name} {version}"
        remediation = f"Install it where it is saved: {python} -m pip install {name}=={version}"
        yield Finding(PACKAGES, "", 0, what, remediation)
    known = {_normal(name) for name, _ in pins}
    for name in sorted({_normal(name) for name in added} - known):
        what = f"{name} {found.get(name, '')}".rstrip() + " was added here, and no lock has it"
        remediation = (
            "A save keeps it, an image built from the lock will not have it: add it to the lock, "
            f"or remove it: {python} -m pip uninstall {name}"
        )
        yield Finding(PACKAGES, "", 0, what, remediation)


def count_layers(mounts: Path = Path("/proc/self/mountinfo")) -> int:
    """Return how many layers the root file system stands on; 0 where it is no overlay.

    One of them may be the engine's own, so this is one too many rather than one too few.
    Source: https://docs.kernel.org/filesystems/overlayfs.html, lowerdir
    """
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return 0
    for line in lines:
        fields, _, options = line.partition(" - ")
        if fields.split()[4:5] == ["/"] and options.startswith("overlay "):
            lower = re.search(r"[ ,]lowerdir=([^,\s]+)", options)
            return len(lower[1].split(":")) if lower else 0
    return 0


def judge_layers(layers: int) -> Iterator[Finding]:
    """Yield a finding where few saves are left."""
    if layers >= _MANY_LAYERS:
        yield Finding(
            "layers",
            "",
            0,
            f"{layers} layers, each save adds one, and {NOTEBOOK_LAYERS} are the limit",
            "Build the image anew from a Dockerfile: scenario dockerfile_build.",
        )


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
