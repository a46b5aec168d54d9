"""Seeing to it that a build server has the image that ``FROM`` names."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Final

from custom_image.builders.base import (
    choose_base_image,
    ensure_base_image,
)
from custom_image.builders.base_libraries import missing_packages
from custom_image.builders.base_python import find_python
from custom_image.ecs.server.server import Server, engine_of, probe
from custom_image.errors import Unavailable
from custom_image.progress import progress_bar, say
from custom_image.target_python import DEFAULT, TargetPython

if TYPE_CHECKING:
    from custom_image.ecs.ssh.connection import Connection

_PULL_S: Final = 20
"""How long the server may stay without an answer of a registry: most have no way out."""


def find_base(
    connection: Connection, reference: str = "", *, batch: bool = False, python: str = ""
) -> tuple[str, TargetPython]:
    """Return the name of a base image that the server holds, and its Python, which it is asked.

    Raises:
        As :func:`provide_base_image`.
        UsageError: it has no Python that wheels can be had for, or not the one of ``python``.
    """
    server = probe(connection)
    base = provide_base_image(connection, server, reference, batch=batch, python=python)
    with closing(engine_of(connection, server)) as engine:
        return base, find_python(base, python, engine=engine)


def add_libraries(
    connection: Connection,
    base: str,
    needed: Mapping[str, str],
    *,
    batch: bool = False,
    python: TargetPython,
) -> str:
    """Return a base image on the server that has the shared objects which packages need.

    One that has them is made here and sent.

    Raises:
        UsageError: the base was named by somebody, and lacks one; with its Debian package.
        Unavailable: none can be made here.
    """
    server = probe(connection)
    with closing(engine_of(connection, server)) as engine:
        packages = missing_packages(base, needed, python=python, engine=engine)
    if not packages:
        return base
    return _bring(connection, server, "", batch, python.minor, packages)


def provide_base_image(
    connection: Connection,
    server: Server,
    reference: str = "",
    *,
    batch: bool = False,
    python: str = "",
) -> str:
    """Return the name of a base image that the server holds.

    The one that is named, by the argument or ``BASE_IMAGE``, else a slim Python, where it is there
    or the server can pull it; else the one that this machine has or makes is sent, once.

    Raises:
        Unavailable: it is nowhere.
    """
    python = python or DEFAULT
    return choose_base_image(
        reference,
        batch,
        python,
        has=partial(_has, connection),
        pull=partial(_pull, connection),
        provide=lambda wanted: _bring(connection, server, wanted, batch, python),
    )


def provide_image(connection: Connection, server: Server, reference: str) -> None:
    """See that a server has an image: it is there, is pulled there, or is sent from here.

    Raises:
        Unavailable: it is nowhere.
    """
    from custom_image.engines.docker.engine import DockerEngine

    if _has(connection, reference) or _pull(connection, reference):
        return
    try:
        engine = DockerEngine.connect()
        is_here = engine.has_image(reference)
        architecture = engine.inspect(reference).architecture if is_here else ""
    except Unavailable:
        is_here = False
    if not is_here or architecture != server.architecture:
        raise Unavailable(
            f"{server.address} has no image {reference} and cannot pull it, and no engine here has "
            f"it for {server.architecture}.\n"
            f"Fetch it where there is a network (`docker pull {reference}`), then build again."
        )
    _send(connection, reference)


def _has(connection: Connection, reference: str) -> bool:
    return not connection.run(f"docker image inspect {shlex.quote(reference)} >/dev/null 2>&1").code


def _pull(connection: Connection, reference: str) -> bool:
    say(f"{connection.address} pulls {reference}")
    done = connection.script("pull.sh", reference, _PULL_S, timeout_s=None)
    if done.code:
        say((done.output.strip().splitlines() or ["it gave no reason"])[-1])
    return not done.code


def _bring(
    connection: Connection,
    server: Server,
    wanted: str,
    batch: bool,
    python: str,
    packages: tuple[str, ...] = (),
) -> str:
    """Send a base image that this machine has, can pull or can make, unless it is there."""
    from custom_image.engines.docker.engine import DockerEngine

    try:
        with_engine = DockerEngine.connect()
        reference = ensure_base_image(
            wanted, batch=batch, python=python, packages=packages, engine=with_engine
        )
        architecture = with_engine.inspect(reference).architecture
    except Unavailable as error:
        raise Unavailable(
            f"{server.address} has no base image {wanted or 'for batch'} and cannot pull one, and "
            f"none can be made here:\n{error}"
        ) from error
    if architecture != server.architecture:
        raise Unavailable(
            f"{server.address} is {server.architecture}, and the base image {reference} here is "
            f"{architecture}.\nName one that the server has or can pull: --base-image"
        )
    if not _has(connection, reference):
        _send(connection, reference)
    return reference


def _send(connection: Connection, reference: str) -> None:
    from custom_image.engines.docker.engine import DockerEngine

    engine = DockerEngine.connect()
    size_bytes = engine.inspect(reference).size_bytes
    say(f"sending base image {reference}, {size_bytes / 10**6:.0f} MB")
    with (
        progress_bar(size_bytes, f"sending {reference}", "B") as bar,
        connection.session("docker load --quiet") as session,
    ):
        for chunk in engine.save(reference):
            session.write(chunk)
            bar.update(len(chunk))
        done = session.finish()
    if done.code:
        raise Unavailable(f"{connection.address} cannot load {reference}: {done.error.strip()}")
