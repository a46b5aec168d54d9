"""The requirements of a package to a folder of wheels, and a lock of exactly these."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from custom_image.adoption.changes import ChangeLog, Kind
from custom_image.adoption.dependencies import Dependency
from custom_image.adoption.known_packages import NEEDS_NUMPY_2_FROM, brings
from custom_image.adoption.service_code.checks import shows_a_window
from custom_image.adoption.wheels.pins import Pin, PinsWithoutWheels, PinTable, find_pins
from custom_image.adoption.wheels.torch_builds import pin_torch
from custom_image.errors import BuildFailed, PackageError
from custom_image.progress import say
from custom_image.target_python import TargetPython
from custom_image.wheelhouse import fill_wheelhouse, lock_files
from custom_image.wheelhouse.download import download

if TYPE_CHECKING:
    from custom_image.adoption.package import AdoptedPackage

LOCK_NAME: Final = "requirements.txt"
_PIN: Final = re.compile(r"^([^\s#=]+)==([^\s;\\]+)", re.MULTILINE)
# Locks whose versions are taken where nothing speaks against them: images share what they hold.
_PREFERRED: Final = ("torch", "onnx", "server")
_HEADLESS: Final = {
    "opencv-python": "opencv-python-headless",
    "opencv-contrib-python": "opencv-contrib-python-headless",
}


@dataclass(frozen=True)
class Resolution:
    """What was resolved, and how far it is from what the package asks for.

    Attributes:
        lock: each package with the hash of the wheel that came.
        table: the pins of the package beside what the index has.
    """

    lock: str
    table: PinTable


def wish_list(
    package: AdoptedPackage, more: Iterable[str], log: ChangeLog
) -> dict[str, Dependency]:
    """Return what is asked for, by canonical name: ``more`` before the package's own lines.

    A version that leaves the choice is held back to what still has the names that the code uses.
    """
    wishes: dict[str, Dependency] = {}
    for text in more:
        requirement = Requirement(text)
        name = str(canonicalize_name(requirement.name))
        wishes[name] = Dependency(str(requirement), "--requirements", name)
    headless = package.code is not None and not shows_a_window(package.code)
    for wish in (*package.requirements, *package.imports):
        name = _HEADLESS.get(wish.name, wish.name) if headless and not wish.is_wheel else wish.name
        if name != wish.name:
            text = f"{name}{wish.requirement.specifier}"
            why = "nothing shows a window, and the other needs libraries of a desktop"
            log.add(Kind.CHANGED, wish.origin, why, wish.text, text)
            wish = Dependency(text, wish.origin, name)
        wishes.setdefault(name, wish)
    for bound in package.bounds:
        known = wishes.get(bound.name)
        if known and not known.is_wheel and "==" not in known.text:
            both = known.requirement.specifier & bound.requirement.specifier
            text = f"{known.requirement.name}{both}"
            why = f"has what later versions have no longer: {bound.origin}"
            log.add(Kind.CHANGED, known.origin, why, known.text, text)
            wishes[bound.name] = Dependency(text, known.origin, bound.name)
    return wishes


def resolve(
    package: AdoptedPackage,
    wishes: Mapping[str, Dependency],
    python: TargetPython,
    folder: Path,
    log: ChangeLog,
    *,
    relax: bool,
    command: str,
    cache_dir: Path,
) -> Resolution:
    """Fill a folder with wheels of all that is asked for and of what serves it.

    Raises:
        PinsWithoutWheels: pins have no wheel for this Python, and are not to be relaxed.
        BuildFailed: no versions go together; with what pip says.
    """
    installer = fill_wheelhouse(
        lock_files("installer", python)[-1:], python=python, cache_dir=cache_dir
    )
    shutil.copytree(installer, folder, dirs_exist_ok=True)
    for wheel in package.folder.rglob("*.whl"):
        shutil.copyfile(wheel, folder / wheel.name)
    wishes, table = _drop_hopeless_bounds(package, wishes, find_pins(wishes.values(), python))
    wanted = {name: wish.requirement for name, wish in wishes.items()}
    for pin in table.missing:
        _check_bounds(package, pin, python, command)
    if table.missing:
        left_out = {
            p.dependency.name
            for p in table.missing
            if not p.nearest and not _is_imported(package, p)
        }
        if not relax or any(
            not p.nearest and p.dependency.name not in left_out for p in table.missing
        ):
            raise PinsWithoutWheels(table, command, left_out)
        for pin in table.missing:
            _relax(pin, wanted, log)
    relaxed = {p.dependency.name for p in table.missing}
    pin_torch(wanted, python, folder.with_name("torch"), log)
    _keep_numpy_1(wanted, log)
    links = ["--find-links", str(folder), "--find-links", str(folder.with_name("torch"))]
    folder.with_name("torch").mkdir(exist_ok=True)
    say(f"fetching wheels of {', '.join(wishes) or 'the serving runtime'} with pip")
    failure = None
    for requirements, constraints in _attempts(wanted, relaxed, python):
        found = folder.with_name("found")
        shutil.rmtree(found, ignore_errors=True)
        found.mkdir()
        pins = folder.with_name("constraints.txt")
        pins.write_text("\n".join(constraints), encoding="utf-8")
        try:
            arguments = [*links, "--constraint", str(pins), *requirements]
            download(arguments, python, found, with_dependencies=True)
            break
        except BuildFailed as error:
            failure = failure or error
            if "conflict" not in "\n".join(error.log):
                raise _explain_missing(error, wishes, python, command) from None
    else:
        assert failure is not None
        raise failure
    lines = []
    known = _locked_hashes(python)
    for wheel in sorted(found.glob("*.whl")):
        name, version, *_ = parse_wheel_filename(wheel.name)
        digest = _sha256(wheel)
        if digest not in known.get((str(name), str(version)), {digest}):
            raise BuildFailed(
                f"{name}=={version} was found with another hash than docker/requirements has.\n"
                "Do not use that index before you know why.",
                [],
            )
        lines.append(f"{name}=={version} --hash=sha256:{digest}\n")
        shutil.move(wheel, folder / wheel.name)
    return Resolution("".join(lines), table)


def _drop_hopeless_bounds(
    package: AdoptedPackage, wishes: Mapping[str, Dependency], table: PinTable
) -> tuple[Mapping[str, Dependency], PinTable]:
    """Let go of a bound of code that may never run, where no version within it has a wheel."""
    doubtful = {bound.name for bound in package.bounds if not bound.certain}
    doubtful -= {bound.name for bound in package.bounds if bound.certain}
    own = {line.name: line for line in (*package.requirements, *package.imports)}
    freed = {
        pin.dependency.name: own[pin.dependency.name]
        for pin in table.missing
        if pin.dependency.name in doubtful & own.keys()
        and pin.dependency.text != own[pin.dependency.name].text
    }
    pins = tuple(pin for pin in table.pins if pin.dependency.name not in freed)
    return {**wishes, **freed}, PinTable(table.python, pins)


def _is_imported(package: AdoptedPackage, pin: Pin) -> bool:
    code = package.code
    return code is not None and any(brings(i.module, pin.dependency.name) for i in code.imports)


def _relax(pin: Pin, wanted: dict[str, Requirement], log: ChangeLog) -> None:
    wish = pin.dependency
    if pin.nearest:
        wanted[wish.name] = pin.relaxed
        why = "has no wheel for this Python; the nearest version that has one"
        log.add(Kind.CHANGED, wish.origin, why, wish.text, str(pin.relaxed))
    else:
        del wanted[wish.name]
        log.add(Kind.DROPPED, wish.origin, "has no wheel at all, and nothing imports it", wish.text)


def _check_bounds(package: AdoptedPackage, pin: Pin, python: TargetPython, command: str) -> None:
    """Refuse code that uses what the nearest version has no longer: it could never be ready."""
    for bound in package.bounds:
        is_same = bound.name == pin.dependency.name
        if (
            is_same
            and bound.certain
            and pin.nearest
            and pin.nearest not in bound.requirement.specifier
        ):
            older = f", or build for an older Python: {command} --python {pin.pythons[-1]}"
            raise PackageError(
                f"{bound.origin}, which {bound.text} has; the nearest with a wheel for Python "
                f"{python.minor} is {pin.nearest}.\n"
                f"Change that line{older if pin.pythons else ''}"
            )


def _keep_numpy_1(wanted: dict[str, Requirement], log: ChangeLog) -> None:
    """Ask for numpy 1 where a pinned wheel was compiled against it and does not say so."""
    for name, first in NEEDS_NUMPY_2_FROM.items():
        pinned = (
            [p.version for p in wanted[name].specifier if p.operator in ("==", "<=")]
            if name in wanted
            else []
        )
        if any(Version(v.removesuffix(".*")) < Version(first) for v in pinned):
            numpy = wanted.get("numpy", Requirement("numpy"))
            if not any(part.operator in ("==", "<", "<=") for part in numpy.specifier):
                became = Requirement(f"numpy{numpy.specifier}{',' if numpy.specifier else ''}<2")
                why = f"{name}=={pinned[0]} was compiled against numpy 1"
                log.add(Kind.CHANGED, "numpy", why, str(numpy), str(became))
                wanted["numpy"] = became
            return


def _attempts(
    wanted: Mapping[str, Requirement], relaxed: set[str], python: TargetPython
) -> Iterator[tuple[list[str], list[str]]]:
    """Yield requirements and constraints, the runtime's own versions giving way step by step."""
    server = _pins("server", python)
    pins: dict[str, str] = {}
    for lock in _PREFERRED:
        pins |= _pins(lock, python)
    free = {
        name: pin for name, pin in pins.items() if not (name in wanted and wanted[name].specifier)
    }
    asked = [str(requirement) for requirement in wanted.values()]
    runtime = [name for name in server if name not in wanted]
    yield [*asked, *runtime], [f"{name}=={v}" for name, v in free.items()]
    yield [*asked, *runtime], [f"{n}=={v}" for n, v in free.items() if n in server]
    yield [*asked, *runtime], []
    if relaxed:
        loose = [
            str(requirement).replace("==", ">=") if name in relaxed else str(requirement)
            for name, requirement in wanted.items()
        ]
        yield [*loose, *runtime], []


def _pins(lock: str, python: TargetPython) -> dict[str, str]:
    (path, _) = lock_files(lock, python)
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return {str(canonicalize_name(name)): version for name, version in _PIN.findall(text)}


def _locked_hashes(python: TargetPython) -> dict[tuple[str, str], set[str]]:
    """Return the hashes that docker/requirements has of each version."""
    hashes: dict[tuple[str, str], set[str]] = {}
    for lock in _PREFERRED:
        (path, _) = lock_files(lock, python)
        key = None
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
            if pin := _PIN.match(line):
                key = (str(canonicalize_name(pin[1])), pin[2])
                hashes.setdefault(key, set())
            if key and (found := re.search(r"--hash=sha256:([0-9a-f]{64})", line)):
                hashes[key].add(found[1])
    return hashes


def _explain_missing(
    error: BuildFailed, wishes: Mapping[str, Dependency], python: TargetPython, command: str
) -> Exception:
    """Say of a requirement that pip finds no wheel of what the index has of it."""
    match = re.search(r"No matching distribution found for ([\w.-]+)", "\n".join(error.log))
    wish = wishes.get(str(canonicalize_name(match[1]))) if match else None
    if wish is None:
        return error
    table = find_pins([wish], python, everything=True)
    return PinsWithoutWheels(table, command, set()) if table.missing else error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
