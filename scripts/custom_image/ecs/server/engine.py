"""The engine of a build server, used from here through the connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from custom_image.engines.docker.engine import DockerEngine

if TYPE_CHECKING:
    from custom_image.ecs.server.server import Server
    from custom_image.ecs.ssh.connection import Connection


def engine_of(connection: Connection, server: Server) -> DockerEngine:
    """Return an engine that starts and inspects there what would else be started here.

    Containers publish their ports on the server's loopback, and the connection leads there: no
    port of the server is opened. It lasts as long as the connection.

    Raises:
        Unavailable: the server forwards no sockets, or its engine does not answer.
    """
    socket = connection.forward_socket(server.socket)
    return DockerEngine.connect(tunnel=f"unix://{socket}", lead=connection.forward_port)
