"""What happens on a build server: building and verifying there, and the command ``ecs push``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from custom_image.cli.options import show, write
from custom_image.errors import UsageError

if TYPE_CHECKING:
    from custom_image.ecs import Connection
    from custom_image.report import Report

SCHEME = "ssh://"
PUSHED = Path("build/ecs_build/pushed.json")

Server = Annotated[
    str,
    typer.Option(
        metavar="USER@HOST", help="Build on a server with a Docker engine, as ssh names it."
    ),
]
SshConfig = Annotated[
    str,
    typer.Option(
        metavar="FILE",
        help="Instead of ~/.ssh/config, which says port, key and jump host of a server.",
    ),
]
Attach = Annotated[
    str, typer.Option(metavar="JOB", help="Go on with a job on the server: its log, its result.")
]
Cancel = Annotated[str, typer.Option(metavar="JOB", help="End a job on the server.")]
Builder = Annotated[
    str,
    typer.Option(help="buildkit, classic, or auto: BuildKit where the server has it."),
]

app = typer.Typer(
    name="ecs", no_args_is_help=True, help="Work on a build server; see also `build --server`."
)


@app.callback()
def _group() -> None:
    """Keep ``ecs`` a group although it has one command."""


@app.command()
def push(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="An image on the server.")] = "",
    server: Server = "",
    name: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="ORG/NAME:TAG",
            help="Its name in SWR. With a registry's host before it, that registry is meant, and "
            "the server's own `docker login`.",
        ),
    ] = "",
    ssh_config: SshConfig = "",
    attach: Attach = "",
    cancel: Cancel = "",
) -> None:
    """Push an image from the server where it was built.

    It does not pass this machine. Logs in to SWR for the occasion, with a temporary login of the
    keys in the environment. Goes on when the connection breaks off; what is there is not sent.

    \b
    Examples:
      custom-image ecs push mnist:1 --server root@10.0.0.5 --to my-org/mnist:1.0.0
      custom-image ecs push --server root@10.0.0.5 --attach 20260131-235959-4f2a
    """
    from custom_image import ecs
    from custom_image.cloud import open_cloud
    from custom_image.cloud.images import log_in
    from custom_image.image_reference import DEFAULT_REGISTRY, ImageReference
    from custom_image.settings import enter_project

    ssh_config = _absolute(ssh_config)
    enter_project()
    with connected(server, ssh_config) as connection:
        if cancel:
            ecs.Job.attach(connection, cancel).cancel()
            return
        if attach:
            pushed = ecs.attach_push(connection, attach)
        else:
            if not image or not name:
                raise UsageError("which IMAGE, and to where (--to ORG/NAME:TAG)?")
            target = ImageReference.parse(name)
            login = None
            reference = name
            if target.registry == DEFAULT_REGISTRY:
                cloud = open_cloud("cloud")
                login = log_in(cloud)
                cloud.create_organization(target.namespace)
                reference = f"{login.registry}/{target.repository}:{target.tag}"
            pushed = ecs.push(connection, image, reference, login=login)
    PUSHED.parent.mkdir(parents=True, exist_ok=True)
    write(PUSHED, json.dumps(asdict(pushed), indent=2) + "\n")
    show(pushed)


def attach_or_cancel(server: str, ssh_config: str, attach: str, cancel: str) -> None:
    """Go on with a build on a server, or end it."""
    from custom_image import ecs

    with connected(server, ssh_config) as connection:
        if cancel:
            ecs.Job.attach(connection, cancel).cancel()
        else:
            show(ecs.attach(connection, attach))


def verify(image: str, address: str, ssh_config: str, **options: Any) -> Report:
    """Judge an image on the engine at ``ssh://user@host``.

    Raises:
        UsageError: it is no such address.
        Unavailable: the server, or its engine, does not answer.
    """
    from custom_image import ecs

    if not address.startswith(SCHEME):
        raise UsageError(f"engine is {address!r}; expected {SCHEME}user@host.")
    with connected(address.removeprefix(SCHEME), ssh_config) as connection:
        return ecs.verify(image, connection=connection, **options)


@contextmanager
def connected(server: str, ssh_config: str) -> Iterator[Connection]:
    """Yield a connection to a server, closed at the end."""
    from custom_image import ecs

    if not server:
        raise UsageError("which server? Name it: --server user@host")
    with ecs.Connection.open(server, config_file=ssh_config) as connection:
        yield connection


def _absolute(path: str) -> str:
    """Return a path as the user typed it, before the project is entered."""
    return str(Path(path).resolve()) if path else ""
