"""The end of a service: SIGTERM, the drain, and processes that die by themselves.

Durations are compressed by DRAIN_SECONDS; the platform's true ones are waited by the rules'
drills in `make test-full`.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from runtime import (
    SLEEPER,
    SLEEPER_CONFIG,
    head,
    is_running,
    json_api,
    wait_for,
    write_package,
)


@pytest.fixture
def sleeper(tmp_path):
    """A package that answers after as many seconds as it is asked to."""
    return write_package(tmp_path / "package", SLEEPER, SLEEPER_CONFIG)


def ask(connection, sleep_s: float = 0.0):
    body = b'{"sleep": %.3f}' % sleep_s
    return connection.ask("POST", "/", body, Content_Type="application/json")


class Client(threading.Thread):
    """Asks without pause until told to stop, and notes every request that got no answer."""

    def __init__(self, runtime, *, keep_alive: bool, sleep_s: float = 0.0) -> None:
        super().__init__(daemon=True)
        self.runtime, self.keep_alive, self.sleep_s = runtime, keep_alive, sleep_s
        self.answered: list[float] = []
        self.announced: list[float] = []
        self.lost: list[tuple[float, str]] = []
        self.stop = threading.Event()
        self.start()

    def run(self) -> None:
        connection = None
        while not self.stop.is_set():
            began = time.monotonic()
            try:
                connection = connection or self.runtime.connect()
                answer = ask(connection, self.sleep_s)
                assert answer.status == 200, answer
                self.answered.append(began)
                if answer.headers.get("connection") == "close":
                    self.announced.append(time.monotonic())
                if not self.keep_alive or answer.headers.get("connection") == "close":
                    connection.socket.close()
                    connection = None
            except (OSError, AssertionError) as error:
                self.lost.append((began, repr(error)))
                connection = None
            self.stop.wait(0.002)


def test_during_the_drain_nothing_is_lost(start, sleeper, profile):
    drain_s, exit_s = 1.6, 8.0
    runtime = start(
        sleeper,
        MODEL_SERVER=profile,
        DRAIN_SECONDS=str(drain_s),
        EXIT_SECONDS=str(exit_s),
        PREDICT_THREADS="8",
    ).wait_until_ready()
    idle = [runtime.connect() for _ in range(3)]
    idle_used = [runtime.connect() for _ in range(3)]
    for connection in idle_used:
        ask(connection)
    clients = [Client(runtime, keep_alive=k) for k in (True, True, False, False)]
    clients += [Client(runtime, keep_alive=True, sleep_s=0.5) for _ in range(2)]
    wait_for(lambda: all(client.answered for client in clients), "all clients to be answered")

    workers = runtime.workers()
    sent = runtime.terminate()
    exit_code = runtime.wait(exit_s)
    left = time.monotonic()
    for client in clients:
        client.stop.set()
        client.join(10)

    in_drain = [
        (began - sent, error) for c in clients for began, error in c.lost if began < sent + drain_s
    ]
    assert in_drain == []
    assert exit_code == 0
    assert drain_s <= left - sent < exit_s
    for client in clients[:4]:
        assert max(client.answered) > sent + 0.8 * drain_s
    kept_alive = clients[0]
    assert kept_alive.announced
    assert min(kept_alive.announced) > sent + drain_s / 2
    assert all(connection.closed_by_server(1) for connection in [*idle, *idle_used])
    assert not any(is_running(pid) for pid in workers)


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

    # Before Python runs, SIGTERM ends the shell or the interpreter itself.
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


def test_a_worker_that_is_killed_is_replaced_and_the_other_serves_on(start, sleeper, profile):
    runtime = start(sleeper, MODEL_SERVER=profile).wait_until_ready()
    victim, survivor = runtime.workers()
    connections = connections_by_worker(runtime)
    client = Client(runtime, keep_alive=False)
    wait_for(lambda: client.answered, "the client")

    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: len(set(runtime.workers()) - {victim}) == 2, "a new worker")
    runtime.wait_until_ready()
    client.stop.set()
    client.join(10)

    assert survivor in runtime.workers()
    for connection in connections.get("1", []):
        assert ask(connection).status == 200
    # One request at most was in the hands of the killed worker.
    assert len(client.lost) <= 1
    assert runtime.metrics()["model_service_restarts_total"] == 1
    assert "was ended by SIGKILL; replaced" in runtime.logs()


def test_a_worker_that_is_frozen_is_replaced(start, sleeper, profile):
    runtime = start(sleeper, MODEL_SERVER=profile).wait_until_ready()
    frozen = runtime.workers()[0]

    os.kill(frozen, signal.SIGSTOP)

    # 5 s is the platform's probe period.
    wait_for(lambda: frozen not in runtime.workers(), "the frozen worker to go", timeout_s=5)
    assert runtime.wait_until_ready().post_json({"sleep": 0}).status == 200


def test_a_worker_whose_event_loop_hangs_is_replaced(start, sleeper):
    runtime = start(
        sleeper, WORKERS="1", PREDICT_IN_THREADS="never", PREDICT_TIMEOUT_SECONDS="0.1"
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
    clients = [Client(runtime, keep_alive=False) for _ in range(6)]
    wait_for(lambda: all(client.answered for client in clients), "all clients to be answered")

    runtime.terminate()
    exit_code = runtime.wait(10)
    for client in clients:
        client.stop.set()
        client.join(10)

    lost = [error for client in clients for _, error in client.lost]
    assert exit_code == 0
    assert all(error.startswith("ConnectionRefusedError") for error in lost), lost
