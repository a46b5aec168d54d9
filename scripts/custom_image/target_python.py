"""The Python of an image: wheels, lock and boot file follow it."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from custom_image.errors import UsageError

SUPPORTED: Final = ("3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14")
"""What ``model_service`` runs on, and docker/requirements has locks for."""
DEFAULT: Final = "3.11"
"""Of Debian 12, and of the base image that nobody named."""
_DEBIANS: Final = "3.11.2"
_MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
# PEP 600: manylinux1, 2010 and 2014 are the older names of these three.
_OLD_NAMES: Final = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}
PROBE: Final = """
import json, os, platform, sys, sysconfig
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
except (AttributeError, ValueError):
    libc = ""
print(json.dumps({
    "version": sys.version.split()[0].split("+")[0],
    "implementation": platform.python_implementation(),
    "machine": sysconfig.get_platform().partition("-")[2],
    "libc": libc,
    "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "executable": sys.executable,
    "environment": any(
        os.path.exists(os.path.join(sys.prefix, name)) for name in ("pyvenv.cfg", "conda-meta")
    ),
}))
"""
"""What a Python says about itself; in a syntax that each one reads; :meth:`TargetPython.read`."""


@dataclass(frozen=True)
class TargetPython:
    """A CPython on Linux with glibc, and how it is started.

    Attributes:
        version: such as ``3.11.2``, that of Debian 12; ``3.8`` where no more is known.
        machine: as ``uname -m`` says it, ``x86_64``; this machine's where empty.
        glibc: its minor version, 36 for 2.36 of Debian 12: wheels for any older one run there too.
        executable: its absolute path in the image, or a name to be found in the image's ``PATH``.
    """

    version: str = _DEBIANS
    machine: str = ""
    glibc: int = 36
    executable: str = "python3"

    def __post_init__(self) -> None:
        """Refuse what the serving runtime does not run on.

        Raises:
            UsageError: it is no Python of :data:`SUPPORTED`.
        """
        machine = self.machine or platform.machine().lower()
        object.__setattr__(self, "machine", _MACHINES.get(machine, machine))
        if self.minor not in SUPPORTED:
            raise UsageError(
                f"Python {self.version!r}: expected {SUPPORTED[0]} to {SUPPORTED[-1]}, which the "
                "serving runtime runs on."
            )

    @classmethod
    def read(cls, answer: str, where: str) -> TargetPython:
        """Return the Python that gave this answer to :data:`PROBE`.

        Args:
            answer: one JSON object.
            where: whose answer it is, such as the name of a base image; named by errors.

        Raises:
            UsageError: wheels for it cannot be had, or the runtime does not run on it.
        """
        said: dict[str, Any] = json.loads(answer)
        found = f"{said['implementation']} {said['version']} at {said['executable']}"
        try:
            python = cls(said["version"], said["machine"], executable=said["executable"])
        except UsageError as error:
            raise UsageError(f"{where} has {found}; {str(error).partition(': ')[2]}") from None
        if said["implementation"] != "CPython" or said["free_threaded"]:
            kind = "without a GIL" if said["free_threaded"] else "no CPython"
            raise UsageError(
                f"{where} has {found}, which is {kind}: engines have no wheels for it.\n"
                "Take a base with the CPython that python.org, Debian or conda build."
            )
        glibc = re.fullmatch(r"glibc 2\.(\d+).*", said["libc"])
        if not glibc:
            raise UsageError(
                f"{where} has {found} on another C library than glibc (Alpine has musl): the "
                "wheels of engines do not run there.\n"
                f"Take a base of Debian or Ubuntu, such as python:{DEFAULT}-slim-bookworm."
            )
        return replace(python, glibc=int(glibc[1]))

    @property
    def minor(self) -> str:
        """The version that wheels and locks are for: ``3.11``."""
        return ".".join(self.version.split(".")[:2])

    @property
    def platforms(self) -> list[str]:
        """The platform tags of the wheels that run on it, best first.

        Source: https://peps.python.org/pep-0600/
        """
        tags = []
        for minor in range(self.glibc, 4, -1):
            tags.append(f"manylinux_2_{minor}_{self.machine}")
            if minor in _OLD_NAMES:
                tags.append(f"{_OLD_NAMES[minor]}_{self.machine}")
        return tags

    @property
    def markers(self) -> Mapping[str, str]:
        """What environment markers of requirements read.

        Source: https://packaging.python.org/en/latest/specifications/dependency-specifiers/
        """
        full = self.version if self.version.count(".") > 1 else f"{self.version}.0"
        return {
            "implementation_name": "cpython",
            "implementation_version": full,
            "os_name": "posix",
            "platform_machine": self.machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": "Linux",
            "platform_version": "",
            "python_full_version": full,
            "python_version": self.minor,
            "sys_platform": "linux",
        }

    def __str__(self) -> str:
        return f"Python {self.version} on Linux {self.machine}"
