"""The pages about rules in Markdown: ``python -m custom_image.rules.docs`` writes them anew."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from custom_image.rules import Profile, Rule, catalogue
from custom_image.rules.requirements import Row, read_table
from custom_image.specification import EDITIONS, HUAWEICLOUD

PAGE: Final = Path(__file__).with_name("README.md")
CATALOGUE: Final = Path(__file__).with_name("CATALOGUE.md")
BEGIN: Final = "<!-- written by python -m custom_image.rules.docs -->"
END: Final = "<!-- end -->"


def table() -> str:
    """Return the rules as a table in Markdown."""
    rows = []
    for rule in catalogue():
        severity = ", ".join(
            [rule.severity, *(f"{s} in {p}" for p, s in rule.severities.items())],
        )
        required = rule.required_by(HUAWEICLOUD)
        cells = (f"`{rule.id}`", rule.title, required, severity, _profiles(rule), rule.level)
        rows.append(cells)
    head = ("Rule", "What is true of a good target", "Required", "Severity", "Profiles", "Level")
    return _markdown(head, rows)


def limits() -> str:
    """Return the numbers that can be replaced, by rule and edition, as a table."""
    rows = [
        (f"`{rule.id}`", *(rule.required_by(edition) for edition in EDITIONS.values()))
        for rule in catalogue()
        if rule.limit_field
    ]
    return _markdown(("Rule", *EDITIONS), rows)


def coverage() -> str:
    """Return what the platform asks, and who answers for it, as a table."""
    rows = [(row.id, row.asks, _answer(row), _source(row)) for row in read_table().rows]
    return _markdown(("Row", "What the platform asks", "Who answers for it", "Source"), rows)


def catalogue_page() -> str:
    """Return the text of CATALOGUE.md."""
    rows = read_table().rows
    judged = sum(bool(row.rules) for row in rows)
    waiting = sum(bool(row.cloud) for row in rows)
    advice = "\n".join(f"- `{rule}`: {why}" for rule, why in read_table().advice.items())
    return f"""# Catalogue: what the platform asks, and who answers for it

{BEGIN}

Of {len(rows)} rows, rules judge {judged}; {waiting} are about requests, which the cloud client
refuses; {len(rows) - judged - waiting} are NOT CHECKED, each with its reason. *inferred*: no page
of the platform states it.

{coverage()}

## Advice of this tool

Rules that no row asks for:

{advice}

## Limits by edition

What `--edition` changes, and what `--limit RULE=NUMBER` may replace.

{limits()}

## The rules

{"".join(explanation(rule) for rule in catalogue())}{END}
"""


def explanation(rule: Rule) -> str:
    """Return one rule, explained, with a heading."""
    rows = ", ".join(row.id for row in read_table().rows_of(rule.id)) or "advice of this tool"
    return f"""### {rule.id}

{rule.title}. {rule.why}

- expected: {rule.required_by(HUAWEICLOUD)}
- severity: {rule.severity}; profiles: {_profiles(rule)}; level: {rule.level}; rows: {rows}
- remediation: {rule.remediation}
- source: [{rule.source.title}]({rule.source.url})

    good: {rule.good}
    bad:  {rule.bad}

"""


def _answer(row: Row) -> str:
    if row.not_checked:
        return f"NOT CHECKED: {row.not_checked}"
    answer = ", ".join(f"`{rule}`" for rule in row.rules) or f"`cloud.{row.cloud}`"
    return f"{answer}; {row.besides}" if row.besides else answer


def _source(row: Row) -> str:
    link = f"[{row.source.title}]({row.source.url})"
    return f"{link}, inferred" if row.inferred else link


def _profiles(rule: Rule) -> str:
    if rule.profiles == frozenset(Profile):
        return "all"
    return ", ".join(profile for profile in Profile if profile in rule.profiles)


def _markdown(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [_line(head), "|" + "---|" * len(head), *(_line(row) for row in rows)]
    return "\n".join(lines)


def _line(cells: tuple[str, ...]) -> str:
    escaped = (cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def current_page() -> str:
    """Return the text of README.md with the table as it should be."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}"


def write_pages() -> None:
    """Write both pages."""
    PAGE.write_text(current_page(), encoding="utf-8")
    CATALOGUE.write_text(catalogue_page(), encoding="utf-8")


if __name__ == "__main__":
    write_pages()
