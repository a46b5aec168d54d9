"""Removing a container, whoever else may be removing it."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import docker.errors

if TYPE_CHECKING:
    from docker.models.containers import Container

_CONFLICT: Final = 409


def remove_container(container: Container) -> None:
    """Kill and remove a container with its unnamed volumes: it is gone when this returns.

    Harmless when repeated, or done by several at once.
    """
    with suppress(docker.errors.NotFound):
        try:
            container.remove(force=True, v=True)
        except docker.errors.APIError as error:
            if error.status_code != _CONFLICT:
                raise
            container.wait(condition="removed")
