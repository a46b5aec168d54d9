"""A container by a fixed name that serves one port of loopback, and outlives this Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import docker.errors
from docker.types import Mount

from custom_image.engines.docker.connection import connect
from custom_image.engines.docker.container import remove_container, start_container
from custom_image.errors import CustomImageError, Unavailable

if TYPE_CHECKING:
    from docker import DockerClient


class DockerService:
    """A long-lived container that another container or this machine asks over one port."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._connected: DockerClient | None = None

    def has_image(self, image: str) -> bool:
        """Tell whether the engine holds an image, after a try to pull it.

        Raises:
            Unavailable: no engine answers.
        """
        try:
            self._client.images.get(image)
        except docker.errors.NotFound:
            try:
                self._client.images.pull(image)
            except docker.errors.APIError:
                return False
        return True

    def start(
        self,
        image: str,
        command: Sequence[str],
        *,
        port: int,
        folders: Mapping[str, bool],
        user: str,
        labels: Mapping[str, str],
    ) -> None:
        """Start it, in place of one that is there.

        Args:
            image: of the engine.
            command: replaces the image's own, entry point included.
            port: of the container, and of 127.0.0.1 here.
            folders: of this machine, mounted at the same path; true for those it may write to.
            user: ``uid:gid``.
            labels: of the container.

        Raises:
            Unavailable: the engine cannot start it.
        """
        self.stop()
        try:
            start_container(
                self._client,
                image,
                name=self.name,
                entrypoint=command[0],
                command=list(command[1:]),
                labels=dict(labels),
                user=user,
                ports={f"{port}/tcp": ("127.0.0.1", port)},
                mounts=[
                    Mount(folder, folder, "bind", read_only=not writable)
                    for folder, writable in folders.items()
                ],
            )
        except CustomImageError as error:
            raise Unavailable(str(error)) from error

    def is_running(self) -> bool:
        """Tell whether it runs."""
        try:
            return bool(self._client.containers.get(self.name).attrs["State"]["Running"])
        except docker.errors.NotFound:
            return False

    def logs(self) -> str:
        """Return what it wrote last; empty where it is not there."""
        with suppress(docker.errors.NotFound):
            found: bytes = self._client.containers.get(self.name).logs(tail=20)
            return found.decode(errors="replace")
        return ""

    def stop(self) -> None:
        """Remove it. Idempotent."""
        with suppress(docker.errors.NotFound):
            remove_container(self._client.containers.get(self.name))

    @property
    def _client(self) -> DockerClient:
        if self._connected is None:
            self._connected = connect()
        return self._connected
