"""Which server a notebook builds on: the one it names, else the one of the environment."""

from __future__ import annotations

import os
from typing import Final

from custom_image.ecs.ssh.connection import Connection
from custom_image.errors import UsageError

SERVER_VARIABLE: Final = "ECS_SERVER"
CONFIG_VARIABLE: Final = "ECS_SSH_CONFIG"


def open_server(address: str = "") -> Connection:
    """Connect to a build server; the connection lasts as long as this Python.

    Args:
        address: ``user@host``, or a name of the ssh configuration; empty for the one that the
            variable ``ECS_SERVER`` names, with ``ECS_SSH_CONFIG`` in place of ``~/.ssh/config``.

    Raises:
        UsageError: neither names a server.
        Unavailable: it does not answer, is not who it was, or refuses the key.
    """
    if address:
        return Connection.open(address)
    address = os.environ.get(SERVER_VARIABLE, "").strip()
    if not address:
        raise UsageError(
            "Which server to build on is not known.\n"
            f"Set server to user@host, as ssh takes it, or the variable {SERVER_VARIABLE}; "
            "notebooks/README.md tells how to try it without one."
        )
    return Connection.open(address, config_file=os.environ.get(CONFIG_VARIABLE, ""))
