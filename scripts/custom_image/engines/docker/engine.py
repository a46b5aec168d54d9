"""A Docker engine on this machine, or on one that a tunnel leads to, through its own SDK.

Only the modules of this folder import the SDK, and nothing connects before it is used: importing
this works on a machine without an engine.
"""

from __future__ import annotations

import atexit
import re
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final

import docker.errors
import requests.exceptions

from custom_image.engines import StartOptions
from custom_image.engines.docker.connection import connect
from custom_image.engines.docker.container import DockerContainer, remove_container
from custom_image.engines.docker.images import RUN_LABEL, DockerImages
from custom_image.engines.docker.offline import OfflineContainer, require_namespaces
from custom_image.engines.docker.owners import OWNER_LABEL, is_gone
from custom_image.engines.docker.settings import container_settings
from custom_image.errors import ServiceNotReady, Unavailable

if TYPE_CHECKING:
    from docker import DockerClient

NO_PROC: Final = Path("/nonexistent")
_NO_SOURCE: Final = "bind source path does not exist"
_NO_DEVICE: Final = re.compile(
    r"could not select device driver|gathering device information|unresolvable CDI|nvidia"
)
_RUN_S: Final = 60


class DockerEngine(DockerImages):
    """A Docker engine on this machine.

    Every container it starts carries the label ``custom-image.run=<run_id>``, answers on a free
    port of 127.0.0.1 only, and is gone when its ``with`` block or this Python ends. Where this
    Python is killed, the next one to use the engine removes it, by the owner that its label names.
    """

    name = "docker"

    def __init__(
        self, run_id: str = "", *, tunnel: str = "", lead: Callable[[int], int] | None = None
    ) -> None:
        """Prepare an engine; nothing connects yet.

        Args:
            run_id: what its containers are labelled with.
            tunnel: a socket of this machine that leads to an engine of another, ``unix:///...``.
            lead: returns the port of this machine that leads to one of the other's loopback.
        """
        self.run_id = run_id or uuid.uuid4().hex[:12]
        self._tunnel = tunnel
        self._lead = lead
        self._connected: DockerClient | None = None

    @classmethod
    def connect(
        cls, run_id: str = "", *, tunnel: str = "", lead: Callable[[int], int] | None = None
    ) -> DockerEngine:
        """Return an engine that has answered; arguments as of the class itself.

        Raises:
            Unavailable: none answers, it may not be used, or ``DOCKER_HOST`` is another machine.
        """
        engine = cls(run_id, tunnel=tunnel, lead=lead)
        _ = engine._client
        return engine

    def start(self, target: str, options: StartOptions | None = None) -> DockerContainer:
        """Start an image and return the container, which need not be ready yet.

        Raises:
            UsageError: the engine has no such image.
            ServiceNotReady: the engine could not start its first process.
            Unavailable: this engine cannot honour one of the options.
        """
        options = options or StartOptions()
        if options.is_offline:
            require_namespaces("" if self._lead is None else "another machine")
        try:
            container = self._create(target, **container_settings(options, self._machine_bytes))
        except docker.errors.APIError as error:
            if _NO_SOURCE not in str(error.explanation):
                raise
            raise Unavailable(
                "the machine of the Docker engine lacks a file that is to be mounted; "
                "mounts name files of that machine"
            ) from error
        try:
            container.start()
            if options.is_offline:
                return OfflineContainer(container, options.port)
            if self._lead:  # another machine: no /proc here shows its processes
                return DockerContainer(container, options.port, NO_PROC, self._lead)
            return DockerContainer(container, options.port)
        except docker.errors.APIError as error:
            remove_container(container)
            if (options.gpus or options.devices) and _NO_DEVICE.search(str(error.explanation)):
                raise Unavailable(
                    f"the engine's machine lacks a device that was named: {error.explanation}"
                ) from error
            raise ServiceNotReady(
                f"image {target!r} could not be started: {error.explanation}", ""
            ) from error
        except BaseException:  # an interrupt too must leave nothing behind
            remove_container(container)
            raise

    def run(self, reference: str, command: Sequence[str], *, user: str = "") -> str:
        """Run a command in an image, without a network; return what it wrote to its output.

        Raises:
            UsageError: the engine has no such image.
            ServiceNotReady: the command could not be started, failed, or took longer than a minute.
        """
        container = self._create(
            reference,
            entrypoint=command[0],
            command=list(command[1:]),
            user=user,
            network_mode="none",
            working_dir="/",
        )
        try:
            container.start()
            code = container.wait(timeout=_RUN_S)["StatusCode"]
            output, error = (
                container.logs(stdout=of, stderr=not of).decode(errors="replace").strip()
                for of in (True, False)
            )
        except docker.errors.APIError as failure:
            raise ServiceNotReady(str(failure.explanation), "") from failure
        except requests.exceptions.RequestException as failure:
            raise ServiceNotReady(f"no end within {_RUN_S} s", "") from failure
        finally:
            remove_container(container)
        if code:
            raise ServiceNotReady(f"{command[0]} ended with {code}: {error or output}", error)
        return output

    def remove_run(self, run_id: str = "") -> int:
        """Remove every container of a run, this one by default, and return how many there were."""
        return self._remove(f"{RUN_LABEL}={run_id or self.run_id}")

    def remove_every_run(self) -> int:
        """Remove the containers of all runs, also of ones that are still going on."""
        return self._remove(RUN_LABEL)

    def _remove(self, label: str) -> int:
        containers = self._client.containers.list(all=True, filters={"label": label})
        for container in containers:
            remove_container(container)
        return len(containers)

    def close(self) -> None:
        """Remove what it started and disconnect; also done when this Python ends."""
        if self._connected is None:
            return
        atexit.unregister(self.close)
        # An engine that is gone by now has nothing left to remove.
        with suppress(docker.errors.DockerException, requests.exceptions.RequestException):
            self.remove_run()
        self._connected.close()
        self._connected = None

    @cached_property
    def _machine_bytes(self) -> int:
        return int(self._client.info()["MemTotal"])

    @staticmethod
    def _remove_abandoned(client: DockerClient) -> None:
        """Remove the containers of runs that were killed before they could do so themselves."""
        # Not the SDK's list of objects: it asks for each, and fails for one that is just removed.
        with suppress(docker.errors.APIError):  # whatever was left is no reason not to start
            for found in client.api.containers(all=True, filters={"label": OWNER_LABEL}):
                if is_gone((found.get("Labels") or {}).get(OWNER_LABEL, "")):
                    client.api.remove_container(found["Id"], force=True, v=True)

    @property
    def _client(self) -> DockerClient:
        if self._connected is None:
            self._connected = connect(self._tunnel)
            atexit.register(self.close)
            self._remove_abandoned(self._connected)
        return self._connected
