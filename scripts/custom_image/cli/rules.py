"""Command rules: the catalogue, or one rule explained."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from custom_image.cli.options import write
from custom_image.errors import UsageError
from custom_image.progress import say
from custom_image.specification import HUAWEICLOUD, LAST_RELEASE

if TYPE_CHECKING:
    from custom_image.rules import Rule


class RulesFormat(StrEnum):
    """How rules are listed."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


def rules(
    rule: Annotated[
        str, typer.Argument(metavar="RULE", help="The id of one rule, to have it explained.")
    ] = "",
    form: Annotated[
        RulesFormat, typer.Option("--format", help="How to print them.")
    ] = RulesFormat.TABLE,
    output: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write them to this file instead.")
    ] = None,
    changed: Annotated[
        bool,
        typer.Option("--changed", help="Only those of a page newer than our last release."),
    ] = False,
) -> None:
    """List the platform's rules, or explain one.

    Explained is what it asks for, why, how to fix what breaks it, an example, and the platform's
    page. In Markdown the whole catalogue is written: all that the platform asks, and who judges it.

    \b
    Examples:
      custom-image rules
      custom-image rules http.keep-alive
      custom-image rules --format json
      custom-image rules --changed
      custom-image rules --format markdown --output CATALOGUE.md
    """
    from difflib import get_close_matches

    from custom_image.rules import catalogue

    known = {known.id: known for known in catalogue()}
    if rule and rule not in known:
        close = get_close_matches(rule, known, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise UsageError(f"No rule is called {rule!r}.{hint}\nList them all: custom-image rules")
    version, date = LAST_RELEASE
    rules = [r for r in known.values() if not changed or r.newest_page > date]
    listed = [known[rule]] if rule else rules
    text = _listed(listed, form, explained=bool(rule))
    if output:
        write(output, text)
    else:
        typer.echo(text, nl=False)
    if form is RulesFormat.TABLE and not rule:
        which = f" rest on a page newer than our release {version} of {date}" if changed else ""
        say(f"{len(listed)} rules{which}. Explain one: custom-image rules {next(iter(known))}")


def _listed(rules: list[Rule], form: RulesFormat, *, explained: bool) -> str:
    """Return rules in a form; ``explained`` where one of them was asked for."""
    from custom_image.rules.docs import catalogue_page, explanation

    if form is RulesFormat.MARKDOWN:
        return explanation(rules[0]) if explained else catalogue_page()
    facts = [_facts(rule) for rule in rules]
    if form is RulesFormat.JSON:
        return json.dumps(facts[0] if explained else facts, indent=2, ensure_ascii=False) + "\n"
    if explained:
        return "".join(
            f"{name:<9} {line}\n"
            for label, value in facts[0].items()
            for name, line in _labelled(label, value)
        )
    width = max((len(rule.id) for rule in rules), default=0)
    return "".join(f"{f['id']:<{width}}  {f['severity']:<7}  {f['title']}\n" for f in facts)


def _labelled(label: str, value: Any) -> list[tuple[str, str]]:
    """Return the lines of a value, the first with its label."""
    text = ", ".join(value) if isinstance(value, list) else str(value)
    lines = text.splitlines() or ["none"]
    return [(label if number == 0 else "", line) for number, line in enumerate(lines)]


def _facts(rule: Rule) -> dict[str, Any]:
    """Return what stands beside a rule's function, in the order in which one asks for it."""
    from custom_image.rules.requirements import read_table
    from custom_image.specification import EDITIONS

    limits = {name: rule.required_by(edition) for name, edition in EDITIONS.items()}
    differs = len(set(limits.values())) > 1
    return {
        "id": rule.id,
        "title": rule.title,
        "why": rule.why,
        "severity": rule.severity,
        "required": rule.required_by(HUAWEICLOUD),
        **({"editions": [f"{name}: {limit}" for name, limit in limits.items()]} if differs else {}),
        **({"pages": "\n".join(rule.readings)} if rule.readings else {}),
        **({"page_date": rule.newest_page} if rule.newest_page else {}),
        "level": rule.level,
        "profiles": sorted(rule.profiles),
        "requires": list(rule.requires),
        "remediation": rule.remediation,
        "good": rule.good,
        "bad": rule.bad,
        "rows": [row.id for row in read_table().rows_of(rule.id)],
        "source": str(rule.source),
    }
