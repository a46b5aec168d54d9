"""The image that ``FROM`` names: a build server has it, pulls it, or is sent it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from custom_image.builders.base import choose_base_image, ensure_base_image
from custom_image.builders.base_libraries import missing_packages
from custom_image.builders.base_python import find_python
from custom_image.errors import Unavailable
from custom_image.progress import progress_bar, say
from custom_image.target_python import DEFAULT, TargetPython

if TYPE_CHECKING:
    from custom_image.ecs.server.server import BuildServer
    from custom_image.ecs.ssh.connection import Connection

_PULL_S: Final = 20
"""How long the server may stay without an answer of a registry: most have no way out."""


def find_base(
    reference: str = "", *, batch: bool = False, python: str = "", on: BuildServer
) -> tuple[str, TargetPython]:
    """Return the name of a base image that a server holds, and its Python, which it is asked.

    Raises:
        As :func:`provide_base_image`.
        UsageError: it has no Python that wheels can be had for, or not the one of ``python``.
    """
    base = provide_base_image(reference, batch=batch, python=python, on=on)
    return base, find_python(base, python, engine=on.engine)


def add_libraries(
    base: str,
    needed: Mapping[str, str],
    *,
    batch: bool = False,
    python: TargetPython,
    on: BuildServer,
) -> str:
    """Return a base image on the server that has the shared objects which packages need.

    One that has them is made here and sent.

    Raises:
        UsageError: the base was named by somebody, and lacks one; with its Debian package.
        Unavailable: none can be made here.
    """
    packages = missing_packages(base, needed, python=python, engine=on.engine)
    return _bring(on, "", batch, python.minor, packages) if packages else base


def provide_base_image(
    reference: str = "", *, batch: bool = False, python: str = "", on: BuildServer
) -> str:
    """Return the name of a base image that a server holds.

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
        has=partial(_has, on.connection),
        pull=partial(_pull, on.connection),
        provide=lambda wanted: _bring(on, wanted, batch, python),
    )


def provide_image(reference: str, *, on: BuildServer) -> None:
    """Make sure that a server has an image: it is there, is pulled there, or is sent from here.

    Raises:
        Unavailable: it is nowhere.
    """
    from custom_image.engines.docker.engine import DockerEngine

    if _has(on.connection, reference) or _pull(on.connection, reference):
        return
    try:
        engine = DockerEngine.connect()
        is_here = engine.has_image(reference)
        architecture = engine.inspect(reference).architecture if is_here else ""
    except Unavailable:
        is_here = False
    wanted = on.facts.architecture
    if not is_here or architecture != wanted:
        raise Unavailable(
            f"{on.address} has no image {reference} and cannot pull it, and no engine here has "
            f"it for {wanted}.\n"
            f"Fetch it where there is a network (`docker pull {reference}`), then build again."
        )
    _send(on.connection, reference)


def _has(connection: Connection, reference: str) -> bool:
    return not connection.run(f"docker image inspect {shlex.quote(reference)} >/dev/null 2>&1").code


def _pull(connection: Connection, reference: str) -> bool:
    say(f"{connection.address} pulls {reference}")
    done = connection.script("pull.sh", reference, _PULL_S, timeout_s=None)
    if done.code:
        say((done.output.strip().splitlines() or ["it gave no reason"])[-1])
    return not done.code


def _bring(
    on: BuildServer, wanted: str, batch: bool, python: str, packages: tuple[str, ...] = ()
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
            f"{on.address} has no base image {wanted or 'for batch'} and cannot pull one, and "
            f"none can be made here:\n{error}"
        ) from error
    if architecture != on.facts.architecture:
        raise Unavailable(
            f"{on.address} is {on.facts.architecture}, and the base image {reference} here is "
            f"{architecture}.\nName one that the server has or can pull: --base-image"
        )
    if not _has(on.connection, reference):
        _send(on.connection, reference)
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
