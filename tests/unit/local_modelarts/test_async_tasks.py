"""The queue of asynchronous services: what waits, what is sent again, and what gives up."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from local_cloud import wait_for
from service_fields import SERVICE_FIELDS

from local_modelarts.errors import ApiError, backend_broken, backend_refused, backend_timeout
from local_modelarts.gateway.async_tasks import Tasks
from local_modelarts.storage.resources import Service
from local_modelarts.storage.specs import Group, InstanceSpec
from local_modelarts.storage.store import State


class Instances:
    """What would be behind the gateway: each call takes the next of ``faults``, or answers.

    Attributes:
        asked: the body of each call.
        gate: answers wait until it is open.
    """

    def __init__(self) -> None:
        self.faults: list[ApiError] = []
        self.asked: list[bytes] = []
        self.status = 200
        self.gate = threading.Event()
        self.gate.set()

    def send(
        self, row: Any, method: str, path: str, headers: Any, body: bytes, timeout_s: float
    ) -> tuple[int, dict[str, str], bytes]:
        self.asked.append(body)
        assert self.gate.wait(10)
        if self.faults:
            raise self.faults.pop(0)
        return self.status, {"Content-Type": "text/plain"}, b"answer to " + body


class Queue:
    """Tasks of one service, on state that outlives them."""

    def __init__(self, folder: Path) -> None:
        self.state = State(folder / "state.sqlite")
        self.platform = SimpleNamespace(state=self.state, folder=SimpleNamespace(root=folder))
        fields = SERVICE_FIELDS | {"config": [Group("r", InstanceSpec("image", 8080))]}
        self.service = self.state.add(Service, "s", "RUNNING", **fields)
        self.begin_anew()

    def begin_anew(self) -> None:
        """Begin as after a kill, with the state alone; what was sent is never answered."""
        self.instances = Instances()
        self.tasks = Tasks(self.platform, self.instances.send, 0.01)  # type: ignore[arg-type]

    def ask(self, method: str, path: str, body: bytes = b"") -> Any:
        status, _, content = self.tasks.respond(self.service, method, path, {}, body)
        return json.loads(content) if status in (200, 202) else status

    def submit(self, body: bytes = b"x") -> str:
        return f"/async-tasks/{self.ask('POST', '/', body)['task_id']}"

    def status(self, task: str) -> str:
        return str(self.ask("GET", task)["status"])

    def ended(self, task: str) -> Any:
        wait_for(lambda: self.status(task) in ("SUCCEEDED", "FAILED"), "the task ends", 10)
        return self.ask("GET", task)

    def result(self, task: str) -> Any:
        return self.tasks.respond(self.service, "GET", f"{task}/result", {}, b"")


@pytest.fixture
def queue(tmp_path) -> Iterator[Queue]:
    queue = Queue(tmp_path)
    yield queue
    queue.instances.gate.set()
    queue.tasks.end()
    queue.tasks.join(5)
    queue.state.close()


def test_an_answer_is_kept_with_its_content_type(queue) -> None:
    task = queue.submit(b"one")

    assert queue.ended(task)["status"] == "SUCCEEDED"
    assert queue.result(task) == (200, {"content-type": "text/plain"}, b"answer to one")


def test_a_refusal_of_the_model_is_a_failed_task_that_keeps_the_models_words(queue) -> None:
    queue.instances.status = 422
    task = queue.submit(b"bad")

    assert queue.ended(task)["error_message"] == "The model answered 422: answer to bad"
    assert queue.result(task)[0] == 422


@pytest.mark.parametrize(
    ("faults", "status", "sent"),
    [
        ([backend_refused()] * 5, "SUCCEEDED", 6),
        ([backend_broken()] * 2, "SUCCEEDED", 3),
        ([backend_broken()] * 3, "FAILED", 3),
        ([backend_timeout()], "FAILED", 1),
    ],
    ids=["nobody there yet", "went away twice", "goes away each time", "too long"],
)
def test_a_task_is_sent_again_where_its_instance_is_at_fault(queue, faults, status, sent) -> None:
    queue.instances.faults = list(faults)

    document = queue.ended(queue.submit())

    assert (document["status"], len(queue.instances.asked)) == (status, sent)


def test_one_task_runs_at_a_time_and_the_others_wait_in_turn(queue) -> None:
    queue.instances.gate.clear()
    tasks = [queue.submit(b"%d" % n) for n in range(3)]
    wait_for(lambda: queue.instances.asked, "the first is sent", 10)

    assert [queue.status(task) for task in tasks] == ["RUNNING", "WAITING", "WAITING"]
    with pytest.raises(ApiError, match="has no result") as early:
        queue.result(tasks[1])
    assert early.value.status == 409

    queue.instances.gate.set()
    queue.ended(tasks[2])
    assert queue.instances.asked == [b"0", b"1", b"2"]


def test_a_queue_that_is_full_takes_no_more(queue) -> None:
    queue.service = replace(queue.service, limit={"tasks": 2})
    queue.instances.gate.clear()
    queue.submit()
    queue.submit()

    with pytest.raises(ApiError) as refused:
        queue.submit()

    assert refused.value.status == 429
    files = list((queue.platform.folder.root / "tasks").rglob("*.request"))
    assert len(files) == 2


def test_what_ran_and_what_waited_when_the_platform_was_killed_is_answered_by_the_next(
    queue,
) -> None:
    queue.instances.gate.clear()
    ran, waited = queue.submit(b"ran"), queue.submit(b"waited")
    wait_for(lambda: queue.instances.asked, "the first is sent", 10)
    killed, gate = queue.tasks, queue.instances.gate
    killed.end()

    queue.begin_anew()
    queue.tasks.resume()

    assert queue.ended(ran)["status"] == queue.ended(waited)["status"] == "SUCCEEDED"
    assert queue.instances.asked == [b"ran", b"waited"]
    gate.set()
    killed.join(5)


def test_a_service_that_is_stopped_keeps_its_tasks_waiting(queue) -> None:
    queue.state.change(Service, "s", ("RUNNING",), "STOPPED")
    task = queue.submit()
    queue.tasks.resume()

    assert queue.status(task) == "WAITING"
    queue.state.change(Service, "s", ("STOPPED",), "RUNNING")
    queue.tasks.resume()
    assert queue.ended(task)["status"] == "SUCCEEDED"


def test_the_tasks_of_a_service_that_is_deleted_go_with_it(queue) -> None:
    task = queue.submit()
    queue.ended(task)
    queue.state.remove(Service, "s")

    queue.tasks.resume()

    with pytest.raises(ApiError) as gone:
        queue.ask("GET", task)
    assert gone.value.status == 404
    assert [p for p in (queue.platform.folder.root / "tasks").rglob("*") if p.is_file()] == []
