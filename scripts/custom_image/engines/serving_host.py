"""The part of a Docker engine that a platform needs to run the instances of services.

Unlike a notebook instance, an instance of a service is given an environment, a command and limits,
is signalled and probed, and its log outlives it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import docker.errors
import requests
from docker.types import Mount

from custom_image.engines.docker.container import start_container
from custom_image.engines.docker.exec import run_within
from custom_image.engines.docker.host import DockerHost, MountPoint
from custom_image.errors import Unavailable

_RUNNING: Final = ("running", "paused")  # one that stands still has not ended


@dataclass(frozen=True)
class ServeOptions:
    """How a container is started.

    Attributes:
        command: words; empty for the image's own.
        user: ``uid:gid``; empty for the image's own.
        memory_bytes, cpus: limits; 0 for none.
    """

    image: str
    command: Sequence[str] = ()
    environment: Mapping[str, str] | None = None
    user: str = ""
    mounts: Sequence[MountPoint] = ()
    memory_bytes: int = 0
    cpus: float = 0


@dataclass(frozen=True)
class ServingState:
    """A container as the engine lists it.

    Attributes:
        address: its IPv4 address; empty where it does not run.
    """

    is_running: bool
    address: str
    labels: Mapping[str, str]


class ServingHost(DockerHost):
    """A Docker engine as the host of services. Safe to share between threads."""

    def serve(
        self, name: str, options: ServeOptions, *, labels: Mapping[str, str], network: str
    ) -> None:
        """Start a container by this name, unless it runs already; one that has ended is replaced.

        Raises:
            UsageError: the engine has no such image.
            ServiceNotReady: its first process could not be started.
        """
        with suppress(docker.errors.NotFound):
            found = self._client.containers.get(name)
            if found.status in _RUNNING:
                return
            self.remove(name)
        limits: dict[str, Any] = {}
        if options.memory_bytes:
            limits["mem_limit"] = options.memory_bytes
        if options.cpus:
            limits["nano_cpus"] = int(options.cpus * 10**9)
        start_container(
            self._client,
            options.image,
            command=list(options.command) or None,
            name=name,
            labels=dict(labels),
            network=network,
            environment=dict(options.environment or {}),
            user=options.user or None,
            mounts=[
                Mount(mount.target, mount.source, "bind", read_only=mount.read_only)
                for mount in options.mounts
            ],
            **limits,
        )

    def serving(self, label: str) -> dict[str, ServingState]:
        """Return all containers with a label (``name`` or ``name=value``) by name, in one call."""
        found = {}
        for entry in self._client.api.containers(all=True, filters={"label": label}):
            networks = (entry.get("NetworkSettings") or {}).get("Networks") or {}
            addresses = (network.get("IPAddress") for network in networks.values())
            name = str(entry["Names"][0]).removeprefix("/") if entry.get("Names") else ""
            found[name] = ServingState(
                is_running=entry.get("State") in _RUNNING,
                address=next((address for address in addresses if address), ""),
                labels=entry.get("Labels") or {},
            )
        return found

    def serving_state(self, name: str) -> ServingState | None:
        """Return one container, or None."""
        with suppress(docker.errors.NotFound):
            attributes = self._client.api.inspect_container(name)
            networks = attributes["NetworkSettings"]["Networks"].values()
            return ServingState(
                is_running=bool(attributes["State"]["Running"]),
                address=next((n["IPAddress"] for n in networks if n.get("IPAddress")), ""),
                labels=attributes["Config"].get("Labels") or {},
            )
        return None

    def exit_code(self, name: str) -> int:
        """Return how the first process of a container has ended; -1 where that is not known."""
        with suppress(docker.errors.NotFound):
            state = self._client.api.inspect_container(name)["State"]
            return -1 if state["Running"] else int(state["ExitCode"])
        return -1

    def send_signal(self, name: str, signal: str) -> None:
        """Send a signal to the first process of a container. One that has ended is left alone."""
        try:
            self._client.api.kill(name, signal)
        except docker.errors.NotFound:
            return
        except docker.errors.APIError:
            state = self.serving_state(name)
            if state is not None and state.is_running:
                raise

    def log(self, name: str) -> str:
        """Return what a container wrote to standard output and error; empty where it is gone."""
        try:
            log = self._client.api.logs(name, stdout=True, stderr=True)
        except docker.errors.NotFound:
            return ""
        return bytes(log).decode(errors="replace")

    def run_inside(self, name: str, command: Sequence[str], timeout_s: float) -> int:
        """Run a command in a container; return its exit code, 126 where it could not be run.

        Raises:
            TimeoutError: it had not ended in time.
            Unavailable: the engine does not answer.
        """
        try:
            return run_within(self._client.containers.get(name), command, timeout_s)
        except docker.errors.APIError:
            return 126
        except requests.RequestException as error:
            raise Unavailable(f"the Docker engine does not answer: {error}") from error
