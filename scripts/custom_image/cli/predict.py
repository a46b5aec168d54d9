"""Commands that use what was shipped: predict, batch."""

from __future__ import annotations

import json
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from custom_image.cli.options import show
from custom_image.cli.ship import (
    DryRun,
    Endpoint,
    EndpointOption,
    Environment,
    Generation,
    ModelName,
    Version,
    connect,
    enter,
    planned,
    variables_of,
)
from custom_image.errors import UsageError
from custom_image.progress import say


class Mapping(StrEnum):
    """How files become requests."""

    FILE = "file"
    CSV = "csv"


def predict(
    target: Annotated[
        str, typer.Argument(metavar="SERVICE", help="Name of a service, or a URL that answers.")
    ],
    file: Annotated[
        Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="What is sent.")
    ],
    field: Annotated[
        str, typer.Option(help="Of a URL: name of the form's part, as in config.json.")
    ] = "images",
    model: Annotated[
        str, typer.Option(help="Of v2: whose config.json holds, if not its image's.")
    ] = "",
    stream: Annotated[
        bool, typer.Option("--stream", help="Show each part of the answer as it arrives.")
    ] = False,
    generation: Generation = "",
    endpoint: EndpointOption = Endpoint.AUTO,
    dry_run: DryRun = False,
) -> None:
    """Send a file to a service, as a client of the platform would.

    A service is asked through the platform's gateway: with the API key in MODELARTS_API_KEY or a
    temporary one (v2), with the IAM token in MODELARTS_TOKEN, or signed with the keys (v1). A .json
    file is sent as the members of a JSON request, to a URL too. A refusal says whether the model or
    the platform spoke, and what to do. Exits 1 where the service refuses it.

    \b
    Examples:
      custom-image predict mnist seven.jpg
      custom-image predict chat question.json --stream
      custom-image predict http://127.0.0.1:8080 seven.jpg
    """
    from custom_image.cloud import find_model, find_service
    from custom_image.engines.client import predict as ask

    content = file.read_bytes()
    members = _members(file) if file.suffix == ".json" else None
    enter()
    show_part = partial(typer.echo, nl=False) if stream else None
    body = content if members is None else members
    if "://" in target:
        url = target.rstrip("/")
        answer = ask(url, body, field=field, filename=file.name, on_part=show_part)
    else:
        cloud, config = connect(endpoint, dry_run), planned(dry_run)
        found = find_model(model, config=config, cloud=cloud) if model else None
        service = find_service(
            target, model=found, generation=generation, config=config, cloud=cloud
        )
        answer = service.predict(body, filename=file.name, on_part=show_part)
    typer.echo("" if stream and answer.ok else answer.text.rstrip("\n"))
    by = f" from {answer.said_by}" if answer.said_by else ""
    say(f"{answer.status}{by} in {answer.seconds * 1000:.0f} ms")
    if answer.advice:
        say(answer.advice)
    if not answer.ok:
        raise typer.Exit(1)


def batch(
    model: ModelName,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder or a .manifest: obs://..., or of this machine for the local ModelArts.",
        ),
    ],
    destination: Annotated[
        str, typer.Option("--to", metavar="FOLDER", help="An empty folder in OBS, for obs://...")
    ] = "",
    version: Version = "",
    mapping: Annotated[Mapping, typer.Option(help="A request a file, or a line.")] = Mapping.FILE,
    rule: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Of csv: the JSON schema, an index at each scalar."
        ),
    ] = None,
    environment: Environment = None,
    instances: Annotated[int, typer.Option(min=1, help="How many share the work.")] = 1,
    endpoint: EndpointOption = Endpoint.AUTO,
    dry_run: DryRun = False,
) -> None:
    """Ask a model about every file of a folder, or of a manifest.

    Waits for the end; the same batch again is found, and its results shown. Exits 1 where a file
    got no answer.

    \b
    Examples:
      custom-image batch mnist digits/
      custom-image batch mnist obs://bucket/digits/ --to obs://bucket/results/
      custom-image batch iris flowers/ --mapping csv --rule columns.json
    """
    from custom_image.cloud import batch as run
    from custom_image.cloud import find_model

    source = source if "://" in source else str(Path(source).resolve())
    schema = _members(rule) if rule else None
    enter()
    cloud = connect(endpoint, dry_run)
    job = run(
        find_model(model, version, config=planned(dry_run), cloud=cloud),
        source,
        destination,
        mapping=mapping,
        rule=schema,
        instances=instances,
        environment=variables_of(environment),
        cloud=cloud,
    )
    show(job)
    if job.failures:
        raise typer.Exit(1)


def _members(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"{path}: expected JSON, found none ({error}).") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path}: expected a JSON object, found {type(found).__name__}.")
    return found
