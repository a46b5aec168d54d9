"""The result of a rehearsal of upgrades: every request, what happened when, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Final

_SHOWN: Final = 5


@dataclass(frozen=True)
class Happening:
    """Something that happened to an instance.

    Attributes:
        at_s: seconds since the load began.
        kind: ``started``, ``ready``, ``sigterm``, ``unrouted``, ``exited`` or ``killed``.
        model: name and version.
    """

    at_s: float
    kind: str
    instance: str
    model: str


@dataclass(frozen=True)
class Load:
    """What clients saw of a service that was upgraded while they used it.

    Attributes:
        requests: all of them: when sent (s since the load began), who answered, whether it was
            well, and what came back.
        upgrades: how many were made meanwhile.
    """

    requests: tuple[tuple[float, str, bool, str], ...] = field(repr=False)
    happenings: tuple[Happening, ...] = field(repr=False)
    upgrades: int
    seconds: float

    @property
    def lost(self) -> tuple[tuple[float, str, bool, str], ...]:
        """The requests that got no answer, or another than they should."""
        return tuple(request for request in self.requests if not request[2])

    @property
    def rate_per_s(self) -> float:
        """Requests a second."""
        return len(self.requests) / self.seconds if self.seconds else 0.0


@dataclass(frozen=True)
class Rehearsal:
    """Whether an image can be upgraded without losing a request.

    Attributes:
        load: with the image's own drain.
        control: with none; None where it was left out.
        drain_s: how long an instance went on after SIGTERM.
        lag_s: how long requests still reached it.
    """

    image: str
    load: Load
    control: Load | None
    drain_s: float
    lag_s: float

    @property
    def is_proved(self) -> bool:
        """Whether the image lost nothing, and the same image without a drain something."""
        return bool(self.load.requests) and not self.load.lost and bool(self.control_lost)

    @property
    def control_lost(self) -> int:
        """How many requests were lost without a drain."""
        return len(self.control.lost) if self.control else 0

    @property
    def verdict(self) -> str:
        """One line: PASSED, FAILED, or NOT CHECKED, and why."""
        load = self.load
        upgrades = f"{load.upgrades} upgrade{'' if load.upgrades == 1 else 's'}"
        seen = f"{len(load.lost)} of {len(load.requests)} requests lost in {upgrades}"
        if load.lost or not load.requests:
            return f"FAILED: {seen}"
        if self.control is None:
            return f"NOT CHECKED: {seen}, but nothing shows that a loss would have been seen"
        if not self.control.lost:
            return f"FAILED: {seen}, but none without a drain either: this rehearsal proves nothing"
        return f"PASSED: {seen}"

    def __str__(self) -> str:
        return "\n".join(
            [f"{self.image}: {self.verdict}", *(f"  {line}" for line in self._lines())]
        )

    def _repr_html_(self) -> str:
        items = "".join(f"<li>{escape(line)}</li>" for line in self._lines())
        return f"<p><b>{escape(self.image)}</b>: {escape(self.verdict)}</p><ul>{items}</ul>"

    def _lines(self) -> list[str]:
        load, lines = self.load, []
        lines.append(f"{load.rate_per_s:.0f} requests a second for {load.seconds:.0f} s")
        lines.append(f"drain {self.drain_s:g} s, routing {self.lag_s:g} s late")
        answered: dict[str, int] = {}
        for _, by, ok, _ in load.requests:
            if ok:
                answered[by] = answered.get(by, 0) + 1
        lines += [
            f"{count} answered by {by or 'an unnamed instance'}" for by, count in answered.items()
        ]
        lines += [f"lost at {at_s:.2f} s: {note[:120]}" for at_s, _, _, note in load.lost[:_SHOWN]]
        if self.control:
            total = len(self.control.requests)
            lines.append(f"negative control, no drain: {self.control_lost} of {total} lost")
        return lines
