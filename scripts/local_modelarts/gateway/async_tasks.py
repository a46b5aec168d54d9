"""Asynchronous services: a request becomes a task, its answer is fetched when it is there.

    POST   {access address}{url of the api}                 202 {"task_id", "status"}
    GET    {access address}/async-tasks                     the service's tasks, newest first
    GET    {access address}/async-tasks/{task_id}           its status
    GET    {access address}/async-tasks/{task_id}/result    the model's own answer
    DELETE {access address}/async-tasks/{task_id}           forget it

That tasks are submitted, queued, asked about and fetched is documented; the paths, fields and
statuses are inferred, because no page that could be read shows them.

A task is RUNNING from before its request is sent, and its answer is in a file before it is called
SUCCEEDED. After a kill a RUNNING task is sent again: a model may see the same request twice.

Source: https://support.huaweicloud.com/inference-modelarts/inference2.0-modelarts-0079.html
"""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from custom_image.files import write_whole
from custom_image.platform_api import TASKS
from custom_image.specification import REQUEST_TIMEOUT_RANGE_2_0, TASK_COUNT
from local_modelarts.errors import (
    ApiError,
    method_not_allowed,
    no_task,
    task_not_finished,
    too_many_tasks,
)
from local_modelarts.gateway.app import check_api
from local_modelarts.jobs import Jobs
from local_modelarts.platform import Platform
from local_modelarts.runtime.states import DEPLOYING, SERVING
from local_modelarts.storage.clock import now_ms
from local_modelarts.storage.resources import Service, Task
from local_modelarts.storage.store import WrongStatus

Response = tuple[int, Mapping[str, str], bytes]
SendRequest = Callable[
    [Service, str, str, Mapping[str, str], bytes, float],
    tuple[int, dict[str, str], bytes],
]
"""Service, method, path, headers, body, time-out in s -> status, headers, body; as the gateway."""

_PASSED_ON: Final = ("content-type", "accept")
_UNFINISHED: Final = ("WAITING", "RUNNING")
_ANSWERING: Final = tuple(status for status in SERVING if status != DEPLOYING)
# How often a task is sent whose instance goes away over it: inferred.
_TRIES: Final = 3
_PAUSE_S: Final = 1.0
_SHOWN_BYTES: Final = 300


class Tasks:
    """The tasks of all asynchronous services of a platform."""

    def __init__(self, platform: Platform, send: SendRequest, pause_s: float = _PAUSE_S) -> None:
        self._platform, self._state, self._send = platform, platform.state, send
        self._jobs = Jobs()
        self._pause_s = pause_s
        self._lock = threading.Lock()

    def respond(
        self,
        row: Service,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> Response:
        """Return status, headers and body for ``path`` (with its query) below the service.

        Raises:
            ApiError: there is no such api or task, or the queue is full.
        """
        place = path.partition("?")[0]
        if place == TASKS or place.startswith(f"{TASKS}/"):
            task_id, _, rest = place.removeprefix(TASKS).strip("/").partition("/")
            return self._look(row.id, method, task_id, rest)
        check_api(row, method, place)
        return self._submit(row, method, path, headers, body)

    def resume(self) -> None:
        """Go on after a kill, with whatever waits; forget the tasks of services that are gone."""
        for task in self._state.find(Task):
            if self._state.get(Service, task.service_id) is None:
                self._forget(task)
        for task in self._state.find(Task, ("RUNNING",)):
            self._jobs.submit(self._run, task.id)
        self._dispatch()

    def end(self) -> None:
        """Begin no more tasks; those that run are sent again by the next platform."""
        self._jobs.begin_stop()

    def join(self, patience_s: float) -> None:
        """Wait for the tasks that run, for a while."""
        self._jobs.join(patience_s)

    # --- calls ------------------------------------------------------------------------------------

    def _submit(
        self,
        service: Service,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes,
    ) -> Response:
        most = service.limit.get("tasks") or TASK_COUNT.value
        task_id = str(uuid.uuid4())
        write_whole(self._file(service.id, task_id, "request"), body)
        with self._state.transaction():
            waiting = self._state.find(Task, _UNFINISHED)
            if sum(task.service_id == service.id for task in waiting) >= most:
                self._file(service.id, task_id, "request").unlink()
                raise too_many_tasks()
            task = self._state.add(
                Task,
                task_id,
                "WAITING",
                service_id=service.id,
                method=method,
                path=path,
                headers={k: v for k, v in headers.items() if k.lower() in _PASSED_ON},
                tries=0,
                start_time=0,
                finish_time=0,
                error_message="",
                answer={},
            )
        self._dispatch()
        return _json(task_document(task), 202)

    def _look(self, service_id: str, method: str, task_id: str, rest: str) -> Response:
        if not task_id:
            if method != "GET":
                raise method_not_allowed()
            tasks = [t for t in self._state.find(Task) if t.service_id == service_id]
            return _json({"total_count": len(tasks), "tasks": [task_document(t) for t in tasks]})
        task = self._state.get(Task, task_id)
        if task is None or task.service_id != service_id or rest not in ("", "result"):
            raise no_task(task_id)
        if method == "DELETE" and not rest:
            self._forget(task)
            return 204, {}, b""
        if method != "GET":
            raise method_not_allowed()
        if not rest:
            return _json(task_document(task))
        if not task.answer:
            raise task_not_finished(task.status, task.error_message)
        content = self._file(service_id, task_id, "result").read_bytes()
        return task.answer["status"], {"content-type": task.answer["type"]}, content

    # --- work -------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Begin the oldest tasks that wait: one at a time for each instance (inferred)."""
        with self._lock, self._state.transaction():
            waiting = list(reversed(self._state.find(Task, ("WAITING",))))
            running = [task.service_id for task in self._state.find(Task, ("RUNNING",))]
            begun = []
            for task in waiting:
                service = self._state.get(Service, task.service_id)
                is_serving = service is not None and service.status in _ANSWERING
                if not service or not is_serving or self._jobs.is_stopping:
                    continue
                if running.count(service.id) >= sum(group.count for group in service.config):
                    continue
                running.append(task.service_id)
                begun.append(task.id)
                self._state.change(Task, task.id, ("WAITING",), "RUNNING", start_time=now_ms())
        for task_id in begun:
            self._jobs.submit(self._run, task_id)

    def _run(self, task_id: str) -> None:
        """Send one task until it has ended, or has to wait for its service to run again."""
        while self._attempt(task_id):
            self._jobs.pause(self._pause_s)
        self._dispatch()

    def _attempt(self, task_id: str) -> bool:
        """Send one task, and keep what the model answers; tell whether to send it again."""
        task = self._state.get(Task, task_id)
        service = self._state.get(Service, task.service_id) if task else None
        if task is None or service is None or task.status != "RUNNING":
            return False
        if service.status not in _ANSWERING:
            self._change(task_id, "WAITING")
            return False
        try:
            body = self._file(service.id, task_id, "request").read_bytes()
            timeout_s = service.limit.get("timeout_s") or REQUEST_TIMEOUT_RANGE_2_0[1]
            status, headers, content = self._send(
                service, task.method, task.path, task.headers, body, timeout_s
            )
        except ApiError as error:
            return self._is_worth_another_try(task, error)
        except FileNotFoundError:  # forgotten meanwhile
            return False
        write_whole(self._file(service.id, task_id, "result"), content)
        kind = next((v for k, v in headers.items() if k.lower() == "content-type"), "")
        shown = " ".join(content[:_SHOWN_BYTES].decode("utf-8", "replace").split())
        is_answer = 200 <= status < 300
        self._end(
            task_id,
            "SUCCEEDED" if is_answer else "FAILED",
            answer={"status": status, "type": kind},
            error_message="" if is_answer else f"The model answered {status}: {shown}",
        )
        return False

    def _is_worth_another_try(self, task: Task, error: ApiError) -> bool:
        """Tell whether to send a task again whose instance was not there, or went away."""
        if self._jobs.is_stopping:
            return False  # it stays RUNNING: the next platform sends it again
        is_unsent = error.status == 503  # no instance took it
        tries = task.tries + (not is_unsent)
        if error.status == 504 or tries >= _TRIES:
            self._end(task.id, "FAILED", error_message=f"{error.code}: {error.message}")
            return False
        self._change(task.id, "RUNNING", tries=tries)
        return True

    def _end(self, task_id: str, status: str, **fields: Any) -> None:
        self._change(task_id, status, finish_time=now_ms(), **fields)

    def _change(self, task_id: str, status: str, **fields: Any) -> None:
        try:
            self._state.change(Task, task_id, ("RUNNING",), status, **fields)
        except WrongStatus:  # forgotten meanwhile
            return

    def _forget(self, task: Task) -> None:
        self._state.remove(Task, task.id)
        for kind in ("request", "result"):
            self._file(task.service_id, task.id, kind).unlink(missing_ok=True)

    def _file(self, service_id: str, task_id: str, kind: str) -> Path:
        return self._platform.folder.root / "tasks" / service_id / f"{task_id}.{kind}"


def task_document(task: Task) -> dict[str, Any]:
    """Return a task as callers see it; times in ms since 1970, 0 for what has not happened."""
    return {
        "task_id": task.id,
        "status": task.status,
        "submit_time": task.create_at,
        "start_time": task.start_time,
        "finish_time": task.finish_time,
        "error_message": task.error_message,
    }


def _json(document: Mapping[str, Any], status: int = 200) -> Response:
    return status, {"content-type": "application/json"}, json.dumps(document).encode()
