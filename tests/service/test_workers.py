"""Workers that die, freeze or hang: replaced, and nobody else notices."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

import pytest
from runtime import is_running, json_api, wait_for, write_package
from sleeper import SLEEPER_CONFIG, ask, request

from custom_image.drills.sigterm_clients import Clients, running
from custom_image.probing.http import Request
from custom_image.specification import HEALTH_PERIOD


def test_no_worker_outlives_a_killed_supervisor(start, sleeper, profile):
    runtime = start(sleeper, MODEL_SERVER=profile).wait_until_ready()
    workers = runtime.workers()

    runtime.process.kill()
    runtime.wait(10)

    assert len(workers) == 2
    wait_for(lambda: not any(is_running(pid) for pid in workers), "the workers to end")


def connections_by_worker(runtime, number: int = 12):
    """Open connections and use each once; return them by the worker that answers them."""
    found: dict[str, list] = {}
    for index in range(number):
        connection = runtime.connect()
        request_id = f"seek-{index}-"
        answer = connection.ask("GET", "/health", X_Request_Id=request_id)
        assert answer.status == 200
        line = next(line for line in runtime.logs().splitlines() if f"id={request_id}" in line)
        found.setdefault(line.rpartition("worker=")[2], []).append(connection)
    return found


def test_a_worker_that_is_killed_under_load_is_replaced_and_only_its_requests_are_lost(
    start, sleeper, profile
):
    runtime = start(sleeper, MODEL_SERVER=profile, PREDICT_THREADS="8").wait_until_ready()
    victim, survivor = runtime.workers()
    kept = connections_by_worker(runtime).get("1", [])
    clients = Clients(runtime.url, request(0.01), 200, interval_s=0.005)
    with running(clients) as begin:
        for client in [clients.come_new] * 3 + [clients.stay] * 3:
            begin(client)
        begin(clients.ask_health, "/health")
        wait_for(lambda: len(clients.events()) > 50, "the load")

        clients.signal(lambda: os.kill(victim, signal.SIGKILL))
        wait_for(lambda: len(set(runtime.workers()) - {victim}) == 2, "a new worker")
        runtime.wait_until_ready()
        wait_for(lambda: clients.since_signal_s() > 1, "a second of load")

    assert survivor in runtime.workers()
    assert all(ask(connection).status == 200 for connection in kept)
    lost = [event for event in clients.events() if not event.ok]
    # What was in the hands of the killed worker: at most one request of each client.
    assert len(lost) <= 7, lost
    assert all(-0.5 < event.t_s < 0.05 for event in lost), lost
    assert runtime.metrics()["model_service_restarts_total"] == 1
    assert "was ended by SIGKILL; replaced" in runtime.logs()


def test_a_worker_that_is_frozen_is_replaced_within_a_probe_period(start, sleeper, profile):
    """Whichever worker held the connection of a probe: it is answered, or ended and made anew."""
    runtime = start(sleeper, MODEL_SERVER=profile).wait_until_ready()
    frozen = runtime.workers()[0]
    held = [connection for found in connections_by_worker(runtime).values() for connection in found]
    probes = Clients(runtime.url, Request("GET", "/health"), 200, interval_s=0.05)
    with running(probes) as begin:
        begin(probes.come_new)
        probes.signal(lambda: os.kill(frozen, signal.SIGSTOP))
        period_s = HEALTH_PERIOD.value
        wait_for(lambda: frozen not in runtime.workers(), "the frozen worker to go", period_s)
        runtime.wait_until_ready()

    assert all(event.ok for event in probes.events()), probes.events()
    for connection in held:
        with suppress(ConnectionError):  # ended with the frozen worker
            assert connection.ask("GET", "/health").status == 200
    assert runtime.post_json({"sleep": 0}).status == 200


def test_a_worker_that_is_frozen_during_the_drain_delays_nobody(start, sleeper, profile):
    settings = {"DRAIN_SECONDS": "0.6", "EXIT_SECONDS": "3"}
    runtime = start(sleeper, MODEL_SERVER=profile, **settings).wait_until_ready()

    sent = runtime.terminate()
    os.kill(runtime.workers()[0], signal.SIGSTOP)

    assert runtime.wait(10) == 0
    assert time.monotonic() - sent < 3


CANNOT_BE_BROKEN_OFF = """
import time
from model_service.model_service import SingleNodeService

class Stubborn(SingleNodeService):
    def _inference(self, data):
        end = time.monotonic() + data["sleep"]
        while time.monotonic() < end:
            try:
                time.sleep(0.1)
            except BaseException:
                pass
        return {"slept": data["sleep"]}
"""


def test_a_worker_whose_event_loop_hangs_is_replaced(start, tmp_path, profile):
    package = write_package(tmp_path / "package", CANNOT_BE_BROKEN_OFF, SLEEPER_CONFIG)
    runtime = start(
        package,
        WORKERS="1",
        MODEL_SERVER=profile,
        PREDICT_IN_THREADS="never",
        PREDICT_TIMEOUT_SECONDS="0.1",
    ).wait_until_ready()
    hanging = runtime.workers()[0]
    with runtime.connect(timeout_s=20) as connection, pytest.raises(ConnectionError):
        ask(connection, 60)

    wait_for(lambda: hanging not in runtime.workers(), "the worker to go")
    assert runtime.wait_until_ready().post_json({"sleep": 0}).status == 200


def test_a_package_that_kills_its_worker_is_not_started_without_pause(start, tmp_path, profile):
    service = "import os\nos._exit(3)\n"
    config = {"apis": [json_api()]}
    runtime = start(write_package(tmp_path / "package", service, config), MODEL_SERVER=profile)
    said = "left with exit code 3; replaced"

    wait_for(lambda: runtime.logs().count(said) >= 4, "the fourth replacement")
    times = [
        line.split()[0]
        for line in runtime.logs().splitlines()
        if "worker 0" in line and said in line
    ]
    runtime.terminate()

    assert len(times) == len(set(times))
    assert runtime.wait(10) == 0
