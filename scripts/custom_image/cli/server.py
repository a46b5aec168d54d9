"""The option ``--server`` of commands: to build, verify and push on a build server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from custom_image.cli.options import show
from custom_image.errors import UsageError

if TYPE_CHECKING:
    from custom_image.cloud import PublishedImage
    from custom_image.ecs import BuildServer
    from custom_image.report import Report

Server = Annotated[
    str,
    typer.Option(metavar="USER@HOST", help="On a build server, as ssh names it; here if empty."),
]
SshConfig = Annotated[
    str,
    typer.Option(
        metavar="FILE",
        help="Instead of ~/.ssh/config, which says port, key and jump host of a server.",
    ),
]
Builder = Annotated[
    str,
    typer.Option(help="buildkit, classic, or auto: BuildKit where the server has it."),
]


def push(image: str, name: str, server: str, ssh_config: str) -> None:
    """Push an image from the server that holds it; it does not pass this machine."""
    from custom_image import ecs
    from custom_image.cloud import open_cloud
    from custom_image.cloud.images import log_in
    from custom_image.image_reference import DEFAULT_REGISTRY, ImageReference

    if not name:
        raise UsageError("to where? Name it: --to ORG/NAME:TAG")
    with connected(server, ssh_config) as there:
        target, login, reference = ImageReference.parse(name), None, name
        if target.registry == DEFAULT_REGISTRY:
            cloud = open_cloud("cloud")
            login = log_in(cloud)
            cloud.create_organization(target.namespace)
            reference = f"{login.registry}/{target.repository}:{target.tag}"
        keep_push(ecs.push(image, reference, on=there, login=login))


def keep_push(pushed: PublishedImage) -> None:
    """Print what was pushed, and keep its receipt."""
    from custom_image.cloud import receipts

    receipts.keep(pushed)
    show(pushed)


def verify(image: str, server: str, ssh_config: str, **options: Any) -> Report:
    """Judge an image on the engine of a server.

    Raises:
        Unavailable: the server, or its engine, does not answer.
    """
    from custom_image import ecs

    with connected(server, ssh_config) as there:
        return ecs.verify(image, on=there, **options)


@contextmanager
def connected(server: str, ssh_config: str) -> Iterator[BuildServer]:
    """Yield a server, disconnected at the end."""
    from custom_image import ecs

    if not server:
        raise UsageError("which server? Name it: --server user@host")
    with ecs.BuildServer(ecs.Connection.open(server, config_file=ssh_config)) as there:
        yield there
