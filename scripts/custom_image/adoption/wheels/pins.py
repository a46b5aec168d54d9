"""Pins of a package without a wheel for the Python of an image, and the ways on for them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from html import escape

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import parse_wheel_filename
from packaging.version import InvalidVersion, Version

from custom_image.adoption.dependencies import Dependency
from custom_image.adoption.wheels.index import Published, Wheel, ask_index
from custom_image.errors import UsageError
from custom_image.target_python import SUPPORTED, TargetPython


@dataclass(frozen=True)
class Pin:
    """One requirement that leaves little choice.

    Attributes:
        has_wheel: whether a version that it allows has a wheel for the Python of the image.
        pythons: those that have one.
        nearest: the version nearest to it that has one for this Python; empty where none has.
        only_source: whether what it allows is on the index, but as source alone.
    """

    dependency: Dependency
    has_wheel: bool
    pythons: tuple[str, ...]
    nearest: str
    only_source: bool = False

    @property
    def relaxed(self) -> Requirement:
        """The requirement with the nearest version that has a wheel."""
        name = self.dependency.requirement.name
        return Requirement(f"{name}=={self.nearest}")


@dataclass(frozen=True, repr=False)
class PinTable:
    """The pins of a package beside what the index has.

    Attributes:
        python: of the image, ``3.11``.
    """

    python: str
    pins: tuple[Pin, ...]

    @property
    def missing(self) -> tuple[Pin, ...]:
        """Those without a wheel for this Python."""
        return tuple(pin for pin in self.pins if not pin.has_wheel)

    @property
    def other_pythons(self) -> tuple[str, ...]:
        """The Pythons for which every pin has a wheel."""
        return tuple(p for p in SUPPORTED if all(p in pin.pythons for pin in self.pins))

    def rows(self) -> list[tuple[str, str, str]]:
        """Return each pin, the Pythons that have it, and the nearest version for this one."""
        return [
            (
                pin.dependency.text,
                ", ".join(pin.pythons) or ("source alone" if pin.only_source else "none"),
                "it has a wheel" if pin.has_wheel else pin.nearest or "none",
            )
            for pin in self.pins
        ]

    def __str__(self) -> str:
        heads = ("pin", "Pythons with a wheel", f"nearest for Python {self.python}")
        rows = [heads, *self.rows()]
        widths = [max(len(row[n]) for row in rows) for n in range(3)]
        return "\n".join(
            "  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        heads = ("pin", "Pythons with a wheel", f"nearest for Python {self.python}")
        cells = ["".join(f"<th>{head}</th>" for head in heads)]
        cells += ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in self.rows()]
        return "<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"


class PinsWithoutWheels(UsageError):
    """Pins have no wheel for the Python of the image; the message is the table and the ways on.

    Attributes:
        table: all pins.
    """

    def __init__(self, table: PinTable, command: str, left_out: Collection[str] = ()) -> None:
        names = ", ".join(pin.dependency.text for pin in table.missing)
        lines = [f"no wheel for Python {table.python}: {names}.", str(table)]
        if others := table.other_pythons:
            lines.append(f"On a Python that has them all:  {command} --python {others[-1]}")
        hopeless = [
            pin for pin in table.missing if not pin.nearest and pin.dependency.name not in left_out
        ]
        if not hopeless:
            without = f", without {', '.join(left_out)}, which nothing imports" if left_out else ""
            lines.append(f"With the nearest versions{without}:  {command} --relax")
        lines += [_no_version(pin) for pin in hopeless]
        super().__init__("\n".join(lines))
        self.table = table


def _no_version(pin: Pin) -> str:
    text, origin = pin.dependency.text, pin.dependency.origin
    if pin.only_source:
        return (
            f"{text} ({origin}) is there as source alone: make a wheel of it with `pip wheel "
            f"--no-deps --wheel-dir FOLDER '{text}'`, FOLDER being the package."
        )
    if pin.dependency.is_wheel:
        return f"{text} ({origin}) is a wheel for another Python or machine: bring one for this."
    return (
        f"{text} ({origin}) is on no index that pip asks: correct its name, remove it where "
        "nothing imports it, or put its wheel into the package."
    )


def find_pins(
    dependencies: Iterable[Dependency], python: TargetPython, *, everything: bool = False
) -> PinTable:
    """Return what the index has of each pin: a version, an upper bound, a wheel in the package.

    ``everything`` asks also for requirements that leave the version open.
    """
    wanted = [
        dependency
        for dependency in dependencies
        if everything or dependency.is_wheel or _is_narrow(dependency.requirement)
    ]
    published = ask_index(d.requirement.name for d in wanted if not d.is_wheel)
    return PinTable(python.minor, tuple(_pin(d, published, python) for d in wanted))


def _is_narrow(requirement: Requirement) -> bool:
    return any(part.operator not in (">=", ">", "!=") for part in requirement.specifier)


def _pin(dependency: Dependency, published: Mapping[str, Published], python: TargetPython) -> Pin:
    if dependency.is_wheel:
        _, version, _, tags = parse_wheel_filename(dependency.text.rpartition("/")[2])
        wheel = Wheel(version, frozenset(tags), "")
        all_pythons = [TargetPython(minor, python.machine) for minor in SUPPORTED]
        fitting = tuple(other.minor for other in all_pythons if wheel.fits(other))
        return Pin(dependency, wheel.fits(python), fitting, "")
    found, allowed = published[dependency.name], dependency.requirement.specifier
    versions = found.versions(python)
    has_wheel = any(version in allowed for version in versions)
    nearest = "" if has_wheel else _nearest(allowed, versions)
    only_source = not has_wheel and any(
        allowed.contains(version, prereleases=True) for version in found.sources
    )
    pythons = found.pythons(allowed, python.machine)
    return Pin(dependency, has_wheel, pythons, nearest, only_source and not nearest)


def _nearest(allowed: SpecifierSet, versions: list[Version]) -> str:
    """Return the version next above what is allowed, else the last below; empty where none is."""
    anchors = []
    for part in allowed:
        try:
            anchors.append(Version(part.version.removesuffix(".*")))
        except InvalidVersion:
            continue
    if not versions:
        return ""
    if not anchors:
        return str(versions[-1].public)
    above = [version for version in versions if version >= max(anchors)]
    return str((above[0] if above else versions[-1]).public)
