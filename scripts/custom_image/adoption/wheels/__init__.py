"""Wheels of what a foreign package asks for, for the Python of an image."""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from custom_image.adoption.changes import Change, ChangeLog, Kind, as_html, as_text
from custom_image.adoption.service_code.removed_names import removed_from_python
from custom_image.adoption.wheels.pins import PinsWithoutWheels, PinTable
from custom_image.adoption.wheels.resolution import LOCK_NAME, resolve, wish_list
from custom_image.adoption.wheels.shared_objects import missing_objects
from custom_image.errors import PackageError
from custom_image.target_python import TargetPython
from custom_image.wheelhouse import lock_files

if TYPE_CHECKING:
    from custom_image.adoption.package import AdoptedPackage

__all__ = ["PackageWheels", "PinTable", "PinsWithoutWheels", "fetch_wheels"]

_RECORD: Final = "adoption.json"


@dataclass(frozen=True, repr=False)
class PackageWheels:
    """All Python packages of an image that serves one model package.

    Attributes:
        folder: the wheels, and pip's own, with which the image installs them.
        lock: each package with the hash of the wheel that came.
        table: the pins of the package beside what the index has, as text; empty where all have one.
        libraries: shared objects that the base must have, each with what needs it.
        changes: what was taken in place of what the package asks for, and why.
    """

    folder: Path
    lock: str
    python: TargetPython
    table: str
    libraries: Mapping[str, str]
    changes: tuple[Change, ...]

    def __str__(self) -> str:
        title = f"{self.folder}: {self.lock.count(' --hash=')} packages for {self.python}"
        return "\n".join(part for part in (title, self.table, as_text(self.changes)) if part)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        title = f"{self.folder}: {self.lock.count(' --hash=')} packages for {self.python}"
        table = f"<pre>{escape(self.table)}</pre>" if self.table else ""
        return f"<p>{escape(title)}</p>{table}{as_html(self.changes)}"


def fetch_wheels(
    package: AdoptedPackage,
    *,
    python: TargetPython | None = None,
    relax: bool = False,
    more: Iterable[str] = (),
    command: str = "custom-image build dockerfile_build --package FOLDER",
    cache_dir: Path = Path("build/wheelhouse"),
) -> PackageWheels:
    """Fetch all that an image of an adopted package installs, where it is not there yet.

    What the package asks for comes first; the versions of docker/requirements, which the serving
    runtime is locked to, give way where the two do not go together.

    Args:
        package: an adopted one.
        python: of the base; that of Debian 12 by default.
        relax: take the nearest version that has a wheel for a pin that has none.
        more: further requirements, which count before the package's own.
        command: the command that is named for the ways on.
        cache_dir: keeps the wheels, so that the next build installs the same.

    Raises:
        PinsWithoutWheels: pins have no wheel for this Python, and are not to be relaxed.
        PackageError: the code imports what no wheel brings, or what this Python no longer has.
        BuildFailed: no versions go together; with what pip says.
    """
    python, log = python or TargetPython(), ChangeLog()
    _check_python(package, python, command)
    wishes = wish_list(package, more, log)
    key = hashlib.sha256(f"{sorted(w.text for w in wishes.values())}{python!r}{relax}".encode())
    for path in sorted(package.folder.rglob("*.whl")):
        key.update(path.read_bytes())
    for path in sorted(lock_files("server", python)[0].parent.glob("*.txt")):
        key.update(path.read_bytes())
    folder = cache_dir / f"adopted-{key.hexdigest()[:16]}"
    if not folder.is_dir():
        cache_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache_dir, prefix=".new-") as work:
            new = Path(work) / "wheels"
            found = resolve(
                package,
                wishes,
                python,
                new,
                log,
                relax=relax,
                command=command,
                cache_dir=cache_dir,
            )
            (new / LOCK_NAME).write_text(found.lock, encoding="utf-8")
            installed = [p for p in new.glob("*.whl") if _pin(p) in found.lock]
            record = {
                "table": str(found.table) if found.table.missing else "",
                "libraries": missing_objects(installed),
                "modules": sorted(_modules(installed)),
                "changes": [asdict(change) for change in log.changes],
            }
            (new / _RECORD).write_text(json.dumps(record), encoding="utf-8")
            new.rename(folder)  # complete or not there at all
    record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    _check_imports(package, set(record["modules"]))
    return PackageWheels(
        folder,
        (folder / LOCK_NAME).read_text(encoding="utf-8"),
        python,
        record["table"],
        record["libraries"],
        tuple(Change(**{**c, "kind": Kind(c["kind"])}) for c in record["changes"]),
    )


def _pin(wheel: Path) -> str:
    with wheel.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def _modules(wheels: Iterable[Path]) -> set[str]:
    """Return the top-level modules that wheels bring."""
    modules = set()
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for name in archive.namelist():
                parts = name.split("/")
                if parts[0].endswith(".data") and len(parts) > 2:
                    parts = parts[2:]
                if not parts[0].endswith((".dist-info", ".data", ".libs")):
                    modules.add(parts[0].partition(".")[0])
    return modules


def _check_imports(package: AdoptedPackage, modules: set[str]) -> None:
    """Refuse a package whose import nothing in the image brings: it would never be ready."""
    code = package.code
    for found in code.imports if code else ():
        if found.module not in modules and found.at_import and not found.optional:
            raise PackageError(
                f"{found.place}: imports {found.module}, which no file of the package is, and no "
                "package that it names brings.\n"
                "Name the package that has it, a line of --requirements FILE or of "
                "requirements.txt; an unknown name is never fetched."
            )


def _check_python(package: AdoptedPackage, python: TargetPython, command: str) -> None:
    """Refuse a package that uses what this Python no longer has."""
    major, minor = (int(part) for part in python.minor.split("."))
    if package.code is None:
        return
    for place, name, since in removed_from_python(package.code, (major, minor)):
        older = f"{since[0]}.{since[1] - 1}"
        raise PackageError(
            f"{place}: uses {name}, which Python has no longer since {since[0]}.{since[1]}.\n"
            f"Change that line, or build for an older Python: {command} --python {older}"
        )
