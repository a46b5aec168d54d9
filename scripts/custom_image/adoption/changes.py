"""Changes that adopting a package made, guessed or left out, each with its reason."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from html import escape
from typing import Any, Final

_WIDEST: Final = 44


class Kind(StrEnum):
    """What became of something that was found."""

    READ = "read"
    CHANGED = "changed"
    ADDED = "added"
    MOVED = "moved"
    DROPPED = "dropped"
    WARNING = "warning"


@dataclass(frozen=True)
class Change:
    """One row of the table.

    Attributes:
        where: the file, with its line or the path of the key: ``config.json: apis[0].protocol``.
        found: what stood there; empty where nothing did.
        became: what stands in the adopted package; empty where it was dropped.
    """

    kind: Kind
    where: str
    found: str
    became: str
    why: str

    def __str__(self) -> str:
        arrow = f"{self.found} → {self.became}" if self.found and self.became else ""
        what = arrow or self.became or self.found
        return f"{self.where}: {self.kind}{f' {what}' if what else ''}; {self.why}"


class ChangeLog:
    """Collects changes, each once, in the order in which they were made."""

    def __init__(self, file: str = "") -> None:
        self.file = file
        self._changes: dict[Change, None] = {}

    @property
    def changes(self) -> tuple[Change, ...]:
        """All of them so far."""
        return tuple(self._changes)

    def add(self, kind: Kind, place: str, why: str, found: Any = "", became: Any = "") -> None:
        """Note a change at ``place``: a line (``line 3``) or the path of a key."""
        glue = ", " if place.startswith("line ") else ": "
        where = glue.join(part for part in (self.file, place) if part)
        self._changes[Change(kind, where, _shown(found), _shown(became), why)] = None


def as_rows(changes: tuple[Change, ...]) -> list[tuple[str, str, str, str]]:
    """Return the cells of each change: where, found, became, why."""
    return [
        (
            change.where,
            change.found,
            change.became or ("(dropped)" if change.kind is Kind.DROPPED else ""),
            f"warning: {change.why}" if change.kind is Kind.WARNING else change.why,
        )
        for change in changes
    ]


def as_text(changes: tuple[Change, ...]) -> str:
    """Return the table for a terminal: a line for what, a line for why."""
    lines = []
    for where, found, became, why in as_rows(changes):
        what = " → ".join(part for part in (_cut(found), _cut(became)) if part)
        lines.append(f"  {where}{f': {what}' if what else ''}")
        lines.append(f"      {why}")
    return "\n".join(lines)


def as_html(changes: tuple[Change, ...]) -> str:
    """Return the table for Jupyter."""
    head = "".join(
        f"<th style='text-align:left'>{h}</th>" for h in ("where", "found", "became", "why")
    )
    rows = "".join(
        "<tr>"
        + "".join(f"<td style='text-align:left'>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for cells in as_rows(changes)
    )
    return f"<table><tr>{head}</tr>{rows}</table>"


def as_documents(changes: tuple[Change, ...]) -> list[dict[str, str]]:
    """Return them for JSON."""
    return [{**asdict(change), "kind": change.kind.value} for change in changes]


def _cut(text: str) -> str:
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    import json

    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 200 else f"{text[:197]}..."
