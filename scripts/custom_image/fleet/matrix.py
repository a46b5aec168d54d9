"""Images and rules: what each image does with each rule, and what changed since the last run."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self

from custom_image.fleet.list_file import BadLine
from custom_image.fleet.unit import Outcome
from custom_image.report import WAIVED, Verdict
from custom_image.report.text import printable

NOT_JUDGED: Final = "NOT JUDGED"
GONE: Final = "not in the list any more"
NEW: Final = "new in the list"
_WIDTH: Final = 100
_LONGEST: Final = 300
_MOST_CHANGES: Final = 20
_ORDER: Final = (NOT_JUDGED, Verdict.FAILED, Verdict.WARNING, Verdict.NOT_CHECKED, Verdict.PASSED)


@dataclass(frozen=True)
class Cell:
    """What one rule says of one image."""

    badge: str
    measured: str = ""


@dataclass(frozen=True)
class Row:
    """One image.

    Attributes:
        verdict: of the report; ``NOT JUDGED`` where there is none.
        cells: by rule.
        error: why it was not judged.
        judged: whether this run judged it; else it is known from an earlier one.
    """

    image: str
    verdict: str
    digest: str = ""
    host: str = ""
    seconds: float = 0.0
    cells: Mapping[str, Cell] = field(default_factory=dict)
    error: str = ""
    note: str = ""
    judged: bool = True

    @classmethod
    def of(cls, image: str, outcome: Outcome, *, judged: bool = True) -> Self:
        """Return the row of an outcome: of a report, or of what stood in its way."""
        known = cls(
            image,
            NOT_JUDGED,
            digest=printable(outcome.digest),
            host=printable(outcome.host),
            seconds=outcome.seconds,
            note=printable(outcome.note),
            judged=judged,
        )
        try:
            cells = {
                str(check["id"]): Cell(
                    WAIVED if check.get("waived") else str(check["verdict"]),
                    printable(str(check.get("measured", "")))[:_LONGEST],
                )
                for check in outcome.output["checks"]
            }
            return replace(known, verdict=str(outcome.output["verdict"]), cells=cells)
        except (TypeError, KeyError):
            return replace(known, error=printable(outcome.error) or "the worker printed no report")

    @property
    def is_judged(self) -> bool:
        """Whether there is a verdict."""
        return self.verdict != NOT_JUDGED

    @property
    def badges(self) -> dict[str, str]:
        """The badge of each rule."""
        return {rule: cell.badge for rule, cell in self.cells.items()}

    def rules(self, badge: str) -> list[str]:
        """Return the rules with a badge."""
        return [rule for rule, cell in self.cells.items() if cell.badge == badge]


@dataclass(frozen=True)
class Change:
    """What one rule said of an image in the last run, and says now; the rule is empty for all."""

    image: str
    rule: str
    before: str
    now: str
    measured: str = ""

    def __str__(self) -> str:
        if not self.rule:
            return f"{self.image}: {self.now}"
        return f"{self.image}: {self.rule} {self.before or 'not there'} -> {self.now or 'gone'}"


@dataclass(frozen=True)
class Matrix:
    """All images of a run.

    Attributes:
        previous: the badges of the last whole run, by image and rule; empty for the first.
        bad_lines: of the list, that name no image.
    """

    rows: tuple[Row, ...]
    previous: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    bad_lines: tuple[BadLine, ...] = ()

    @property
    def rules(self) -> list[str]:
        """Every rule that some image was judged by, in the order of the catalogue."""
        return list(dict.fromkeys(rule for row in self.rows for rule in row.cells))

    @property
    def counts(self) -> dict[str, int]:
        """How many images have each verdict."""
        found = Counter(row.verdict for row in self.rows)
        return {name: found[name] for name in _ORDER if found[name]}

    @property
    def changes(self) -> list[Change]:
        """What is not as in the last run: what got worse first; nothing for the first run."""
        if not self.previous:
            return []
        found = [change for row in self.rows for change in self._changes_of(row)]
        now = {row.image for row in self.rows}
        found += [Change(image, "", "", GONE) for image in self.previous if image not in now]
        return sorted(found, key=lambda change: change.now not in (Verdict.FAILED, NOT_JUDGED))

    def _changes_of(self, row: Row) -> list[Change]:
        before = self.previous.get(row.image)
        if not row.is_judged:
            return []
        if before is None:
            return [Change(row.image, "", "", NEW)]
        nothing = Cell("")
        return [
            Change(row.image, rule, before.get(rule, ""), cell.badge, cell.measured)
            for rule in dict.fromkeys([*row.cells, *before])
            if (cell := row.cells.get(rule, nothing)).badge != before.get(rule, "")
        ]

    @property
    def ordered(self) -> list[Row]:
        """The rows as people read them: what changed first, then the worst."""
        changed = {change.image for change in self.changes}
        order = {name: place for place, name in enumerate(map(str, _ORDER))}
        return sorted(
            self.rows, key=lambda row: (row.image not in changed, order.get(row.verdict, 0))
        )

    @property
    def exit_code(self) -> int:
        """1 where a rule failed, 3 where an image was not judged, 2 for a bad line, else 0."""
        if self.counts.get(Verdict.FAILED):
            return 1
        unjudged = any(row.verdict in (NOT_JUDGED, Verdict.NOT_CHECKED) for row in self.rows)
        return 3 if unjudged else 2 if self.bad_lines else 0

    @property
    def summary(self) -> str:
        """One line: how many images, and how many have each verdict."""
        counts = ", ".join(f"{number} {name.lower()}" for name, number in self.counts.items())
        images = f"{len(self.rows)} image{'' if len(self.rows) == 1 else 's'}"
        return f"{images}, {len(self.rules)} rules: {counts or 'no image'}"

    @property
    def known(self) -> str:
        """How many images were not judged again; empty where each was judged."""
        number = sum(not row.judged for row in self.rows)
        return f"{number} of them known by digest, not judged again" if number else ""

    def to_csv(self) -> str:
        """Return a line an image: what it is, its verdict, and a column for each rule."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        changed = Counter(change.image for change in self.changes)
        head = ["image", "verdict", "changes", "digest", "judged on", "seconds", "error"]
        writer.writerow([*head, *self.rules])
        for row in self.ordered:
            about = [row.image, row.verdict, changed[row.image], row.digest, row.host]
            cells = [row.cells[rule].badge if rule in row.cells else "" for rule in self.rules]
            writer.writerow([*about, row.seconds, _cell(row.error), *cells])
        return text.getvalue()

    def to_json(self) -> str:
        """Return the matrix as tools read it."""
        document = {
            "counts": self.counts,
            "bad_lines": [vars(line) for line in self.bad_lines],
            "changes": [vars(change) for change in self.changes],
            "images": [
                {
                    **{key: value for key, value in vars(row).items() if key != "cells"},
                    "rules": row.badges,
                }
                for row in self.ordered
            ],
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def __str__(self) -> str:
        lines = [self.summary, *([f"  {self.known}"] if self.known else [])]
        lines += [f"  {line}" for line in self.bad_lines]
        if changes := self.changes:
            lines.append(f"Changed since the last run: {len(changes)}")
            lines += [f"  {change}" for change in changes[:_MOST_CHANGES]]
            if more := len(changes) - _MOST_CHANGES:
                lines += [f"  and {more} more"] if more > 0 else []
        lines.append("Images")
        wide = min(max((len(row.image) for row in self.rows), default=0), 48)
        for row in self.ordered:
            detail = row.error.splitlines()[0] if row.error else _named(row)
            lines.append(f"  {row.verdict:<11} {row.image:<{wide}}  {detail}".rstrip())
        return "\n".join(
            line if len(line) <= _WIDTH else f"{line[: _WIDTH - 3]}..." for line in lines
        )


def _named(row: Row) -> str:
    """Return the rules that are broken, the worst first."""
    failed, warned = row.rules(Verdict.FAILED), row.rules(Verdict.WARNING)
    return ", ".join(failed or warned)


def _cut(line: str) -> str:
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 3]}..."


def _cell(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text
