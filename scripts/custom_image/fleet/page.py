"""A matrix as one HTML file: nothing is loaded, no script runs, light or dark as its reader is."""

from __future__ import annotations

from collections import Counter
from html import escape
from typing import Final

from custom_image.fleet.matrix import NOT_JUDGED, Matrix, Row
from custom_image.report import Verdict
from custom_image.report.html import BADGES

_COLOURS: Final = {**BADGES, NOT_JUDGED: "#1f2937", "": "transparent"}
_SIGNS: Final = {"PASSED": "✓", "FAILED": "✗", "WARNING": "!", "NOT CHECKED": "?", "WAIVED": "w"}
_CSS: Final = """
:root { color-scheme: light dark; --page: #fff; --text: #1a202c; --faint: #5b6472;
  --line: #d0d7de; --card: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14181f; --text: #e6e9ee; --faint: #9aa4b2; --line: #333b47; --card: #1c222b; }
}
body { margin: 0; padding: 1.5rem; background: var(--page); color: var(--text);
  font: 14px/1.45 system-ui, "Liberation Sans", sans-serif; }
h1 { font-size: 1.3rem; margin: 0 0 .3rem; }
h2 { font-size: 1.05rem; margin: 1.6rem 0 .5rem; }
ul { margin: 0; padding-left: 1.2rem; }
.faint { color: var(--faint); }
.badge { display: inline-block; color: #fff; border-radius: 3px; padding: .05em .5em;
  font-size: 80%; font-weight: 600; white-space: nowrap; }
.matrix { overflow-x: auto; }
table { border-collapse: separate; border-spacing: 0; }
th, td { padding: 0; border-bottom: 1px solid var(--line); }
thead th { height: 13rem; vertical-align: bottom; font-weight: 400; }
thead th span { writing-mode: vertical-rl; transform: rotate(180deg); white-space: nowrap;
  font: 12px/22px ui-monospace, "Liberation Mono", monospace; }
thead th.name { text-align: left; padding: 0 .8rem .3rem 0; }
tbody th { position: sticky; left: 0; background: var(--page); text-align: left;
  font-weight: 400; padding: .15rem .8rem .15rem 0; white-space: nowrap; }
td.rule { min-width: 22px; width: 22px; height: 22px; text-align: center; color: #fff;
  font-weight: 700; border-left: 1px solid var(--page); }
td.changed { outline: 2px solid var(--text); outline-offset: -2px; }
td.why { padding: .15rem .6rem; color: var(--faint); }
td.verdict { padding-right: .8rem; }
"""


def to_page(matrix: Matrix) -> str:
    """Return the page: what changed first, then the images, a column for each rule."""
    counts = " ".join(
        _badge(name, f"{number} {name.lower()}") for name, number in matrix.counts.items()
    )
    legend = " ".join(_badge(name, f"{sign} {name.lower()}") for name, sign in _SIGNS.items())
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>{escape(matrix.summary)}</title><style>{_CSS}</style></head><body>",
            f"<h1>{escape(matrix.summary)}</h1><p>{counts}</p>",
            f'<p class="faint">{escape(matrix.known)}</p>' if matrix.known else "",
            _list("Lines that name no image", [str(line) for line in matrix.bad_lines]),
            _changes(matrix),
            f'<h2>Images and rules</h2><p class="faint">{legend}</p>',
            _table(matrix),
            "</body></html>",
        ]
    )


def _changes(matrix: Matrix) -> str:
    if not matrix.previous:
        return ""
    lines = [
        f"{change}{f': {change.measured}' if change.measured else ''}" for change in matrix.changes
    ]
    return _list("Changed since the last run", lines or ["nothing"])


def _list(title: str, lines: list[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<h2>{title}</h2><ul>{items}</ul>" if items else ""


def _table(matrix: Matrix) -> str:
    rules = _columns(matrix)
    head = "".join(f"<th><span>{escape(rule)}</span></th>" for rule in rules)
    changed = {(change.image, change.rule) for change in matrix.changes}
    rows = "".join(_row(row, rules, changed) for row in matrix.ordered)
    return (
        '<div class="matrix"><table><thead><tr><th class="name">image</th>'
        f'<th class="name">verdict</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _columns(matrix: Matrix) -> list[str]:
    """Return the rules that most images break first, and last those that no image was held to."""
    found = {
        rule: Counter(row.cells[rule].badge for row in matrix.rows if rule in row.cells)
        for rule in matrix.rules
    }
    broken = {rule: of[Verdict.FAILED] + of[Verdict.WARNING] for rule, of in found.items()}
    unchecked = {rule: set(of) == {Verdict.NOT_CHECKED} for rule, of in found.items()}
    return sorted(matrix.rules, key=lambda rule: (unchecked[rule], -broken[rule]))


def _row(row: Row, rules: list[str], changed: set[tuple[str, str]]) -> str:
    about = ", ".join(part for part in (row.digest, row.host, row.note) if part)
    name = f'<th title="{escape(about)}">{escape(row.image)}</th>'
    verdict = f'<td class="verdict">{_badge(row.verdict)}</td>'
    if row.error:
        why = f'<td class="why" colspan="{max(1, len(rules))}">{escape(row.error)}</td>'
        return f"<tr>{name}{verdict}{why}</tr>"
    cells = "".join(_cell(row, rule, (row.image, rule) in changed) for rule in rules)
    return f"<tr>{name}{verdict}{cells}</tr>"


def _cell(row: Row, rule: str, is_changed: bool) -> str:
    if rule not in row.cells:
        return f'<td class="rule" title="{escape(rule)}: not a rule of its profile"></td>'
    cell = row.cells[rule]
    title = escape(f"{rule}: {cell.badge}. {cell.measured}")
    kind = "rule changed" if is_changed else "rule"
    colour, sign = _COLOURS.get(cell.badge, ""), _SIGNS.get(cell.badge, "")
    return f'<td class="{kind}" style="background:{colour}" title="{title}">{sign}</td>'


def _badge(name: str, text: str = "") -> str:
    colour = _COLOURS.get(name, "#6b7280")
    return f'<span class="badge" style="background:{colour}">{escape(text or name)}</span>'
