"""Two images beside each other: figures, what differs, and the budgets that one may not exceed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from custom_image.errors import UsageError
from custom_image.report.text import plain, printable

if TYPE_CHECKING:
    from rich.console import RenderableType

COUNTED: Final = "differ"
UNITS: Final = {
    "answers": COUNTED,
    "schema": COUNTED,
    "latency": "ms",
    "memory": "MB",
    "size": "MB",
    "packages": COUNTED,
}
"""The figures, each with its unit; of those that are counted the number of differences."""
_BUDGET: Final = re.compile(r"([a-z]+)=(\d+(?:\.\d+)?)\s*(%|ms|MB)?")
SCHEMA_VERSION: Final = 1


@dataclass(frozen=True)
class Budget:
    """How much worse a figure may be than the one that it is compared with.

    Attributes:
        amount: in per cent where ``is_share``, else in the figure's own unit.
    """

    name: str
    amount: float
    is_share: bool = False

    def __str__(self) -> str:
        unit = "%" if self.is_share else UNITS[self.name]
        return f"at most +{self.amount:g} {unit}" if unit != COUNTED else f"at most {self.amount:g}"


@dataclass(frozen=True)
class Figure:
    """One property of both images.

    Attributes:
        name: one of :data:`UNITS`.
        new: of the image that is judged; of what is counted, how many differ.
        old: of the one that it is compared with; 0 of what is counted.
        details: what differs, a line each; of a duration, how it was measured.
        reason: why it could not be measured; empty where it was.
    """

    name: str
    new: float = 0.0
    old: float = 0.0
    details: tuple[str, ...] = ()
    reason: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "details", tuple(printable(line) for line in self.details))
        object.__setattr__(self, "reason", printable(self.reason))

    @property
    def is_counted(self) -> bool:
        """Whether it is a number of differences."""
        return UNITS[self.name] == COUNTED

    @property
    def change(self) -> str:
        """The difference as one looks at it."""
        if self.reason or self.is_counted:
            return ""
        share = f", {(self.new - self.old) / self.old * 100:+.0f} %" if self.old else ""
        return f"{self.new - self.old:+.1f} {UNITS[self.name]}{share}"

    def shown(self, value: float) -> str:
        """Return one of its two values with its unit."""
        if self.reason:
            return "not measured"
        return f"{value:.0f} differ" if self.is_counted else f"{value:.1f} {UNITS[self.name]}"

    def exceeds(self, budget: Budget) -> bool:
        """Tell whether it is worse than a budget allows; what was not measured is no pass."""
        if self.reason:
            return True
        if budget.is_share:
            return self.new > self.old * (1 + budget.amount / 100)
        return self.new - self.old > budget.amount


@dataclass(frozen=True)
class Comparison:
    """All figures of two targets.

    Attributes:
        target: the one that is judged, as the user named it.
        baseline: the one that it is compared with.
        requests: the names of what was sent to both.
        duration_s: how long it took.
    """

    target: str
    baseline: str
    figures: tuple[Figure, ...]
    budgets: tuple[Budget, ...] = ()
    requests: tuple[str, ...] = ()
    duration_s: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("target", "baseline"):
            object.__setattr__(self, name, printable(getattr(self, name)).replace("\n", " "))
        object.__setattr__(self, "requests", tuple(printable(name) for name in self.requests))

    def budget_of(self, figure: Figure) -> Budget | None:
        """Return the budget of a figure, the last one that was given; None where there is none."""
        mine = [budget for budget in self.budgets if budget.name == figure.name]
        return mine[-1] if mine else None

    @property
    def exceeded(self) -> tuple[Figure, ...]:
        """The figures that exceed their budget, or could not be measured though they have one."""
        pairs = ((figure, self.budget_of(figure)) for figure in self.figures)
        return tuple(figure for figure, budget in pairs if budget and figure.exceeds(budget))

    @property
    def summary(self) -> str:
        """One line: both targets, and how many budgets are exceeded."""
        names = {budget.name for budget in self.budgets}
        kept = f"{len(self.exceeded)} of {len(names)} budgets exceeded" if names else "no budget"
        return f"{self.target} compared with {self.baseline}: {kept}, in {self.duration_s:.1f} s"

    def to_json(self) -> str:
        """Return the comparison as a JSON object, the form that tools read."""
        document = {
            "schema_version": SCHEMA_VERSION,
            "target": self.target,
            "baseline": self.baseline,
            "requests": list(self.requests),
            "exceeded": [figure.name for figure in self.exceeded],
            "duration_s": self.duration_s,
            "figures": [
                {
                    "name": figure.name,
                    "unit": UNITS[figure.name],
                    "new": None if figure.reason else figure.new,
                    "old": None if figure.reason else figure.old,
                    "budget": str(self.budget_of(figure) or ""),
                    "is_exceeded": figure in self.exceeded,
                    "details": list(figure.details),
                    "reason": figure.reason,
                }
                for figure in self.figures
            ],
            "facts": plain(self.facts),
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def __str__(self) -> str:
        from custom_image.report.comparison_forms import to_text

        return to_text(self)

    def __rich__(self) -> RenderableType:
        """Return the figures as a table, then what differs."""
        from custom_image.report.comparison_forms import to_renderable

        return to_renderable(self)

    def _repr_html_(self) -> str:
        from custom_image.report.comparison_forms import to_html

        return to_html(self)


def parse_budgets(texts: Iterable[str]) -> tuple[Budget, ...]:
    """Return budgets such as ``latency=10%``, ``size=50MB`` or ``answers=0``.

    Raises:
        UsageError: one of them cannot be understood.
    """
    return tuple(_budget(text) for text in texts)


def _budget(text: str) -> Budget:
    found = _BUDGET.fullmatch(text.strip())
    name, amount, unit = found.groups() if found else ("", "0", "")
    if name not in UNITS:
        raise UsageError(
            f"--budget is {text!r}; expected NAME=NUMBER, and a name of {', '.join(UNITS)}.\n"
            "Write for example latency=10%, memory=50MB or answers=0."
        )
    own = UNITS[name]
    if unit and (own == COUNTED or unit not in ("%", own)):
        wanted = "a number alone" if own == COUNTED else f"a number with % or {own}"
        raise UsageError(f"--budget is {text!r}; expected {wanted} for {name}.")
    return Budget(name, float(amount), unit == "%")
