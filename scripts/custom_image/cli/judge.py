"""Commands that judge: verify, rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from custom_image.cli.options import Format, FormatOption, render, show
from custom_image.errors import UsageError
from custom_image.progress import say
from custom_image.specification import PORT

if TYPE_CHECKING:
    from custom_image.rules import Rule


def verify(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="An image reference, a folder with a build context or a model package, or the URL "
            "of a running service.",
        ),
    ],
    config: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="The config.json, where the target holds none."
        ),
    ] = None,
    profile: Annotated[str, typer.Option(help="The kind of deployment to judge for.")] = "classic",
    level: Annotated[
        str,
        typer.Option(
            help="static: read only, nothing is started. quick: short waits; rules about a "
            "duration then say NOT CHECKED. full: the platform's own 60, 90 and 200 seconds."
        ),
    ] = "quick",
    port: Annotated[
        int, typer.Option(help="The container port that the model declares.")
    ] = PORT.value,
    edition: Annotated[
        str, typer.Option(help="Whose limits hold: international, otc or before-2024.")
    ] = "international",
    form: FormatOption = Format.TABLE,
    output: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the result to this file as well.")
    ] = None,
) -> None:
    """Judge any image by the platform's rules.

    Also one that was not made here, a folder before anything is built, or a running service.

    \b
    Examples:
      custom-image verify dockerfile_build:latest
      custom-image verify registry.example.com/team/model:2 --config config.json --level full
      custom-image verify http://127.0.0.1:8080 --config config.json
      custom-image verify build/model_package/model --level static --format json

    Exits 1 where a rule failed. What could not be checked says so and is no failure; where nothing
    at all could be checked, it exits 3.
    """
    from custom_image.report import Verdict
    from custom_image.verification import verify as judge

    report = judge(target, config=config, profile=profile, level=level, port=port, edition=edition)
    if output:
        output.write_text(render(report, form), encoding="utf-8")
    if form is Format.TABLE:
        show(report)
    else:
        typer.echo(report.to_json(), nl=False)
    raise typer.Exit({Verdict.FAILED: 1, Verdict.NOT_CHECKED: 3}.get(report.verdict, 0))


def rules(
    rule: Annotated[
        str, typer.Argument(metavar="RULE", help="The id of one rule, to have it explained.")
    ] = "",
    form: FormatOption = Format.TABLE,
) -> None:
    """List the platform's rules, or explain one.

    Explained is what it asks for, why, how to mend what breaks it, and the platform's page.

    \b
    Examples:
      custom-image rules
      custom-image rules http.keep-alive
      custom-image rules --format json
    """
    from difflib import get_close_matches

    from custom_image.rules import catalogue

    known = {known.id: known for known in catalogue()}
    if rule and rule not in known:
        close = get_close_matches(rule, known, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise UsageError(f"No rule is called {rule!r}.{hint}\nList them all: custom-image rules")
    chosen = [_facts(known[rule])] if rule else [_facts(each) for each in known.values()]
    if form is Format.JSON:
        typer.echo(json.dumps(chosen[0] if rule else chosen, indent=2, ensure_ascii=False))
    elif rule:
        for name, value in chosen[0].items():
            typer.echo(f"{name:<9} {', '.join(value) if isinstance(value, list) else value}")
    else:
        width = max(map(len, known))
        for facts in chosen:
            typer.echo(f"{facts['id']:<{width}}  {facts['severity']:<7}  {facts['title']}")
        say(f"{len(chosen)} rules. Explain one: custom-image rules {chosen[0]['id']}")


def _facts(rule: Rule) -> dict[str, Any]:
    """Return what stands beside a rule's function, in the order in which one asks for it."""
    from custom_image.specification import INTERNATIONAL

    return {
        "id": rule.id,
        "title": rule.title,
        "why": rule.why,
        "severity": rule.severity,
        "required": rule.required_by(INTERNATIONAL),
        "level": rule.level,
        "profiles": sorted(rule.profiles),
        "mend": rule.mend,
        "source": str(rule.source),
    }
