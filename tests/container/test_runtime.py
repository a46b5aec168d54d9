"""The serving runtime where it lives: as process 1 of a container, under a quota."""

from __future__ import annotations

import logging
import os
import re
import threading
import time

import pytest
from broken_images import config_of
from runtime import PROFILES, wait_for

from custom_image.drills.sigterm import drill_sigterm
from custom_image.drills.sigterm_clients import Clients, running
from custom_image.engines import StartOptions
from custom_image.engines.readiness import wait_until_ready
from custom_image.model_config import parse_model_config
from custom_image.probing.http import Request, ask
from custom_image.probing.sample_requests import sample_request
from custom_image.specification import HEALTH_PERIOD

log = logging.getLogger(__name__)

READY_S = 60
HEALTH = Request("GET", "/health")


@pytest.fixture
def start(docker_engine, tiny_image):
    """Start the image with settings of the runtime, on so many CPUs."""

    def start(profile: str, cpus: float = 0, **environment: str):
        settings = {"MODEL_SERVER": profile, **environment}
        return docker_engine.start(
            tiny_image.reference, StartOptions(environment=settings, cpus=cpus)
        )

    return start


@pytest.fixture(scope="module")
def tiny_config(docker_engine, tiny_image):
    return parse_model_config(config_of(docker_engine, tiny_image.reference), "config.json")


def workers(service) -> list[int]:
    """Return the ids of the workers, the children of process 1, as the container counts them."""
    return sorted(p.pid for p in service.processes() if p.parent_pid == 1 and p.pid != 1)


def send(service, signal: str, pid: int) -> None:
    code, output = service.execute(["sh", "-c", f"kill -{signal} {pid}"])
    assert code == 0, output


@pytest.mark.parametrize("delay_s", [0.0, 0.01, 0.03, 0.1])
def test_process_1_obeys_sigterm_from_its_first_moment_on(start, delay_s):
    """Process 1 loses a signal that it has no handler for: the shell and Python had none."""
    for _ in range(2):
        with start("uvicorn", DRAIN_SECONDS="0.2", EXIT_SECONDS="2") as service:
            threading.Event().wait(delay_s)

            service.send_signal("SIGTERM")

            # A signal that was lost never comes; a busy machine may take its time to start Python.
            assert service.wait(30) == 0, service.logs()


def drill(service, config, drain_s: float, exit_s: float):
    """Let all kinds of clients use the service while it is stopped; return what they saw."""
    wait_until_ready(service, "/health", READY_S)
    drain = drill_sigterm(
        service,
        service.url,
        sample_request(config),
        expected_status=200,
        drain_s=drain_s,
        exit_s=exit_s,
        health_path="/health",
    )
    log.info("exit %s s after SIGTERM\n%s", drain.exited_s, drain.summary())
    return drain


@pytest.mark.parametrize("profile", PROFILES)
def test_as_process_1_it_drains_without_a_loss(start, profile, tiny_config):
    with start(profile, DRAIN_SECONDS="1.6", EXIT_SECONDS="6") as service:
        drain = drill(service, tiny_config, 1.6, 6)

    assert (drain.lost(), drain.cut_off(), drain.orphans) == ([], [], ()), drain.summary()
    assert drain.is_caught
    assert drain.exit_code == 0
    assert 1.6 <= drain.exited_s < 6


@pytest.mark.true_time
@pytest.mark.parametrize("profile", PROFILES)
def test_as_process_1_it_drains_for_60_seconds_and_is_gone_before_90(start, profile, tiny_config):
    with start(profile) as service:
        drain = drill(service, tiny_config, 60, 90)

    assert (drain.lost(), drain.cut_off(), drain.orphans) == ([], [], ()), drain.summary()
    assert drain.exit_code == 0
    assert 60 <= drain.exited_s <= 85


@pytest.mark.parametrize("profile", PROFILES)
def test_workers_that_are_killed_or_frozen_are_replaced(start, profile):
    with start(profile, cpus=2, WORKERS="2") as service:
        wait_until_ready(service, "/health", READY_S)
        wait_for(lambda: len(workers(service)) == 2, "both workers")
        killed, frozen = workers(service)
        clients = Clients(service.url, HEALTH, 200, interval_s=0.02)
        with running(clients) as begin:
            begin(clients.come_new)
            clients.signal(lambda: send(service, "KILL", killed))
            wait_for(lambda: len({*workers(service)} - {killed}) == 2, "a new worker")
            wait_for(lambda: service.logs().count("ready after") == 3, "it to be ready")
            send(service, "STOP", frozen)
            stopped = time.monotonic()
            wait_for(
                lambda: len({*workers(service)} - {killed, frozen}) == 2,
                "the frozen worker to be replaced",
                HEALTH_PERIOD.value,
            )
            wait_for(lambda: service.logs().count("ready after") == 4, "it to be ready")

        lost = [event for event in clients.events() if not event.ok]
        log.info("the frozen worker was replaced after %.1f s", time.monotonic() - stopped)
        # Of one client: what was in the hands of the killed one, of the frozen one.
        assert len(lost) <= 2, lost
        assert ask(service.url, HEALTH).status == 200


@pytest.mark.parametrize(("cpus", "expected"), [(0.5, 1), (1, 1), (2, 2)])
@pytest.mark.parametrize("profile", PROFILES)
def test_workers_and_threads_follow_the_cpus_of_the_container(
    start, profile, cpus, expected, tiny_config
):
    """A process a CPU, and in each one thread that computes, whatever the machine has."""
    available = len(os.sched_getaffinity(0))
    with start(profile, cpus) as service:
        wait_until_ready(service, "/health", READY_S)
        wanted = min(expected, available)
        wait_for(lambda: service.logs().count("ready after") == wanted, "all workers")
        for _ in range(20):
            assert ask(service.url, sample_request(tiny_config)).status == 200

        found = workers(service)
        _, text = service.execute(["cat", *(f"/proc/{pid}/status" for pid in found)])

    threads = [int(number) for number in re.findall(r"^Threads:\s*(\d+)", text, re.MULTILINE)]
    assert len(found) == wanted
    # The event loop, the one for predictions, and one of ONNX Runtime that waits for ever. A pool
    # of its own would have a thread for every further core of the machine.
    assert len(threads) == wanted
    assert max(threads) <= 3
