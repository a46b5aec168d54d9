"""Checks of a build server; each function makes one finding of what was seen."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from custom_image.diagnosis import Finding, State
from custom_image.specification import (
    CLIENT_NEWEST,
    CLIENT_OLDEST,
    GB,
    IMAGE_SIZE,
    LAYER_SIZE,
    NOTEBOOK_LAYERS,
    PUSHED_LAYERS,
)

# The context, the engine's copy of it, and the image, where all three are on one disk.
DISK_GB: Final = 3 * IMAGE_SIZE.value
SSHD_REFUSES: Final = "sshd refuses"
# Measured: a Python environment of 1.8 GB has 53,000 files; an image and its context are not more.
_INODES_PER_GB: Final = 30_000
# A build needs little; the verifier starts the image and loads its model.
_MEMORY_GB: Final = 4
# Certificates and tokens are valid from when they were made; the makers' clocks differ by seconds.
_CLOCK_S: Final = 60
# The platform's machines, by the names of `uname -m`.
_ARCHITECTURES: Final = ("x86_64", "aarch64")
_OTHER_NAMES: Final = {"arm64": "aarch64", "AMD64": "x86_64"}  # on macOS and on Windows
# https://docs.docker.com/engine/storage/drivers/ and its dm.basesize
_DRIVERS: Final = {
    "vfs": "Each layer is a full copy of those below it: slow, and many times the disk.",
    "devicemapper": "It limits an image to 10 GB, unless dm.basesize says more.",
    "aufs": "It is no longer maintained.",
}


@dataclass(frozen=True)
class Looks:
    """What was seen of a server: what ``on_server/inspect.sh`` said, and what was measured.

    Attributes:
        skew_s: its clock less that of this machine.
        precision_s: of ``skew_s``.
        forwards: empty where its engine answers through SSH, else why not.
    """

    address: str
    said: dict[str, str]
    skew_s: float
    precision_s: float
    forwards: str
    needs_gb: float

    def __getitem__(self, name: str) -> str:
        return self.said.get(name, "").strip()

    @property
    def remediation(self) -> str:
        """The command that does what can be done from here."""
        return f"custom-image doctor --server {self.address} --fix"

    @property
    def engine(self) -> list[str]:
        """Version, storage driver, folder of images; one empty text where it did not answer."""
        return self["answer"].split("|")


def _system(looks: Looks) -> Finding:
    found = f"{looks['system'] or 'unknown'}, {looks['cores'] or '?'} cores"
    if looks["system"].startswith(("Debian", "Ubuntu")):
        return Finding("system", State.OK, found)
    remediation = "--fix knows Debian and Ubuntu; install an engine there by hand if it has none."
    return Finding("system", State.LIMITED, found, remediation)


def _architecture(looks: Looks) -> Finding:
    found, here = looks["machine"], platform.machine()
    here = _OTHER_NAMES.get(here, here)
    if found == here and found in _ARCHITECTURES:
        return Finding("architecture", State.OK, found)
    remediation = (
        f"Expected {here}, as on this machine: the wheels of the image are fetched here.\n"
        "Take a server of this architecture, or run custom-image on a machine like the server."
    )
    if found == here:
        remediation = f"The platform runs {' and '.join(_ARCHITECTURES)}. Take such a server."
    return Finding("architecture", State.MISSING, found, remediation)


def _user(looks: Looks) -> Finding:
    name = looks["user"]
    if looks["root"]:
        return Finding("user", State.OK, f"{name}, may fix")
    if looks["sudo"]:
        return Finding("user", State.OK, f"{name}, may fix by sudo")
    remediation = "Builds need no root. To fix, connect as root, or allow sudo without a password."
    return Finding("user", State.LIMITED, f"{name}, neither root nor sudo", remediation)


def _programs(looks: Looks) -> Finding:
    if not looks["lacking"]:
        return Finding("programs", State.OK, "coreutils, util-linux, tar")
    remediation = "Install coreutils, util-linux and tar there; every Debian and Ubuntu has them."
    return Finding("programs", State.MISSING, f"no {looks['lacking']}", remediation)


def _engine(looks: Looks) -> Finding:
    name, taken = "engine", f"{CLIENT_OLDEST} to {CLIENT_NEWEST}"
    if not looks["answer"]:
        if "permission denied" in looks["refusal"]:
            found = f"{looks['user']} may not use it"
            remediation = f"It takes the group docker: {looks.remediation}"
        elif looks["installed"]:
            found = f"{looks['installed']} does not answer: {looks['refusal']}"
            remediation = f"Start it: {looks.remediation}"
        else:
            found, remediation = (
                "not installed",
                f"A build needs one of {taken}: {looks.remediation}",
            )
        return Finding(name, State.MISSING, found, remediation)
    found = looks.engine[0]
    if not looks["client"]:
        remediation = f"The program docker is missing there: {looks.remediation}"
        return Finding(name, State.MISSING, f"{found}, no client", remediation)
    versions = [_version(found), _version(looks["client"])]
    if min(versions) < _version(CLIENT_OLDEST.value):
        remediation = f"The registry takes {taken}. Remove it, then: {looks.remediation}"
        return Finding(name, State.MISSING, f"{found}, client {looks['client']}", remediation)
    if max(versions) > _version(CLIENT_NEWEST.value):
        remediation = (
            f"Its builds are good, but the registry takes clients {taken} and may refuse to be "
            f"pushed to.\nRemove it and what it holds, then: {looks.remediation}"
        )
        return Finding(name, State.LIMITED, f"{found}, client {looks['client']}", remediation)
    return Finding(name, State.OK, f"{found}; the registry takes {taken}")


def _storage(looks: Looks) -> Finding:
    if not looks["answer"]:
        return Finding("layers", State.LIMITED, "the engine did not say", "See engine.")
    driver = looks.engine[1]
    if driver in _DRIVERS:
        remediation = (
            f'{_DRIVERS[driver]}\nSet "storage-driver": "overlay2" in /etc/docker/daemon.json.'
        )
        return Finding("layers", State.LIMITED, f"storage driver {driver}", remediation)
    found = (
        f"{driver}, up to {NOTEBOOK_LAYERS}; pushed: {PUSHED_LAYERS} of at most {LAYER_SIZE}, "
        "which the build keeps to"
    )
    return Finding("layers", State.OK, found)


def _forwarding(looks: Looks) -> Finding:
    if not looks.forwards:
        return Finding("verifying", State.OK, "the engine answers through SSH; no port is opened")
    remediation = (
        "Its sshd_config needs AllowStreamLocalForwarding and AllowTcpForwarding yes, the defaults."
    )
    if looks.forwards != SSHD_REFUSES:
        remediation = "See engine."
    return Finding("verifying", State.LIMITED, looks.forwards, remediation)


def _disk(looks: Looks) -> Finding:
    free_gb = int(looks["free_bytes"] or 0) / GB
    found = f"{free_gb:.1f} GB free at {looks['images']}"
    if free_gb >= looks.needs_gb:
        return Finding("disk", State.OK, f"{found}, {looks.needs_gb:g} GB needed")
    remediation = (
        f"{looks.needs_gb:g} GB are needed: image, context and the engine's copy of it. Free some "
        "(docker system prune),\nattach a larger disk, or name what your build needs: --needs-gb"
    )
    if looks["unused"]:
        remediation = (
            f"{looks.needs_gb:g} GB are needed. {looks['unused']} is unused: make a file system on "
            "it (mkfs.ext4) and mount it,\nthen: custom-image doctor --server "
            f"{looks.address} --fix --data-root largest"
        )
    return Finding("disk", State.LIMITED, found, remediation)


def _inodes(looks: Looks) -> Finding:
    if not looks["free_inodes"]:
        return Finding("inodes", State.OK, "not limited by this file system")
    free, needed = int(looks["free_inodes"]), int(looks.needs_gb * _INODES_PER_GB)
    found = f"{free:,} free"
    if free >= needed:
        return Finding("inodes", State.OK, f"{found}, {needed:,} needed")
    remediation = (
        f"{needed:,} are needed: layers hold many small files.\n"
        "Use another disk, or make its file system anew: mkfs.ext4 -i 16384"
    )
    return Finding("inodes", State.LIMITED, found, remediation)


def _memory(looks: Looks) -> Finding:
    total_gb = int(looks["memory_kb"] or 0) * 1024 / GB
    if total_gb >= _MEMORY_GB:
        return Finding("memory", State.OK, f"{total_gb:.0f} GB")
    remediation = (
        f"Builds need little, but verifying loads the model: about {_MEMORY_GB} GB and its weights."
    )
    return Finding("memory", State.LIMITED, f"{total_gb:.1f} GB", remediation)


def _clock(looks: Looks) -> Finding:
    if abs(looks.skew_s) <= _CLOCK_S + looks.precision_s:
        return Finding("clock", State.OK, f"right to {_CLOCK_S} s, as seen from this machine")
    way = "ahead of" if looks.skew_s > 0 else "behind"
    remediation = (
        "The registry's tokens and certificates may not be valid there. "
        f"Set it: {looks.remediation}"
    )
    return Finding(
        "clock", State.LIMITED, f"{abs(looks.skew_s):.0f} s {way} that of this machine", remediation
    )


def _time_service(looks: Looks) -> Finding:
    if looks["time_service"]:
        found = looks["time_service"].replace("timesyn", "timesyncd")
        return Finding("time service", State.OK, found)
    remediation = f"The clock will drift. Get one: {looks.remediation}"
    return Finding("time service", State.LIMITED, "none runs", remediation)


def _version(text: str) -> tuple[int, ...]:
    """Return the numbers of a version; ``20.10.24+dfsg1`` is (20, 10, 24)."""
    found = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


FINDINGS: Final[tuple[Callable[[Looks], Finding], ...]] = (
    *(_system, _architecture, _user, _programs, _engine, _storage, _forwarding),
    *(_disk, _inodes, _memory, _clock, _time_service),
)
"""In the order in which they are shown."""
