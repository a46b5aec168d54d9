"""The end of a service: SIGTERM, the drain, the exit.

Durations are compressed by DRAIN_SECONDS; the true ones are waited in test_rules_on_runtime.py.
The clients and the drill are those of the verifier, custom_image/rules.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from runtime import head, start_instance, wait_for, write_package
from sleeper import SLEEPER_CONFIG, ask, request

from custom_image.drills.sigterm import IDLE_CONNECTIONS, drill_sigterm
from custom_image.drills.sigterm_clients import Clients, running
from custom_image.engines.readiness import wait_until_ready


@pytest.mark.parametrize("sleep_s", [0.0, 0.3], ids=["quick", "slow"])
def test_during_the_drain_nothing_is_lost_and_the_end_comes_in_time(
    tmp_path, sleeper, profile, sleep_s
):
    """New, kept-alive, slow and idle clients all at once, as the verifier drills an image."""
    drain_s, exit_s = 1.6, 6.0
    settings = {
        "MODEL_SERVER": profile,
        "DRAIN_SECONDS": str(drain_s),
        "EXIT_SECONDS": str(exit_s),
        "PREDICT_THREADS": "8",
    }
    with start_instance(tmp_path / "home", sleeper, **settings) as instance:
        wait_until_ready(instance, "/health", 15)

        drain = drill_sigterm(
            instance,
            instance.url,
            request(sleep_s),
            expected_status=200,
            drain_s=drain_s,
            exit_s=exit_s,
            health_path="/health",
        )

    assert (drain.lost(), drain.cut_off(), drain.orphans) == ([], [], ()), drain.summary()
    assert drain.exit_code == 0
    assert drain_s <= drain.exited_s < exit_s
    of_kind = Counter(event.kind for event in drain.events if 0 <= event.t_s < drain_s)
    assert min(of_kind["new"], of_kind["kept-alive"], of_kind["health"]) >= 3
    # One slow request after the other, to the end.
    assert sum(event.kind == "slow" for event in drain.events) > 2
    assert sum(event.kind == "idle" for event in drain.events) == IDLE_CONNECTIONS
    # Who comes too late finds the port closed: nobody was let in and then cut off.
    late = [e for e in drain.events if e.kind == "new" and not e.ok and e.t_s < drain.exited_s]
    assert all("connection refused" in event.note for event in late), late


def test_connections_are_asked_to_close_at_the_end_of_the_drain_and_not_before(
    start, sleeper, profile
):
    drain_s = 1.6
    runtime = start(sleeper, MODEL_SERVER=profile, DRAIN_SECONDS=str(drain_s)).wait_until_ready()
    connection = runtime.connect()
    ask(connection)

    sent = runtime.terminate()
    wait_for(lambda: ask(connection).headers.get("connection") == "close", "the farewell")

    assert drain_s / 2 < time.monotonic() - sent < drain_s
    assert connection.closed_by_server()


def test_a_request_that_is_open_at_the_end_of_the_drain_is_answered(start, sleeper, profile):
    runtime = start(sleeper, MODEL_SERVER=profile, DRAIN_SECONDS="0.5", EXIT_SECONDS="20")
    runtime.wait_until_ready()
    with runtime.connect() as connection:
        body = b'{"sleep": 1.5}'
        connection.send(head("POST", "/", len(body), Content_Type="application/json") + body)
        runtime.terminate()

        answer = connection.read()

    assert (answer.status, answer.json) == (200, {"slept": 1.5})
    assert runtime.wait(10) == 0


@pytest.mark.parametrize("body", [b'{"sleep": 60}', b'{"sl'], ids=["no answer", "no end of body"])
def test_the_service_leaves_in_time_whatever_clients_do(start, sleeper, profile, body):
    exit_s = 2.5
    runtime = start(
        sleeper, MODEL_SERVER=profile, DRAIN_SECONDS="0.5", EXIT_SECONDS=str(exit_s)
    ).wait_until_ready()
    with runtime.connect() as connection:
        connection.send(head("POST", "/", 13, Content_Type="application/json") + body)
        sent = runtime.terminate()

        assert runtime.wait(2 * exit_s) == 0
        assert time.monotonic() - sent < exit_s


def test_a_second_sigterm_changes_nothing(start, sleeper, profile):
    runtime = start(sleeper, MODEL_SERVER=profile, DRAIN_SECONDS="1").wait_until_ready()

    sent = runtime.terminate()
    wait_for(lambda: runtime.metrics()["model_service_draining"], "the drain")
    runtime.terminate()
    assert runtime.post_json({"sleep": 0}).status == 200

    assert runtime.wait(10) == 0
    assert time.monotonic() - sent >= 1


def test_a_sigterm_to_the_whole_process_group_drains_as_well(start, sleeper, profile):
    runtime = start(sleeper, MODEL_SERVER=profile, DRAIN_SECONDS="1").wait_until_ready()
    workers = runtime.workers()

    os.killpg(runtime.process.pid, signal.SIGTERM)
    wait_for(lambda: runtime.metrics()["model_service_draining"], "the drain")

    assert runtime.workers() == workers
    assert runtime.post_json({"sleep": 0}).status == 200
    assert runtime.wait(10) == 0


NEVER_LOADED = """
import time
from model_service.model_service import SingleNodeService

class Never(SingleNodeService):
    def __init__(self, model_name, model_path):
        time.sleep(600)
"""


def test_sigterm_before_the_model_is_loaded_ends_at_once(start, tmp_path, profile):
    package = write_package(tmp_path / "package", NEVER_LOADED, SLEEPER_CONFIG)
    runtime = start(package, MODEL_SERVER=profile, DRAIN_SECONDS="60")
    wait_for(lambda: "listening" in runtime.logs(), "the port")

    runtime.terminate()

    assert runtime.wait(10) == 0


@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.1, 0.3])
def test_sigterm_at_any_moment_of_the_start_ends_the_service(start, sleeper, delay_s):
    runtime = start(sleeper, DRAIN_SECONDS="0.5")

    threading.Event().wait(delay_s)
    runtime.terminate()

    # Before its first line the shell dies of it; as process 1 of a container it would live on, see
    # tests/container/test_runtime.py.
    assert runtime.wait(10) in (0, -signal.SIGTERM)


def test_ctrl_c_ends_the_service_without_a_drain(start, sleeper, profile):
    runtime = start(sleeper, MODEL_SERVER=profile, DRAIN_SECONDS="60").wait_until_ready()

    os.killpg(runtime.process.pid, signal.SIGINT)

    assert runtime.wait(10) == 0


@pytest.mark.parametrize(("setting", "status"), [("200", 200), ("503", 503)])
def test_health_during_the_drain_is_a_setting_and_predictions_go_on(
    start, sleeper, profile, setting, status
):
    runtime = start(
        sleeper, MODEL_SERVER=profile, DRAIN_SECONDS="2", HEALTH_WHILE_DRAINING=setting
    ).wait_until_ready()

    runtime.terminate()
    wait_for(lambda: runtime.metrics()["model_service_draining"], "the drain")

    assert runtime.health().status == status
    assert runtime.post_json({"sleep": 0}).json == {"slept": 0}


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_every_shell_hands_its_place_to_the_server(start, sleeper, shell):
    runtime = start(sleeper, shell=shell, DRAIN_SECONDS="0.2").wait_until_ready()

    command = Path(f"/proc/{runtime.process.pid}/cmdline").read_bytes().split(b"\0")
    runtime.terminate()

    assert command[1:3] == [b"-m", b"model_service"]
    assert runtime.wait(10) == 0


def test_where_env_cannot_block_signals_the_service_starts_all_the_same(start, sleeper, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "env").write_text("#!/bin/sh\necho unknown option >&2\nexit 125\n")
    (tmp_path / "bin" / "env").chmod(0o755)
    folders = [tmp_path / "bin", Path(sys.executable).parent, os.environ["PATH"]]
    path = os.pathsep.join(map(str, folders))

    runtime = start(sleeper, PATH=path, DRAIN_SECONDS="0.2").wait_until_ready()
    runtime.terminate()

    assert runtime.wait(10) == 0
    assert runtime.standard_error() == ""


def test_a_port_in_use_is_an_error_that_names_it(start, sleeper):
    first = start(sleeper).wait_until_ready()
    second = start(sleeper, PORT=str(first.port))

    assert second.wait(10) == 2
    assert f"127.0.0.1:{first.port} cannot be bound" in second.logs()


def test_a_setting_that_cannot_be_used_is_an_error_that_names_it(start, sleeper):
    runtime = start(sleeper, DRAIN_SECONDS="soon")

    assert runtime.wait(10) == 2
    assert runtime.logs() == "DRAIN_SECONDS: expected a number from 0 up, found 'soon'.\n"


def test_at_the_end_of_the_drain_no_connection_is_reset(start, sleeper, profile):
    runtime = start(sleeper, MODEL_SERVER=profile, DRAIN_SECONDS="0.4").wait_until_ready()
    clients = Clients(runtime.url, request(), 200, interval_s=0.002)
    with running(clients) as begin:
        for _ in range(6):
            begin(clients.come_new)
        wait_for(lambda: len(clients.events()) > 30, "the load")

        clients.signal(runtime.terminate)
        exit_code = runtime.wait(10)

    lost = [event for event in clients.events() if not event.ok]
    assert exit_code == 0
    assert all("connection refused" in event.note for event in lost), lost
