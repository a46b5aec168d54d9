"""Asynchronous services: a request becomes a task, and its answer waits to be fetched."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import requests
from local_cloud import Cloud, Rehearsal, wait_for
from local_models import call, delete_all, publish_model
from sleeper import SLEEPER_CONFIG

SERVICES = "/v1/{project_id}/services"
GATEWAY_S = 1
"""How long the gateway waits for an answer in these tests; the sleeper sleeps longer."""
HEALTH = {"check_method": "HTTP", "url": "/health", "initial_delay_seconds": 1, "period_seconds": 1}
"""Without it a service runs as soon as its port opens, and answers 503 until it is warm."""


@dataclass
class Sleeper:
    """Services of the sleeping model on one platform; ``settings`` are those of the platform."""

    rehearsal: Rehearsal
    image: str
    settings: tuple[str, ...]
    services: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)

    @property
    def cloud(self) -> Cloud:
        return self.rehearsal.up(self.settings)

    def deploy(self, mode: str, name: str) -> str:
        """Publish the model for this mode of requests, deploy it, and return its address."""
        cloud = self.cloud
        config = SLEEPER_CONFIG | {"health": HEALTH}
        model = publish_model(cloud, self.image, config, name, request_mode=mode)
        self.models.append(model)
        entry = {
            "model_id": model,
            "specification": "modelarts.vm.cpu.2u",
            "instance_count": 1,
            "weight": 100,
            "envs": {"PREDICT_TIMEOUT_SECONDS": "7200"},
        }
        body = {"service_name": name, "infer_type": "real-time", "config": [entry]}
        self.services.append(call(cloud, "POST", SERVICES, body)["service_id"])
        path = f"{SERVICES}/{self.services[-1]}"
        wait_for(lambda: call(cloud, "GET", path)["status"] == "running", "the service runs")
        return str(call(cloud, "GET", path)["access_address"])

    def ask(self, method: str, url: str, **arguments: Any) -> requests.Response:
        return requests.request(
            method, url, headers={"X-Auth-Token": self.token}, timeout=60, **arguments
        )

    @property
    def token(self) -> str:
        cloud = self.cloud
        keys = {"access": {"key": cloud.access_key}, "secret": {"key": cloud.secret_key}}
        identity = {
            "methods": ["hw_ak_sk"],
            "hw_ak_sk": {"access": keys["access"], "secret": keys["secret"]},
        }
        response = requests.post(
            f"{cloud.platform.endpoint}/v3/auth/tokens",
            json={"auth": {"identity": identity}},
            timeout=10,
        )
        return response.headers["X-Context-Token"]

    def submit(self, address: str, sleep_s: object) -> str:
        response = self.ask("POST", f"{address}/", json={"sleep": sleep_s})
        assert response.status_code == 202, response.text
        assert response.json()["status"] == "WAITING"
        return f"{address}/async-tasks/{response.json()['task_id']}"

    def ended(self, task: str, timeout_s: float = 30) -> dict[str, Any]:
        ends = ("SUCCEEDED", "FAILED")
        wait_for(lambda: self.ask("GET", task).json()["status"] in ends, "the task ends", timeout_s)
        return dict(self.ask("GET", task).json())


@pytest.fixture(scope="module")
def sleeper(rehearsal, sleeper_address) -> Iterator[Sleeper]:
    rehearsal.kill()
    sleeper = Sleeper(rehearsal, sleeper_address, (f"predict_timeout_s={GATEWAY_S}", "speed=20"))
    yield sleeper
    clean(sleeper)


@pytest.fixture(scope="module")
def address(sleeper) -> str:
    return sleeper.deploy("async", "asleep")


def clean(sleeper: Sleeper) -> None:
    """Delete what was deployed, and give the platform its own limits back."""
    sleeper.rehearsal.kill()
    delete_all(
        sleeper.rehearsal.up(["speed=1000000", "stop_delay_s=0"]), sleeper.services, sleeper.models
    )
    sleeper.rehearsal.restart()


def test_an_answer_that_the_gateway_would_not_wait_for_is_delivered(sleeper, address) -> None:
    synchronous = sleeper.deploy("sync", "awake")
    cut = sleeper.ask("POST", f"{synchronous}/", json={"sleep": GATEWAY_S + 2})
    assert cut.json()["error_code"] == "ModelArts.4205"

    task = sleeper.submit(address, GATEWAY_S + 2)
    early = sleeper.ask("GET", f"{task}/result")
    document = sleeper.ended(task)
    result = sleeper.ask("GET", f"{task}/result")

    assert early.status_code == 409
    assert (document["status"], document["error_message"]) == ("SUCCEEDED", "")
    took_ms = document["finish_time"] - document["start_time"]
    assert took_ms > 1000 * GATEWAY_S
    assert (result.status_code, result.json()) == (200, {"slept": GATEWAY_S + 2})
    assert result.headers["content-type"].startswith("application/json")


def test_what_the_model_refuses_is_a_failed_task_with_the_models_own_answer(
    sleeper, address
) -> None:
    task = sleeper.submit(address, "soon")

    document = sleeper.ended(task)

    result = sleeper.ask("GET", f"{task}/result")
    assert document["status"] == "FAILED"
    assert document["error_message"].startswith(f"The model answered {result.status_code}: ")
    assert 400 <= result.status_code < 600
    assert result.json()


def test_tasks_run_one_after_the_other_and_are_listed_newest_first(sleeper, address) -> None:
    tasks = [sleeper.submit(address, 0.2) for _ in range(3)]

    documents = [sleeper.ended(task) for task in tasks]

    for before, after in pairwise(documents):
        assert before["finish_time"] <= after["start_time"]
    listed = sleeper.ask("GET", f"{address}/async-tasks").json()["tasks"]
    ids = [task.rpartition("/")[2] for task in tasks]
    assert [task["task_id"] for task in listed[:3]] == list(reversed(ids))


def test_a_kill_of_the_platform_loses_no_task(sleeper, address) -> None:
    running, waiting = sleeper.submit(address, 2), sleeper.submit(address, 0)
    wait_for(lambda: sleeper.ask("GET", running).json()["status"] == "RUNNING", "it runs")

    sleeper.rehearsal.kill()

    assert sleeper.ended(running)["status"] == "SUCCEEDED"
    assert sleeper.ended(waiting)["status"] == "SUCCEEDED"
    assert sleeper.ask("GET", f"{running}/result").json() == {"slept": 2}


def test_a_task_that_is_forgotten_is_gone_and_so_is_its_answer(sleeper, address) -> None:
    task = sleeper.submit(address, 0)
    sleeper.ended(task)

    assert sleeper.ask("DELETE", task).status_code == 204

    assert sleeper.ask("GET", f"{task}/result").status_code == 404
    files = list((sleeper.rehearsal.folder / "tasks").rglob(f"{task.rpartition('/')[2]}*"))
    assert files == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/async-tasks/8c1d7ebd-61c2-44c6-b45a-706e6ee522e7", 404),
        ("GET", "/async-tasks/..%2f..%2fsecret", 404),
        ("POST", "/async-tasks", 405),
        ("GET", "/", 405),
        ("POST", "/other", 404),
    ],
)
def test_what_is_no_task_and_no_api_is_refused(sleeper, address, method, path, status) -> None:
    assert sleeper.ask(method, f"{address}{path}").status_code == status


def test_without_a_token_no_task_is_taken(sleeper, address) -> None:
    response = requests.post(f"{address}/", json={"sleep": 0}, timeout=10)

    assert response.status_code == 401
    assert json.loads(response.text)["error_code"].startswith("APIG.")


@pytest.mark.true_time
def test_a_handler_of_65_seconds_delivers_its_answer_under_the_platforms_own_limits(
    rehearsal, sleeper_address
) -> None:
    rehearsal.kill()
    sleeper = Sleeper(rehearsal, sleeper_address, ())
    synchronous, address = sleeper.deploy("sync", "true-sync"), sleeper.deploy("async", "true")
    task = sleeper.submit(address, 65)

    cut = sleeper.ask("POST", f"{synchronous}/", json={"sleep": 65})
    document = sleeper.ended(task, 120)

    assert cut.json()["error_code"] == "ModelArts.4205"
    assert document["status"] == "SUCCEEDED"
    assert document["finish_time"] - document["start_time"] >= 65_000
    assert sleeper.ask("GET", f"{task}/result").json() == {"slept": 65}
    clean(sleeper)
