"""A platform that is killed at its every change of state, while a v2 service lives its whole life.

On paper, as in ``test_reconciler.py``: the state is a true file, and a kill leaves it as SIGKILL
would. Of notebooks and batch services ``tests/platform/test_crashes.py`` tries it with true
containers and a true SIGKILL.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_docker_host import FakeDockerHost, PaperJobs, PaperLogins, PaperRegistry

from local_modelarts.http.api_keys import ApiKeys
from local_modelarts.http.messages import Call
from local_modelarts.platform import Platform
from local_modelarts.runtime import instance_lifecycle, reconciler
from local_modelarts.runtime.reconciler import ServiceLoop
from local_modelarts.runtime.routing import Routing
from local_modelarts.services import backend
from local_modelarts.services.backend import Services
from local_modelarts.services.requests_v2 import read_service, read_update
from local_modelarts.services.routes_deployments import deployment_calls
from local_modelarts.settings import Settings
from local_modelarts.storage.paths import Folder, Identity
from local_modelarts.storage.resources import Event, Instance, PodEvent, Service
from local_modelarts.storage.store import State

BROKEN = f"{PaperRegistry.host}/team/broken:1.0"
FORGET = "/v2/{project_id}/services/{service_id}/deployments/{deployment_id}/versions/{version}"


class Killed(BaseException):
    """The process ended here."""


class Mortal:
    """A platform that dies at one change of its state, and is started again by whoever sees it.

    Attributes:
        changes: how many there were.
        dies_at: the number of the one that it dies at; 0 for none.
    """

    def __init__(self, folder: Path, moment: str, dies_at: int = 0) -> None:
        self.now_ms = 1_000_000
        self.folder, self.moment, self.dies_at = Folder(folder), moment, dies_at
        (self.folder.obs / "bucket/weights").mkdir(parents=True)
        self.changes = 0
        self.host = FakeDockerHost()
        self.host.broken = {BROKEN}
        self.state: State | None = None
        self.begin()

    def begin(self) -> None:
        if self.state:
            self.state.close()
        self.state = State(self.folder.database, die=self.moment, kill=self._kill)
        self.jobs = PaperJobs()
        parts: list[Any] = [self.host, PaperRegistry(), PaperLogins(), self.jobs]
        self.platform = Platform(
            self.folder,
            Identity("paper", "project", "ACCESS", "SECRET", 1, 2),
            Settings(),
            self.state,
            *parts,
            "127.0.0.1",
        )
        self.services = Services(self.platform, lambda: None)
        self.keys = ApiKeys(self.platform)
        self.routing = Routing()
        self.loop = ServiceLoop(self.platform, self.routing)

    def _kill(self) -> None:
        self.changes += 1
        if self.changes == self.dies_at:
            raise Killed

    @property
    def service(self) -> Service | None:
        return next(iter(self.services.find(2)), None)

    def go_on(self) -> None:
        self.now_ms += 10_000
        self.loop.look()
        self.jobs.run()

    def until(self, act: Callable[[], None], is_done: Callable[[], bool]) -> None:
        """Act, and let the platform work, until it is done; start it again where it dies."""
        for _ in range(200):
            try:
                if is_done():
                    return
                act()
                self.go_on()
            except Killed:
                self.begin()
        raise AssertionError(f"it comes no further: {self.service}")


def body(image: str, count: int) -> dict[str, Any]:
    path = f"{PaperRegistry.host}/team/{image}:1.0"
    weights = {"source": "OBS", "address": "obs://bucket/weights/", "mount_path": "/model/"}
    unit = {"image": {"source": "SWR", "swr_path": path}, "files": [weights]}
    return {"name": "mnist", "group_configs": [{"count": count, "unit_configs": [unit]}]}


def live(mortal: Mortal) -> None:
    """A service is made, opened by a key, updated, rolled back, stopped, started, and deleted."""

    def create() -> None:
        if mortal.service is None:
            mortal.services.create(read_service(mortal.platform, body("good", 1)))

    def update(image: str, count: int) -> Callable[[], None]:
        def act() -> None:
            service = mortal.service
            if service and service.status == "RUNNING" and len(service.versions) < 2:
                fields = read_update(mortal.platform, service, body(image, count))
                mortal.services.update(service.id, fields)

        return act

    def call(verb: str, status: str) -> Callable[[], None]:
        def act() -> None:
            if mortal.service and mortal.service.status == status:
                getattr(mortal.services, verb)(mortal.service.id)

        return act

    def is_up(count: int) -> bool:
        service = mortal.service
        route = mortal.routing.find(service.id) if service else None
        targets = [target for _, group in route.groups for target in group] if route else []
        return bool(service and service.status == "RUNNING" and len(targets) == count)

    def open_by_key() -> None:
        assert mortal.service
        found = mortal.keys.find({"name": "caller"})
        key = found[0] if found else mortal.keys.create({"name": "caller", "scope": "SERVICE"})[0]
        mortal.keys.bind(mortal.service.id, key.id)

    def is_open() -> bool:
        found = mortal.keys.find({"name": "caller"})
        return bool(mortal.service and found and mortal.service.id in found[0].services)

    def forget_version() -> None:
        service = mortal.service
        if service and service.status == "RUNNING" and len(service.versions) == 2:
            calls = deployment_calls(mortal.platform, mortal.services)
            forget = next(do for verb, path, do in calls if (verb, path) == ("DELETE", FORGET))
            (old,) = set(service.versions) - {service.version}
            path = {"service_id": service.id, "deployment_id": f"{service.id}-0", "version": old}
            forget(Call(path, {}, {}, {}))

    def events() -> list[str]:
        return [e.event_info for e in mortal.services.events_of(mortal.service.id)]  # type: ignore[union-attr]

    mortal.until(create, lambda: is_up(1))
    mortal.until(open_by_key, is_open)
    mortal.until(update("good", 2), lambda: is_up(2))
    mortal.until(forget_version, lambda: len(mortal.service.versions) == 1)  # type: ignore[union-attr]
    assert mortal.service
    before = mortal.service
    mortal.until(
        update("broken", 2), lambda: is_up(2) and any("Perform a rollback" in e for e in events())
    )
    assert (mortal.service.config, mortal.service.version) == (before.config, before.version)
    assert mortal.service.versions == before.versions
    mortal.until(call("stop", "RUNNING"), lambda: mortal.service.status == "STOPPED")  # type: ignore[union-attr]
    mortal.until(call("start", "STOPPED"), lambda: is_up(2))
    service_id = mortal.service.id
    mortal.until(
        lambda: mortal.services.delete(service_id) if mortal.service else None,
        lambda: mortal.service is None and not mortal.host.containers,
    )
    mortal.until(
        lambda: [mortal.keys.delete(key.id) for key in mortal.keys.find({})],
        lambda: not mortal.keys.find({}),
    )
    mortal.until(lambda: None, lambda: not any(map(mortal.state.find, (Service, Instance))))  # type: ignore[union-attr]
    assert not any(map(mortal.state.find, (Event, PodEvent)))  # type: ignore[union-attr]


@pytest.mark.parametrize("part", range(3))
@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_platform_killed_at_any_change_of_a_v2_service_comes_to_the_same_end(
    moment: str, part: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mortal = whole = Mortal(tmp_path / "whole", moment)
    for module in (backend, reconciler, instance_lifecycle):
        monkeypatch.setattr(module, "now_ms", lambda: mortal.now_ms)
    live(whole)
    assert whole.changes > 30

    for number in range(1 + part, whole.changes + 1, 3):
        mortal = Mortal(tmp_path / str(number), moment, dies_at=number)
        live(mortal)
        assert mortal.changes >= number, "it did not die"
        mortal.state.close()  # type: ignore[union-attr]
