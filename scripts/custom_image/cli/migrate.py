"""The command that takes a classic service to v2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from custom_image.cli.options import show
from custom_image.cli.ship import Endpoint, EndpointOption, connect, enter
from custom_image.errors import UsageError


def migrate(
    service: Annotated[
        str,
        typer.Argument(
            metavar="SERVICE", help="The name of a classic service (v1), or what ShowService says."
        ),
    ],
    model: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="Of a file: what ShowModel says."),
    ] = None,
    name: Annotated[str, typer.Option(help="Of the new service; the old one's with -v2.")] = "",
    compare: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True, dir_okay=False, metavar="FILE", help="Sent to both services; repeatable."
        ),
    ] = None,
    endpoint: EndpointOption = Endpoint.AUTO,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the table and the request; change nothing.")
    ] = False,
) -> None:
    """Take a classic service and its model to v2, Inference 2.0.

    Says what became of each field, and deploys the new service beside the old one, which stays.
    With --compare both get the same requests; exits 1 where their answers differ.

    \b
    Examples:
      custom-image migrate mnist --dry-run
      custom-image migrate mnist --compare seven.jpg
      custom-image migrate service.json --model model.json --dry-run
    """
    from custom_image.cloud import find_service
    from custom_image.cloud.services.compare import compare as compare_answers
    from custom_image.cloud.services.migrate import find_v1, read_json
    from custom_image.cloud.services.migrate import migrate as plan

    files = [(path.name, path.read_bytes()) for path in compare or ()]
    is_file = Path(service).is_file()
    if is_file and model is None:
        raise UsageError(f"{service}: expected the file of its model beside it.\nAdd --model FILE.")
    if is_file and model is not None:
        documents = read_json(Path(service)), read_json(model)
        enter()
        cloud = connect(endpoint, dry_run)
    else:
        enter()
        cloud = connect(endpoint)
        documents = find_v1(cloud, service)
    planned = plan(*documents, cloud, name=name)
    show(planned)
    if dry_run:
        from custom_image.cloud.api.recorder import masked

        typer.echo(json.dumps(masked(dict(planned.request)), indent=2, ensure_ascii=False))
        return
    new = planned.deploy(cloud)
    show(new)
    if files:
        old = find_service(service, generation="v1", cloud=cloud)
        found = compare_answers(old, new, files)
        show(found)
        if not found.are_equal:
            raise typer.Exit(1)
