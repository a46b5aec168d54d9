"""A report as one HTML file: nothing is loaded, no script runs, light or dark as its reader is."""

from __future__ import annotations

import json
import re
from html import escape
from typing import Final

from custom_image.report import WAIVED, Check, Report, Verdict
from custom_image.report.groups import not_checked
from custom_image.report.html import BADGES
from custom_image.report.text import plain

_CSS: Final = """
:root { color-scheme: light dark; --page: #fff; --text: #1a202c; --faint: #5b6472;
  --line: #d0d7de; --card: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14181f; --text: #e6e9ee; --faint: #9aa4b2; --line: #333b47; --card: #1c222b; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.5rem; max-width: 66rem; background: var(--page);
  color: var(--text); font: 15px/1.5 system-ui, "Liberation Sans", sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .7rem; break-after: avoid; }
a { color: inherit; }
p { margin: .3rem 0; }
.faint { color: var(--faint); }
.badge { display: inline-block; color: #fff; border-radius: 3px; padding: .05em .55em;
  font-size: 78%; font-weight: 600; white-space: nowrap; }
.counts .badge { font-size: 90%; padding: .2em .7em; margin: .4rem .4rem .4rem 0; }
article { border: 1px solid var(--line); border-radius: 6px; padding: .8rem 1rem; margin: .8rem 0;
  break-inside: avoid; }
article h3 { font-size: 1rem; margin: 0 0 .4rem; }
dl { display: grid; grid-template-columns: 6rem 1fr; gap: .25rem 1rem; margin: 0; }
dt { color: var(--faint); }
dd { margin: 0; overflow-wrap: anywhere; min-width: 0; white-space: pre-wrap; }
pre, code { font: 13px/1.45 ui-monospace, "Liberation Mono", monospace; }
pre { background: var(--card); border-radius: 4px; padding: .5rem .7rem; margin: 0;
  white-space: pre-wrap; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .35rem .8rem .35rem 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th { color: var(--faint); font-weight: 400; }
td:first-child, td:nth-child(2) { white-space: nowrap; }
td:last-child { text-align: right; white-space: nowrap; padding-right: 0; }
th:last-child { text-align: right; padding-right: 0; }
tr { break-inside: avoid; }
summary { cursor: pointer; }
@media (max-width: 40rem) {
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .4rem; }
  td:first-child, td:nth-child(2) { white-space: normal; }
}
@media print {
  :root { --page: #fff; --text: #000; --faint: #444; --line: #bbb; --card: #f4f4f4; }
  @page { margin: 14mm; }
  body { max-width: none; padding: 0; font-size: 9.5pt; }
  summary { list-style: none; }
  a { text-decoration: none; }
  a[href]::after { content: " <" attr(href) ">"; }
  .badge { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  details.facts { display: none; }
}
"""


def to_page(report: Report) -> str:
    """Return the page: the verdict, what is broken with all that stands behind it, then all."""
    title = f"{_headline(report)}: {report.target}"
    parts = [
        open_page(title),
        _head(report),
        _section(report, "Failed", Verdict.FAILED),
        _section(report, "Warnings", Verdict.WARNING),
        _section(report, "Waived", WAIVED),
        _not_checked(report),
        _table(report),
        _facts(report),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part)


def open_page(title: str) -> str:
    """Return the beginning of a page, up to what its body holds."""
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            # No answer of a stranger's service can load or run anything, whatever slipped through.
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>{escape(title)}</title><style>{_CSS}</style></head><body>",
        ]
    )


def _badge(name: str, text: str = "") -> str:
    return f'<span class="badge" style="background:{BADGES[name]}">{text or name}</span>'


def _headline(report: Report) -> str:
    """Return the verdict, with the level where a higher one may find more."""
    return report.verdict if report.level == "full" else f"{report.verdict} at level {report.level}"


def _head(report: Report) -> str:
    counts = "".join(
        _badge(name, f"{number} {name.lower()}") for name, number in report.counts.items() if number
    )
    remarks = "".join(f"<p>{escape(remark)}</p>" for remark in report.remarks)
    facts = (
        f"profile {report.profile}, level {report.level}, edition {report.edition or 'unknown'}, "
        f"{report.duration_s:.1f} s"
    )
    return (
        f"<header><h1>{_badge(report.verdict, _headline(report))} {escape(report.target)}</h1>"
        f'<p class="faint">{escape(facts)}</p><p class="counts">{counts}</p>{remarks}</header>'
    )


def _section(report: Report, title: str, badge: str) -> str:
    articles = "".join(_article(check) for check in report.checks if check.badge == badge)
    return f"<section><h2>{title}</h2>{articles}</section>" if articles else ""


def _not_checked(report: Report) -> str:
    rows = "".join(f"<li>{escape(str(group))}</li>" for group in not_checked(report))
    return f"<section><h2>Not checked</h2><ul>{rows}</ul></section>" if rows else ""


def _article(check: Check) -> str:
    """Return all that is known of one broken rule."""
    rows = [
        ("waived", escape(check.waived)),
        ("required", escape(check.required)),
        ("measured", escape(check.measured)),
        ("evidence", f"<pre>{escape(check.evidence)}</pre>" if check.evidence else ""),
        ("remediation", escape(check.remediation)),
        ("source", _source(check.source)),
    ]
    listed = "".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in rows if text)
    return (
        f"<article><h3>{_badge(check.badge)} <code>{escape(check.id)}</code> "
        f"{escape(check.title)}</h3><dl>{listed}</dl></article>"
    )


def _source(source: str) -> str:
    """Return the page of the platform as a link; any other text as it is."""
    page = re.fullmatch(r"(.+) <(https://[^<>\s]+)>", source)
    return f'<a href="{escape(page[2])}">{escape(page[1])}</a>' if page else escape(source)


def _table(report: Report) -> str:
    rows = "".join(
        f"<tr><td>{_badge(check.badge)}</td>"
        f'<td><code title="{escape(check.title)}">{escape(check.id)}</code></td>'
        f"<td>{escape(check.required)}</td><td>{_measured(check)}</td>"
        f"<td>{check.duration_s:.1f} s</td></tr>"
        for check in report.checks
    )
    return (
        "<section><h2>All rules</h2><table><thead><tr><th>verdict</th><th>rule</th>"
        f"<th>required</th><th>measured</th><th>took</th></tr></thead><tbody>{rows}</tbody></table>"
        "</section>"
    )


def _measured(check: Check) -> str:
    """Return what was measured; the evidence of what is broken stands above already."""
    measured = escape(check.measured)
    if check.is_broken or not check.evidence:
        return measured
    evidence = f"<pre>{escape(check.evidence)}</pre>"
    return f"<details><summary>{measured}</summary>{evidence}</details>"


def _facts(report: Report) -> str:
    if not report.facts:
        return ""
    text = json.dumps(plain(dict(report.facts)), indent=1, ensure_ascii=False)
    return (
        '<details class="facts"><summary>What was measured on the way, as JSON</summary>'
        f"<pre>{escape(text)}</pre></details>"
    )
