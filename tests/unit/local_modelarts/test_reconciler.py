"""The life of a service, in any order of calls, failures, kills and moments.

The real state, services and loop, on an engine that exists on paper only: what has to hold here
does not depend on containers, and with them there would be time for ten histories, not thousands.
"""

from __future__ import annotations

import itertools
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_docker_host import FakeDockerHost, PaperJobs, PaperLogins, PaperRegistry
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from local_modelarts.errors import ApiError
from local_modelarts.http.messages import Call
from local_modelarts.platform import Platform
from local_modelarts.runtime import instance_lifecycle, reconciler
from local_modelarts.runtime.reconciler import ServiceLoop
from local_modelarts.runtime.routing import Routing
from local_modelarts.runtime.states import CALLS, SERVING, STATES, classic_name, settled
from local_modelarts.services import backend
from local_modelarts.services.backend import Services
from local_modelarts.services.requests_v2 import read_service, read_update
from local_modelarts.services.routes_deployments import deployment_calls
from local_modelarts.settings import Settings
from local_modelarts.storage.paths import Folder, Identity
from local_modelarts.storage.resources import Instance, Service
from local_modelarts.storage.store import State

GOOD, BROKEN, HEAVY = "good", "broken", "heavy"
IMAGES = st.sampled_from([GOOD, GOOD, BROKEN, HEAVY])
VERSION = "/v2/{project_id}/services/{service_id}/deployments/{deployment_id}/versions/{version}"
DOCUMENTED = {
    "INIT",
    "DEPLOYING",
    "RUNNING",
    "UPGRADING",
    "CONCERNING",
    "STOPPING",
    "STOPPED",
    "DELETING",
    "FAILED",
    "ERROR",
    "INTERRUPTING",
}
ROUTED = (*SERVING, "STOPPING")
DOCUMENTED_CLASSIC = {
    "running",
    "deploying",
    "concerning",
    "failed",
    "stopped",
    "finished",
    "stopping",
    "deleting",
    "pending",
    "waiting",
}


def test_every_state_is_one_of_the_platforms_own() -> None:
    assert set(STATES) <= DOCUMENTED
    assert {classic_name(state) for state in STATES} <= DOCUMENTED_CLASSIC


@pytest.mark.parametrize("state", STATES)
def test_only_what_is_under_way_changes_by_itself(state: str) -> None:
    outcomes = {
        settled(state, done=done, failed=failed, well=well, gone=gone)
        for done, failed, well, gone in itertools.product([False, True], repeat=4)
    }

    assert outcomes == {
        "DEPLOYING": {"DEPLOYING", "RUNNING", "FAILED"},
        "UPGRADING": {"UPGRADING", "RUNNING"},
        "RUNNING": {"RUNNING", "CONCERNING"},
        "CONCERNING": {"RUNNING", "CONCERNING"},
        "STOPPING": {"STOPPING", "STOPPED"},
    }.get(state, {state})


def group(image: str, count: int, *, mounted: bool = False) -> dict[str, Any]:
    path = f"{PaperRegistry.host}/team/{image}:1.0"
    file = {"source": "OBS", "address": "obs://bucket/weights/", "mount_path": "/model/"}
    unit = {"image": {"source": "SWR", "swr_path": path}, "files": [file] * mounted}
    return {"count": count, "weight": 100, "unit_configs": [unit]}


class ServiceLife(RuleBasedStateMachine):
    """One service at a time: what is called, what goes wrong, and what comes of it."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = tempfile.TemporaryDirectory()
        self.patch = pytest.MonkeyPatch()
        self.now_ms = 1_000_000
        for module in (backend, reconciler, instance_lifecycle):
            self.patch.setattr(module, "now_ms", lambda: self.now_ms)
        self.host, self.jobs = FakeDockerHost(), PaperJobs()
        self.host.broken = {f"{PaperRegistry.host}/team/{BROKEN}:1.0"}
        self.host.heavy = {f"{PaperRegistry.host}/team/{HEAVY}:1.0"}
        parts: list[Any] = [self.host, PaperRegistry(), PaperLogins(), self.jobs]
        self.platform = Platform(
            Folder(Path(self.scratch.name)),
            Identity("paper", "project", "ACCESS", "SECRET", 1, 2),
            Settings(),
            State(Path(":memory:")),
            *parts,
            "127.0.0.1",
        )
        self.weights = self.platform.folder.obs / "bucket/weights"
        self.weights.mkdir(parents=True)
        self.begin()
        self.id = ""
        self.names = itertools.count()

    def begin(self) -> None:
        self.routing = Routing()
        self.loop = ServiceLoop(self.platform, self.routing)
        self.services = Services(self.platform, lambda: None)

    @property
    def status(self) -> str:
        row = self.platform.state.get(Service, self.id)
        return row.status if row else ""

    # --- calls ------------------------------------------------------------------------------------

    @precondition(lambda self: not self.status)
    @rule(image=IMAGES, count=st.integers(1, 3), mounted=st.booleans())
    def create(self, image: str, count: int, mounted: bool = False) -> None:
        groups = [group(image, count, mounted=mounted)]
        body = {"name": f"s{next(self.names)}", "group_configs": groups}
        if mounted and not self.weights.is_dir():
            with pytest.raises(ApiError, match="does not exist"):
                read_service(self.platform, body)
            return
        self.id = self.services.create(read_service(self.platform, body)).id
        assert self.status == "DEPLOYING"

    @precondition(lambda self: self.status not in ("", "DELETING"))
    @rule(image=IMAGES, count=st.integers(1, 3))
    def update(self, image: str, count: int) -> None:
        before = self.status
        row = self.services.show(self.id)
        fields = read_update(self.platform, row, {"group_configs": [group(image, count)]})
        assert fields["versions"] == [*row.versions, fields["version"]]
        allowed = before in (*CALLS["update"][0], *CALLS["edit"][0])
        if not allowed:
            with pytest.raises(ApiError, match=r"ModelArts\.3519"):
                self.services.update(self.id, fields)
            assert self.status == before
            return
        self.services.update(self.id, fields)
        assert self.status == (before if before in CALLS["edit"][0] else "UPGRADING")

    @precondition(lambda self: self.status)
    @rule(call=st.sampled_from(["start", "stop", "stop", "delete"]))
    def call(self, call: str) -> None:
        before = self.status
        allowed, after = CALLS[call]
        if before in allowed:
            getattr(self.services, call)(self.id)
            assert self.status == after
            return
        with pytest.raises(ApiError, match=r"ModelArts\.35(19|02)"):
            getattr(self.services, call)(self.id)
        assert self.status == before

    @precondition(lambda self: self.status not in ("", "DELETING"))
    @rule(data=st.data())
    def forget_a_version(self, data: st.DataObject) -> None:
        row = self.services.show(self.id)
        version = data.draw(st.sampled_from(row.versions))
        calls = {
            (verb, path): do for verb, path, do in deployment_calls(self.platform, self.services)
        }
        path = {"service_id": row.id, "deployment_id": f"{row.id}-0", "version": version}
        forget = lambda: calls["DELETE", VERSION](Call(path, {}, {}, {}))  # noqa: E731
        if version == row.version:
            with pytest.raises(ApiError, match="in use"):
                forget()
            return
        forget()
        assert version not in self.services.show(self.id).versions

    # --- what goes on -----------------------------------------------------------------------------

    @rule()
    def the_storage_goes_or_comes_back(self) -> None:
        if self.weights.is_dir():
            self.weights.rmdir()
        else:
            self.weights.mkdir()

    @rule(
        passed_s=st.sampled_from([0, 1, 30, 100, 2000]),
        jobs=st.lists(st.booleans(), min_size=1, max_size=5),
    )
    def go_on(self, passed_s: int, jobs: list[bool]) -> None:
        """Look as often as ``jobs`` is long; where one is true, what was begun is done then."""
        self.now_ms += 1000 * passed_s
        for are_done in jobs:
            self.now_ms += 1
            self.loop.look()
            if are_done:
                self.jobs.run()

    @precondition(lambda self: self.host.running)
    @rule(data=st.data())
    def a_container_dies(self, data: st.DataObject) -> None:
        self.host.end(data.draw(st.sampled_from(self.host.running)))

    @precondition(lambda self: self.host.containers)
    @rule(data=st.data())
    def a_container_is_removed(self, data: st.DataObject) -> None:
        self.host.remove(data.draw(st.sampled_from(list(self.host.containers))))

    @rule(is_stubborn=st.booleans())
    def containers_ignore_sigterm(self, is_stubborn: bool) -> None:
        self.host.is_stubborn = is_stubborn

    @rule()
    def the_platform_is_killed(self) -> None:
        """Between two changes of state: the jobs it had begun are lost, the containers live on.

        Its successor routes requests to what was ready before it looks for the first time.
        """
        self.jobs.forget()
        self.begin()
        self.loop.adopt()
        ready = {row.id for row in self.platform.state.find(Instance, ("READY",))}
        assert (self.routing.find(self.id) is not None) == (self.status in ROUTED)
        assert ready <= self.routing.targets() or self.status not in ROUTED

    # --- what always holds ------------------------------------------------------------------------

    @invariant()
    def the_status_is_documented(self) -> None:
        assert self.status in {*DOCUMENTED, ""}

    @invariant()
    def its_version_is_one_of_its_versions(self) -> None:
        row = self.platform.state.get(Service, self.id)
        assert row is None or row.versions.count(row.version) == 1
        assert row is None or len(set(row.versions)) == len(row.versions)

    @invariant()
    def no_container_was_started_without_its_storage(self) -> None:
        assert self.host.bare == []

    @invariant()
    def requests_go_to_instances_that_were_ready(self) -> None:
        route = self.routing.find(self.id)
        targets = [target for _, group in route.groups for target in group] if route else []
        for target in targets:
            row = self.platform.state.get(Instance, target.id)
            assert row is None or row.was_ready

    @invariant()
    def every_container_belongs_to_an_instance(self) -> None:
        names = {row.name for row in self.platform.state.find(Instance)}
        assert set(self.host.containers) <= names

    def teardown(self) -> None:
        """However it was left: left alone, it comes to rest, and nothing is left behind."""
        self.weights.mkdir(exist_ok=True)
        for _ in range(200):
            self.go_on(10, [True])
            if self.status in ("", "RUNNING", "STOPPED", "FAILED") and not self.unfinished():
                break
        else:
            raise AssertionError(f"{self.status} is never left: {self.unfinished()}")
        row = self.platform.state.get(Service, self.id)
        count = row.config[0].count if row and self.status == "RUNNING" else 0
        assert len(self.host.running) == len(self.host.containers) == count
        route = self.routing.find(self.id)
        assert count == sum(len(targets) for _, targets in (route.groups if route else ()))
        self.platform.state.close()
        self.patch.undo()
        self.scratch.cleanup()

    def unfinished(self) -> list[str]:
        rows = self.platform.state.find(Instance)
        return [row.status for row in rows if row.status not in ("READY", "GONE")]


ServiceLife.TestCase.settings = settings(
    max_examples=50,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestServiceLife = ServiceLife.TestCase


def test_the_place_that_is_left_goes_to_the_one_that_has_waited_longer() -> None:
    life = ServiceLife()
    life.platform = replace(life.platform, settings=replace(Settings(), pool_instances=2))
    life.begin()
    ids = []
    for _ in range(3):
        life.create(GOOD, 1)
        ids.append(life.id)
        life.go_on(0, [False])
    statuses = lambda: [life.services.show(each).status for each in ids]  # noqa: E731

    life.go_on(1, [True] * 5)
    assert statuses() == ["RUNNING", "RUNNING", "DEPLOYING"]
    life.create(GOOD, 1)
    ids.append(life.id)
    life.go_on(0, [False])
    life.services.delete(ids.pop(0))
    life.go_on(300, [True] * 5)
    assert statuses() == ["RUNNING", "RUNNING", "DEPLOYING"]
    assert len(life.host.running) == 2

    for each in ids:
        life.services.delete(each)
    life.go_on(300, [True] * 5)
    life.teardown()


def test_the_end_of_the_platform_ends_instances_and_the_next_one_can_start_them_again() -> None:
    life = ServiceLife()
    life.create(GOOD, 2)
    life.go_on(1, [True] * 5)
    assert (life.status, len(life.host.running)) == ("RUNNING", 2)

    life.loop.stop_all()

    assert (life.status, life.host.containers) == ("STOPPED", {})
    life.the_platform_is_killed()
    life.call("start")
    life.go_on(1, [True] * 5)
    assert (life.status, len(life.host.running)) == ("RUNNING", 2)
    life.teardown()
