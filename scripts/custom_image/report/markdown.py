"""A report in Markdown, for the summary page of a job or a comment on a merge request.

What a stranger's service says is shown as it is: no link, image, tag or table of it comes to life.

Source: GitHub Flavored Markdown, https://github.github.com/gfm/
"""

from __future__ import annotations

import re
from typing import Final

from custom_image.report import WAIVED, Check, Report, Verdict
from custom_image.report.groups import broken, not_checked_text, passed

SIGNS: Final = {Verdict.FAILED: "❌", Verdict.WARNING: "⚠️", WAIVED: "☑️"}
# A dot behind www, and a colon, would make a link of a bare address.
_SPECIAL: Final = re.compile(r"([\\`*_\[\]()#!|~<>&@:]|(?<=www)\.)", re.IGNORECASE)
MOST_EVIDENCE_LINES: Final = 16


def to_markdown(report: Report) -> str:
    """Return what is broken, then what was not checked in a line, what passed, and the table."""
    parts = [f"### {escaped(report.summary)}"]
    parts += [f"> {escaped(remark)}" for remark in report.remarks]
    parts += [_details(check) for check in broken(report)]
    if text := not_checked_text(report):
        parts.append(f"**Not checked** {escaped(text)}")
    parts.append(f"**Passed** {len(passed(report))} rules")
    parts.append(_table(report))
    return "\n\n".join(parts) + "\n"


def _details(check: Check) -> str:
    lines = [f"#### {SIGNS[check.badge]} `{check.id}` {escaped(check.title)}"]
    for name, text in (
        ("waived", check.waived),
        ("required", check.required),
        ("measured", check.measured),
        ("remediation", check.remediation),
    ):
        if text:
            lines.append(f"* {name}: {escaped(text)}")
    lines.append(f"* source: {_source(check.source)}")
    if check.evidence:
        lines += ["", fenced(check.evidence)]
    return "\n".join(lines)


def _table(report: Report) -> str:
    rows = [
        f"| {check.badge} | `{check.id}` | {escaped(check.required)} | {escaped(check.measured)} |"
        for check in report.checks
    ]
    head = ["| verdict | rule | required | measured |", "|---|---|---|---|"]
    title = f"<details><summary>All {len(report.checks)} rules</summary>"
    return "\n".join([title, "", *head, *rows, "", "</details>"])


def _source(source: str) -> str:
    """Return the platform's page as a link; any other text as it is."""
    page = re.fullmatch(r"(.+) <(https://[^<>\s()]+)>", source)
    return f"[{escaped(page[1])}]({page[2]})" if page else escaped(source)


def escaped(text: str) -> str:
    """Return a text in one line, each character that means something escaped."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def fenced(text: str) -> str:
    """Return a text as it is, in a fence that none of its own can close."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    lines = text.splitlines()
    if len(lines) > MOST_EVIDENCE_LINES:
        left_out = f"... {len(lines) - MOST_EVIDENCE_LINES} more lines in the JSON report"
        lines = [*lines[:MOST_EVIDENCE_LINES], left_out]
    return "\n".join([fence, *lines, fence])
