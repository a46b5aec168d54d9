"""A build server: one SSH connection, what the server answered about itself, and its engine."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from html import escape

from custom_image.ecs.server.server import Server, engine_of, probe
from custom_image.ecs.ssh.connection import Connection, open_connection
from custom_image.engines.docker.engine import DockerEngine


@dataclass(frozen=True)
class BuildServer:
    """A server with a Docker engine that SSH leads to; it is asked about itself once."""

    connection: Connection

    @cached_property
    def facts(self) -> Server:
        """What it is and has."""
        return probe(self.connection)

    @cached_property
    def engine(self) -> DockerEngine:
        """Its Docker engine, used from here; see :func:`~custom_image.ecs.engine_of`."""
        return engine_of(self.connection, self.facts)

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
    assert server.facts  # asked here, so that a server that cannot build is refused at once
    return server
