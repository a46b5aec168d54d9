"""Commands that ship an image: push, publish, deploy, delete."""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from custom_image.cli import server as build_server
from custom_image.cli.options import absolute, show
from custom_image.errors import Unavailable, UsageError
from custom_image.settings import enter_project
from custom_image.specification import MODEL_DIR

if TYPE_CHECKING:
    from custom_image.cloud import Cloud
    from custom_image.model_config import ModelConfig


class Endpoint(StrEnum):
    """Which ModelArts is meant."""

    AUTO = "auto"
    LOCAL = "local"
    CLOUD = "cloud"


EndpointOption = Annotated[
    Endpoint,
    typer.Option(
        "--endpoint",
        help="Which ModelArts: the local one, the cloud that the environment names, or auto: the "
        "cloud where it is named.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print every call with its body; send nothing.")
]
Environment = Annotated[
    list[str] | None,
    typer.Option("--env", metavar="NAME=VALUE", help="A variable of each instance; repeatable."),
]
Generation = Annotated[
    str,
    typer.Option(
        "--generation",
        metavar="v1|v2",
        help="Of the API: v2 is Inference 2.0, v1 the classic one; empty for that of the endpoint.",
    ),
]
Asynchronous = Annotated[
    bool, typer.Option("--asynchronous", help="Answers later, by a task: for slow predictions.")
]
Version = Annotated[str, typer.Option(metavar="N.N.N", help="Of the model.")]
Instances = Annotated[int, typer.Option(min=0, help="How many instances; one where not said.")]
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help="The name of a published model.")]
Config = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False,
        help="The config.json that says how the image is asked. Without it: the one in the image.",
    ),
]
CONFIG = Path("build/model_package/model/config.json")


def push(
    image: Annotated[
        str, typer.Argument(metavar="IMAGE", help="An image of the Docker engine, or of a server.")
    ],
    name: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="ORG/NAME:TAG",
            help="Its name in SWR; its own if empty. From a server also of another registry, whose "
            "host comes first, by the server's own `docker login`.",
        ),
    ] = "",
    server: build_server.Server = "",
    ssh_config: build_server.SshConfig = "",
    endpoint: EndpointOption = Endpoint.AUTO,
    dry_run: DryRun = False,
) -> None:
    """Push an image into the registry SWR.

    Logs in for the occasion, creates the organization where there is none, and sends nothing where
    the registry has this very image already. From a server an image does not pass this machine, and
    the push goes on when the connection breaks off (`custom-image jobs follow`).

    \b
    Examples:
      custom-image push dockerfile_build:latest --to my-org/mnist:1.0.0
      custom-image push dockerfile_build:latest --dry-run
      custom-image push mnist:1 --server root@10.0.0.5 --to my-org/mnist:1.0.0
    """
    from custom_image.cloud import push as run
    from custom_image.cloud import receipts

    ssh_config = absolute(ssh_config)
    enter()
    if server:
        build_server.push(image, name, server, ssh_config)
        return
    pushed = run(image, name, cloud=connect(endpoint, dry_run))
    if not dry_run:
        receipts.keep(pushed)
    show(pushed)


def publish(
    image: Annotated[
        str,
        typer.Argument(
            metavar="ORG/NAME:TAG[@DIGEST]",
            help="An image that was pushed. Its tag has to name what it named when it was pushed "
            "from here, or the digest that is given.",
        ),
    ],
    name: Annotated[str, typer.Option(help="Of the model; the image's if empty.")] = "",
    version: Version = "",
    config: Config = None,
    description: Annotated[str, typer.Option(help="A few words; the digest follows them.")] = "",
    asynchronous: Asynchronous = False,
    endpoint: EndpointOption = Endpoint.AUTO,
    dry_run: DryRun = False,
) -> None:
    """Publish a pushed image as a model (an AI application).

    A version that has this content already is found; without --version the next one is chosen.

    \b
    Examples:
      custom-image publish my-org/mnist:1.0.0
      custom-image publish my-org/mnist:1.0.1 --name mnist --version 1.0.1 --config config.json
      custom-image publish my-org/mnist:1.0.0@sha256:...
    """
    from custom_image.cloud import find_image, receipts
    from custom_image.cloud import publish as run

    named = read_config(config).resolve() if config else None
    enter()
    cloud = connect(endpoint, dry_run)
    published = find_image(image, cloud=cloud)
    if "@" not in image and not dry_run:
        published = receipts.as_pushed(published)
    show(
        run(
            published,
            # A dry run knows no registry, and so no whole name.
            named or config_of(image if dry_run else published.reference),
            name=name,
            version=version,
            description=description,
            asynchronous=asynchronous,
            cloud=cloud,
        )
    )


def deploy(
    model: ModelName,
    version: Version = "",
    name: Annotated[str, typer.Option(help="Of the service; the model's if empty.")] = "",
    environment: Environment = None,
    instances: Instances = 0,
    pool: Annotated[
        str, typer.Option(help="A dedicated pool, which alone upgrades without a gap.")
    ] = "",
    weights: Annotated[
        str,
        typer.Option(
            metavar="obs://BUCKET/FOLDER/",
            help="Weights beside the image: a folder that is mounted read-only; efs://... for SFS.",
        ),
    ] = "",
    mount: Annotated[
        str, typer.Option(metavar="PATH", help="Where; the image is told in WEIGHTS_PATH.")
    ] = "/model/",
    stop_command: Annotated[
        str, typer.Option(help="Of v2: run in the container, by its own sh, before SIGTERM.")
    ] = "",
    authentication: Annotated[
        str, typer.Option("--auth", help="Of v2: who may call: API_KEY, TOKEN or NONE.")
    ] = "",
    asynchronous: Asynchronous = False,
    generation: Generation = "",
    endpoint: EndpointOption = Endpoint.AUTO,
    dry_run: DryRun = False,
) -> None:
    """Deploy a model as a real-time service.

    Waits until it runs. A service of this name that runs another version is updated instance by
    instance; one that runs just so is found.

    \b
    Examples:
      custom-image deploy mnist
      custom-image deploy mnist --version 1.0.1 --pool my-pool --env LOG_LEVEL=DEBUG
      custom-image deploy mnist --weights obs://models/mnist/ --mount /model
      custom-image deploy mnist --generation v1
    """
    from custom_image.cloud import deploy as run
    from custom_image.cloud import find_model

    enter()
    variables = variables_of(environment)
    cloud = connect(endpoint, dry_run)
    found = find_model(model, version, config=planned(dry_run), cloud=cloud)
    show(
        run(
            found,
            name,
            environment=variables,
            instances=instances,
            pool=pool,
            weights=weights,
            mount=mount if mount.endswith("/") else f"{mount}/",
            stop_command=stop_command,
            authentication=authentication.upper(),
            asynchronous=asynchronous or found.is_asynchronous,
            generation=generation,
            cloud=cloud,
        )
    )


def delete(
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="The name of a service.")],
    model: Annotated[str, typer.Option(help="Of v2: what it serves, if not its image's.")] = "",
    generation: Generation = "",
    endpoint: EndpointOption = Endpoint.AUTO,
    dry_run: DryRun = False,
) -> None:
    """Delete a service and wait until it is gone.

    \b
    Example:
      custom-image delete mnist
    """
    from custom_image.cloud import delete as run
    from custom_image.cloud import find_model, find_service

    enter()
    cloud = connect(endpoint, dry_run)
    found = find_model(model, cloud=cloud) if model else None
    run(find_service(service, model=found, generation=generation, cloud=cloud))
    if not dry_run:
        typer.echo(f"{service} is gone")


def connect(endpoint: Endpoint, dry_run: bool = False) -> Cloud:
    """Return the client that ``--endpoint`` and ``--dry-run`` ask for."""
    from custom_image.cloud import open_cloud

    return open_cloud(endpoint, dry_run=dry_run)


def enter(*paths: Path) -> list[Path]:
    """Make the checkout's root the working directory; paths that the user typed stay meant."""
    typed = [path.resolve() if path.exists() else path for path in paths]
    enter_project()
    return typed


def config_of(image: str) -> ModelConfig:
    """Return the config.json that the engine's image of this name holds.

    Raises:
        PackageError: it is none.
        UsageError: there is none.
    """
    from custom_image.engines.docker.engine import DockerEngine
    from custom_image.model_config import parse_model_config

    path, content = f"{MODEL_DIR}/config.json", None
    with suppress(UsageError, Unavailable):  # no such image, no engine
        content = DockerEngine.connect().read_file(image, path)
    if content is None:
        raise UsageError(
            f"{image}: expected an image of the Docker engine with {path}, found none.\n"
            f"Name its config.json with --config; the example's is {CONFIG}."
        )
    return parse_model_config(content.decode(errors="replace"), f"{image}: {path}")


def read_config(path: Path) -> Path:
    """Return where config.json is.

    Raises:
        UsageError: it is not there.
    """
    if not path.is_file():
        raise UsageError(
            f"{path}: expected a config.json, found none.\n"
            "Write one with `custom-image package`, or name yours with --config."
        )
    return path


def planned(dry_run: bool) -> Path | None:
    """Return whose config.json a dry run goes on with: it cannot ask for the model's."""
    return CONFIG if dry_run and CONFIG.is_file() else None


def variables_of(given: list[str] | None) -> dict[str, str]:
    """Return the variables of ``--env``.

    Raises:
        UsageError: one is not of the form NAME=VALUE.
    """
    variables = {}
    for text in given or ():
        name, sign, value = text.partition("=")
        if not sign:
            raise UsageError(f"--env {text}: expected NAME=VALUE, found no equals sign.")
        variables[name] = value
    return variables
