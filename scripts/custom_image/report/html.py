"""A report for Jupyter, on a light or a dark page; `page` makes a whole page of its own."""

from __future__ import annotations

from html import escape
from typing import Final

from custom_image.report import COLUMNS, WAIVED, Check, Report, Verdict
from custom_image.report.groups import broken, not_checked_text, passed

# The page's own colours show through: JupyterLab, VS Code and nbconvert are light or dark. Only
# the badges bring a background of their own, dark enough for white letters on either.
_CSS: Final = (
    ".verdicts table{border-collapse:collapse;width:100%;table-layout:auto !important;"
    "color:inherit;background:transparent}"
    ".verdicts th,.verdicts td{text-align:left !important;vertical-align:top;"
    "padding:.25em .8em .25em 0;border-bottom:1px solid rgba(128,128,128,.35);"
    "background:transparent;color:inherit}"
    ".verdicts code{white-space:nowrap;background:transparent;color:inherit}"
    ".verdicts .badge{color:#fff;border-radius:3px;padding:.1em .5em;font-size:85%;"
    "font-weight:600;white-space:nowrap}"
    ".verdicts pre{white-space:pre-wrap;background:transparent;color:inherit;margin:.3em 0}"
    ".verdicts summary{cursor:pointer}"
)
BADGES: Final[dict[str, str]] = {
    Verdict.PASSED: "#1a7f37",
    Verdict.FAILED: "#b91c1c",
    Verdict.WARNING: "#9a6700",
    Verdict.NOT_CHECKED: "#6b7280",
    WAIVED: "#7c3aed",
}


def to_html(report: Report) -> str:
    """Return the summary, what is broken, and the rest in two lines that unfold."""
    remarks = "".join(f"<p>{escape(remark)}</p>" for remark in report.remarks)
    unchecked = [check for check in report.checks if check.badge == Verdict.NOT_CHECKED]
    passes = passed(report)
    rest = _folded(unchecked, f"not checked, {not_checked_text(report)}") if unchecked else ""
    rest += _folded(passes, f"{len(passes)} rules passed") if passes else ""
    return (
        f"<style>{_CSS}</style><div class='verdicts'><p><b>{escape(report.summary)}</b></p>"
        f"{remarks}{_table(broken(report))}{rest}</div>"
    )


def _folded(checks: list[Check], title: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{_table(checks)}</details>"


def _table(checks: list[Check]) -> str:
    if not checks:
        return ""
    head = "".join(f"<th>{title}</th>" for title in COLUMNS)
    rows = "".join(_row(check) for check in checks)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _row(check: Check) -> str:
    badge = f"<span class='badge' style='background:{BADGES[check.badge]}'>{check.badge}</span>"
    return (
        f"<tr><td>{badge}</td>"
        f"<td><code title='{escape(check.title)}'>{escape(check.id)}</code></td>"
        f"<td>{escape(check.required)}</td><td>{_measured(check)}</td></tr>"
    )


def _measured(check: Check) -> str:
    """Return what was measured; what stands behind it unfolds, and is open where it matters."""
    behind = f"<pre>{escape(check.evidence)}</pre>" if check.evidence else ""
    if check.waived:
        behind = f"<p>waived: {escape(check.waived)}</p>{behind}"
    if check.is_broken:
        behind += f"<p>{escape(check.remediation)}<br><i>{escape(check.source)}</i></p>"
    if not behind:
        return escape(check.measured)
    is_open = " open" if check.is_broken else ""
    return f"<details{is_open}><summary>{escape(check.measured)}</summary>{behind}</details>"
