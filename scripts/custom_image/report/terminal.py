"""A report for a terminal and for the log of a CI run."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from custom_image.report import COLUMNS, WAIVED, Check, Report, Verdict
from custom_image.report.groups import broken, not_checked_text, passed

TERMINAL_COLUMNS: Final = 100
EVIDENCE_LINES: Final = 16
STYLES: Final[dict[str, str]] = {
    Verdict.PASSED: "green",
    Verdict.FAILED: "bold red",
    Verdict.WARNING: "yellow",
    Verdict.NOT_CHECKED: "dim",
    WAIVED: "magenta",
}


def to_text(report: Report, *, everything: bool = False) -> str:
    """Return the report as plain text, no line longer than :data:`TERMINAL_COLUMNS`."""
    text = io.StringIO()
    console = Console(file=text, width=TERMINAL_COLUMNS, color_system=None)
    console.print(to_renderable(report, everything=everything))
    return "\n".join(line.rstrip() for line in text.getvalue().rstrip().splitlines())


@dataclass(frozen=True)
class InFull:
    """A report that shows the table of all its rules, too."""

    report: Report

    def __str__(self) -> str:
        return to_text(self.report, everything=True)

    def __rich__(self) -> RenderableType:
        """Return it for a console."""
        return to_renderable(self.report, everything=True)


def to_renderable(report: Report, *, everything: bool = False) -> RenderableType:
    """Return what is broken with all that stands behind it, then the rest in a few lines.

    Args:
        report: the report.
        everything: whether the table of all rules follows.
    """
    parts: list[RenderableType] = [
        Text(report.summary, style="bold"),
        *(Text(f"  {remark}", style="magenta") for remark in report.remarks),
    ]
    for check in broken(report):
        parts += ["", _details(check)]
    parts += ["", _rest(report, everything=everything)]
    if everything:
        parts += ["", _table(report.checks)]
    return Group(*parts)


def _rest(report: Report, *, everything: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    if text := not_checked_text(report):
        style = STYLES[Verdict.NOT_CHECKED]
        table.add_row(Text(Verdict.NOT_CHECKED, style=style), Text(text, style=style))
    if count := len(passed(report)):
        hint = "" if everything else "; --all lists every rule"
        style = STYLES[Verdict.PASSED]
        table.add_row(Text(Verdict.PASSED, style=style), Text(f"{count} rules{hint}"))
    return table


def _table(checks: tuple[Check, ...]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(COLUMNS[0], no_wrap=True)
    table.add_column(COLUMNS[1], no_wrap=True)
    table.add_column(COLUMNS[2], max_width=26, overflow="fold")
    table.add_column(COLUMNS[3], overflow="fold")
    for check in checks:
        style = STYLES[check.badge]
        dim = "dim" if check.verdict is Verdict.NOT_CHECKED else ""
        table.add_row(
            Text(check.badge, style=style),
            Text(check.id),
            Text(check.required, style="dim"),
            Text(check.measured, style=dim),
        )
    return table


def _details(check: Check) -> Table:
    style = STYLES[check.badge]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(Text(check.badge, style=style), Text(f"{check.id}: {check.title}", style=style))
    for name, text in (
        ("waived", f"{check.waived} (the verdict is {check.verdict})" if check.waived else ""),
        ("required", check.required),
        ("measured", check.measured),
        ("evidence", _shortened(check.evidence)),
        ("remediation", check.remediation),
        ("source", check.source),
    ):
        if text:
            table.add_row(Text(f"  {name}", style="dim"), Text(text))
    return table


def _shortened(evidence: str) -> str:
    lines = evidence.splitlines()
    if len(lines) <= EVIDENCE_LINES:
        return evidence
    left_out = f"... {len(lines) - EVIDENCE_LINES} more lines in the JSON report"
    return "\n".join([*lines[:EVIDENCE_LINES], left_out])
