"""A Docker engine on paper: containers that start, die and end in no time, as a test wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from custom_image.engines.serving_host import ServeOptions, ServingState
from custom_image.errors import ServiceNotReady, Unavailable


class FakeDockerHost:
    """What :class:`local_modelarts.runtime.instances.ServingInstances` asks of an engine.

    Attributes:
        containers: name to labels, and whether it runs.
        broken: images that cannot be pulled; heavy: images whose containers cannot be started.
        is_stubborn: a container goes on after SIGTERM, until it is killed.
        bare: containers that were started though a folder that they mount is not there.
    """

    def __init__(self) -> None:
        self.containers: dict[str, tuple[Mapping[str, str], bool]] = {}
        self.broken: set[str] = set()
        self.heavy: set[str] = set()
        self.is_stubborn = False
        self.bare: list[str] = []

    def pull(self, image: str, user: str, password: str) -> None:
        if image in self.broken:
            raise Unavailable(f"{image} cannot be pulled")

    def serve(
        self, name: str, options: ServeOptions, *, labels: Mapping[str, str], network: str
    ) -> None:
        if options.image in self.heavy:
            raise ServiceNotReady(f"{options.image} could not be started", "")
        if not all(Path(mount.source).is_dir() for mount in options.mounts):
            self.bare.append(name)
        self.containers[name] = (labels, True)

    def serving(self, label: str) -> dict[str, ServingState]:
        return {name: self._state(name) for name in self.containers}

    def serving_state(self, name: str) -> ServingState | None:
        return self._state(name) if name in self.containers else None

    def _state(self, name: str) -> ServingState:
        labels, is_running = self.containers[name]
        return ServingState(is_running, "10.0.0.1" if is_running else "", labels)

    def exit_code(self, name: str) -> int:
        return 0 if name in self.containers else -1

    def send_signal(self, name: str, signal: str) -> None:
        if signal == "SIGKILL" or not self.is_stubborn:
            self.end(name)

    def end(self, name: str) -> None:
        """End a container; it is still there, as one that has exited."""
        if name in self.containers:
            self.containers[name] = (self.containers[name][0], False)

    def run_inside(self, name: str, command: object, timeout_s: float) -> int:
        return 0

    def log(self, name: str) -> str:
        return f"log of {name}\n" if name in self.containers else ""

    def remove(self, name: str) -> None:
        self.containers.pop(name, None)

    @property
    def running(self) -> list[str]:
        return [name for name, (_, is_running) in self.containers.items() if is_running]


class PaperJobs:
    """Jobs that are done when a test says so, in the order in which they were given."""

    def __init__(self) -> None:
        self.is_stopping = False
        self._jobs: dict[str, Callable[[str], None]] = {}

    def submit(self, job: Callable[[str], None], resource_id: str) -> None:
        self._jobs.setdefault(resource_id, job)

    def run(self) -> None:
        jobs, self._jobs = self._jobs, {}
        for resource_id, job in jobs.items():
            job(resource_id)

    def forget(self) -> None:
        """Lose them, as a platform that is killed does."""
        self._jobs.clear()


class PaperRegistry:
    """The address of a registry that holds nothing."""

    host = "127.0.0.1:5000"

    def manifest(self, repository: str, tag: str) -> None:
        """Have none."""


class PaperLogins:
    """A login that is good for nothing."""

    def temporary(self, project: str, lifetime_s: int) -> Any:
        return type("Login", (), {"user": "", "password": ""})()
