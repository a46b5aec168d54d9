"""A build server: the connection to it, what it is and has, and its engine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Final, Self

from custom_image.ecs.ssh.connection import Connection, open_connection
from custom_image.ecs.transfer.send import STORE
from custom_image.engines.docker.engine import DockerEngine
from custom_image.errors import Unavailable
from custom_image.specification import GB

_PROBE_S: Final = 60.0
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
# From this one on the client needs the plugin buildx to build with BuildKit; see its release notes:
# https://docs.docker.com/engine/release-notes/23.0/
_NEEDS_BUILDX: Final = 23
# The first client that carries BuildKit itself.
_HAS_BUILDKIT: Final = (18, 9)


@dataclass(frozen=True)
class Server:
    """A build server, as it answered.

    Attributes:
        address: as ssh takes it.
        architecture: as Docker says it: ``amd64``, ``arm64``.
        buildkit: whether its ``docker build`` can use BuildKit; else it has the classic builder.
        socket: of its engine.
        store_free_bytes: on the disk that holds contexts.
        docker_free_bytes: on the disk that holds images; the same one where ``same_disk``.
    """

    address: str
    engine: str
    architecture: str
    client: str
    buildkit: bool
    socket: str
    docker_root: str
    store_free_bytes: int
    docker_free_bytes: int
    same_disk: bool

    def has_buildkit_for(self, builder: str) -> bool:
        """Return whether to build with BuildKit.

        Raises:
            Unavailable: ``builder`` asks for it, and the server has none.
        """
        if builder == "buildkit" and not self.buildkit:
            raise Unavailable(
                f"the docker command of {self.address} ({self.client}) has no BuildKit.\n"
                "Install its plugin buildx there, or build with the classic builder."
            )
        return self.buildkit and builder != "classic"

    def check_wheels(self, names: Iterable[str], folder: Path) -> None:
        """Refuse wheels of another architecture.

        Raises:
            Unavailable: one of them is; ``folder`` holds them.
        """
        for machine, architecture in _MACHINES.items():
            if architecture != self.architecture and any(f"_{machine}." in n for n in names):
                raise Unavailable(
                    f"{self.address} is {self.architecture}, and the Python packages of "
                    f"{folder} are for {architecture}; nothing was sent.\n"
                    f"Choose a server of {architecture}: what the model is deployed on decides."
                )

    def __str__(self) -> str:
        builder = "BuildKit" if self.buildkit else "the classic builder"
        return (
            f"{self.address}: Docker {self.engine}, {self.architecture}, {builder}, "
            f"{self.docker_free_bytes / GB:.1f} GB free at {self.docker_root}"
        )

    def _repr_html_(self) -> str:
        return f"<p>{escape(str(self))}</p>"


@dataclass(frozen=True)
class BuildServer:
    """A server with a Docker engine that SSH leads to; leaving its ``with`` block disconnects."""

    connection: Connection

    @property
    def address(self) -> str:
        """Its address, as ssh takes it."""
        return self.connection.address

    @cached_property
    def facts(self) -> Server:
        """What it is and has; it is asked once, see :meth:`refresh`.

        Raises:
            Unavailable: it has no engine that this user may use, or lacks a program.
        """
        return _probe(self.connection)

    def refresh(self) -> Server:
        """Ask it anew: what is free on its disks changes."""
        self.__dict__.pop("facts", None)
        return self.facts

    @cached_property
    def engine(self) -> DockerEngine:
        """Its Docker engine: what is started and inspected by it is so there.

        Containers publish their ports on the server's loopback, and the connection leads there: no
        port of the server is opened.

        Raises:
            Unavailable: the server forwards no sockets, or its engine does not answer.
        """
        socket = self.connection.forward_socket(self.facts.socket)
        return DockerEngine.connect(tunnel=f"unix://{socket}", lead=self.connection.forward_port)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # Where the connection broke off nothing leads to the engine: who uses it next tidies up.
        if "engine" in self.__dict__ and self.connection.is_open():
            self.engine.close()
        self.connection.close()

    def __str__(self) -> str:
        return str(self.facts)

    def _repr_html_(self) -> str:
        return f"<p>{escape(str(self))}</p>"


def open_server(address: str = "") -> BuildServer:
    """Connect to a build server; the connection lasts as long as this Python.

    Args:
        address: ``user@host``, or a name of the ssh configuration; empty for the one that the
            variable ``ECS_SERVER`` names, with ``ECS_SSH_CONFIG`` in place of ``~/.ssh/config``.

    Raises:
        UsageError: neither names a server.
        Unavailable: it does not answer, is not who it was, refuses the key, or has no engine.
    """
    server = BuildServer(open_connection(address))
    server.refresh()  # asked here, so that a server that cannot build is refused at once
    return server


def _probe(connection: Connection) -> Server:
    done = connection.script("inspect.sh", STORE, timeout_s=_PROBE_S)
    if done.code:
        raise Unavailable(f"{connection.address} cannot be used: {done.error.strip()}")
    said = dict(line.partition("=")[::2] for line in done.output.splitlines())
    prepare = f"Prepare it: custom-image doctor --server {connection.address}"
    lacking = [*said["lacking"].split(), *([] if said["client"] else ["docker"])]
    if lacking:
        raise Unavailable(f"{connection.address} lacks: {' '.join(lacking)}.\n{prepare}")
    if not said["answer"]:
        raise Unavailable(
            f"{connection.address} has no Docker engine that answers: {said['refusal']}\n{prepare}"
        )
    if not said["socket"].startswith("unix://"):
        raise Unavailable(
            f"the engine of {connection.address} is at {said['socket']!r}; "
            "expected a unix socket.\n"
            "Unset DOCKER_HOST there."
        )
    return Server(
        address=connection.address,
        engine=said["answer"].partition("|")[0],
        architecture=said["architecture"],
        client=said["client"],
        buildkit=_has_buildkit(said["client"], said["buildx"]),
        socket=said["socket"].removeprefix("unix://"),
        docker_root=said["images"],
        store_free_bytes=int(said["store_free"]),
        docker_free_bytes=int(said["free_bytes"]),
        same_disk=said["same_disk"] == "yes",
    )


def _has_buildkit(client: str, buildx: str) -> bool:
    numbers = tuple(int(part) for part in client.split(".")[:2] if part.isdigit())
    if not numbers or numbers < _HAS_BUILDKIT:
        return False
    return numbers[0] < _NEEDS_BUILDX or bool(buildx)
