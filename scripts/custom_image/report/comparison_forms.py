"""A comparison on one page: for a terminal, in Markdown, in HTML."""

from __future__ import annotations

import io
from html import escape
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from custom_image.errors import UsageError
from custom_image.report import Verdict
from custom_image.report.comparison import Comparison, Figure
from custom_image.report.formats import ReportFormat
from custom_image.report.html import BADGES
from custom_image.report.markdown import escaped, fenced
from custom_image.report.page import open_page
from custom_image.report.terminal import STYLES, TERMINAL_COLUMNS

HEAD: Final = ("budget", "figure", "new", "old", "change")
MOST_LINES: Final = 20


def to_form(comparison: Comparison, form: ReportFormat) -> str:
    """Return a comparison in a form.

    Raises:
        UsageError: a comparison has no such form.
    """
    if form is ReportFormat.JSON:
        return comparison.to_json()
    if form is ReportFormat.MARKDOWN:
        return to_markdown(comparison)
    if form is ReportFormat.HTML:
        return to_page(comparison)
    if form is ReportFormat.TABLE:
        return f"{to_text(comparison)}\n"
    raise UsageError(
        f"a comparison has no form {form}; expected table, json, html or markdown.\n"
        f"Rules are reported as {form} without --compare."
    )


def to_text(comparison: Comparison) -> str:
    """Return it as plain text, no line longer than :data:`TERMINAL_COLUMNS`."""
    text = io.StringIO()
    Console(file=text, width=TERMINAL_COLUMNS, color_system=None).print(to_renderable(comparison))
    return "\n".join(line.rstrip() for line in text.getvalue().rstrip().splitlines())


def to_renderable(comparison: Comparison) -> RenderableType:
    """Return the figures as a table, then what differs."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in HEAD:
        table.add_column(name, overflow="fold")
    for figure in comparison.figures:
        style = STYLES[Verdict.FAILED] if figure in comparison.exceeded else ""
        table.add_row(*(Text(cell, style=style) for cell in _cells(comparison, figure)))
    details = [Text(f"\n{figure.name}\n{_details(figure)}") for figure in _told(comparison)]
    return Group(Text(comparison.summary, style="bold"), Text(_sent(comparison)), table, *details)


def to_markdown(comparison: Comparison) -> str:
    """Return it in Markdown, for the summary page of a job."""
    rows = [
        f"| {' | '.join(escaped(cell) for cell in _cells(comparison, figure))} |"
        for figure in comparison.figures
    ]
    parts = [
        f"### {escaped(comparison.summary)}",
        escaped(_sent(comparison)),
        "\n".join([f"| {' | '.join(HEAD)} |", "|" + "---|" * len(HEAD), *rows]),
        *(f"**{figure.name}**\n\n{fenced(_details(figure))}" for figure in _told(comparison)),
    ]
    return "\n\n".join(parts) + "\n"


def to_html(comparison: Comparison) -> str:
    """Return it as a part of a page, for Jupyter."""
    head = "".join(f"<th>{name}</th>" for name in HEAD)
    rows = "".join(_row(comparison, figure) for figure in comparison.figures)
    details = "".join(
        f"<details open><summary>{figure.name}</summary><pre>{escape(_details(figure))}</pre>"
        "</details>"
        for figure in _told(comparison)
    )
    return (
        f"<p><b>{escape(comparison.summary)}</b></p><p>{escape(_sent(comparison))}</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{details}"
    )


def to_page(comparison: Comparison) -> str:
    """Return it as one HTML file that loads nothing."""
    title = f"{comparison.target} compared with {comparison.baseline}"
    return f"{open_page(title)}\n{to_html(comparison)}\n</body></html>\n"


def _row(comparison: Comparison, figure: Figure) -> str:
    badge, *cells = _cells(comparison, figure)
    if comparison.budget_of(figure):
        verdict = Verdict.FAILED if figure in comparison.exceeded else Verdict.PASSED
        style = f"background:{BADGES[verdict]}"
        badge = f'<span class="badge" style="{style}">{escape(badge)}</span>'
    return f"<tr><td>{badge}</td>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _cells(comparison: Comparison, figure: Figure) -> tuple[str, ...]:
    budget = comparison.budget_of(figure)
    kept = ""
    if budget:
        kept = f"{'EXCEEDED' if figure in comparison.exceeded else 'kept'}, {budget}"
    old = "" if figure.is_counted else figure.shown(figure.old)
    return (kept, figure.name, figure.shown(figure.new), old, figure.change)


def _sent(comparison: Comparison) -> str:
    sent = ", ".join(comparison.requests)
    return (
        f"new: {comparison.target}; old: {comparison.baseline}; sent to both: {sent or 'nothing'}"
    )


def _told(comparison: Comparison) -> list[Figure]:
    return [figure for figure in comparison.figures if figure.details or figure.reason]


def _details(figure: Figure) -> str:
    lines = [figure.reason, *figure.details] if figure.reason else list(figure.details)
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f"... {len(lines) - MOST_LINES} more lines in JSON"]
    return "\n".join(f"  {line}" for line in lines)
