"""More than the service can take: what it accepts goes on as before, refusals cost little."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from runtime import head, wait_for
from sleeper import ask, body

from model_service.http.messages import hold_back_s


@pytest.fixture
def full(start, sleeper, profile):
    """A worker that runs a prediction of 2 s and has one more waiting: there is no room."""
    runtime = start(
        sleeper, WORKERS="1", MODEL_SERVER=profile, MAX_WAITING="1", PREDICT_IN_THREADS="always"
    ).wait_until_ready()
    for _ in range(2):
        connection = runtime.connect()
        sent = body(2)
        connection.send(head("POST", "/", len(sent), Content_Type="application/json") + sent)

    def is_full() -> bool:
        with runtime.connect() as probe:
            probe.send(head("POST", "/", 10_000_000, Content_Type="application/json"))
            probe.socket.settimeout(0.3)
            try:
                return probe.read().status == 503
            except TimeoutError:  # it waits for the body
                return False

    wait_for(is_full, "the queue to be full")
    return runtime


def test_a_request_without_room_is_refused_before_its_body_is_read(full):
    with full.connect() as connection:
        connection.send(head("POST", "/", 10_000_000, Content_Type="application/json"))

        answer = connection.read()

    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert answer.headers["connection"] == "close"


def test_a_refused_client_that_sends_on_still_reads_its_answer(full):
    with full.connect() as connection:
        connection.send(head("POST", "/", 8_000_000, Content_Type="application/json"))
        for _ in range(80):  # http.client and requests read nothing before the last byte
            connection.send(bytes(100_000))

        assert connection.read().status == 503


def test_a_small_request_is_refused_and_its_connection_goes_on(full):
    with full.connect() as connection:
        answers = [ask(connection) for _ in range(3)]
        assert [answer.status for answer in answers] == [503] * 3
        assert all(answer.headers.get("connection") != "close" for answer in answers)
        assert connection.ask("GET", "/health").status == 200


def test_clients_that_come_back_at_once_are_not_refused_without_end(full):
    """Refusals in a second are as many for sixteen impatient clients as for one."""
    stop = threading.Event()

    def hammer() -> int:
        with full.connect() as connection:
            statuses = []
            while not stop.is_set():
                statuses.append(ask(connection).status)
            return statuses.count(503)

    with ThreadPoolExecutor(16) as pool:
        began = time.monotonic()
        clients = [pool.submit(hammer) for _ in range(16)]
        wait_for(lambda: time.monotonic() - began > 1, "a second")
        stop.set()
        refused = sum(client.result() for client in clients)
    assert 16 <= refused <= 100 * (time.monotonic() - began)


def test_the_first_refusals_come_at_once_and_none_is_held_back_for_long():
    assert hold_back_s(0) < 0.1
    assert hold_back_s(10) < hold_back_s(30) <= hold_back_s(10_000) <= 2


SHORT_S = 0.005
"""Of a prediction: so short that refusals which cost something hold the good answers up."""


def accepted(runtime, clients: int, seconds: float) -> list[float]:
    """Ask again and again from so many clients; return the seconds of each good answer, sorted."""
    until = time.monotonic() + seconds

    def client(_: int) -> list[float]:
        times = []
        with runtime.connect(30) as connection:
            while time.monotonic() < until:
                asked = time.monotonic()
                if ask(connection, SHORT_S).status == 200:
                    times.append(time.monotonic() - asked)
        return times

    with ThreadPoolExecutor(clients) as pool:
        return sorted(time for times in pool.map(client, range(clients)) for time in times)


@pytest.mark.timeout(120)
def test_at_twice_the_load_goodput_stays_and_so_does_the_time_of_what_is_accepted(
    start, sleeper, profile
):
    """The ratio in one run, by turns: a stall of the machine falls on either side, so the best of
    some rounds counts. A server that lost as much as measured before (a third was left) has none.
    """
    settings = {"MAX_WAITING": "7", "PREDICT_IN_THREADS": "always"}
    runtime = start(sleeper, WORKERS="1", MODEL_SERVER=profile, **settings).wait_until_ready()
    rounds = []
    for _ in range(8):
        full, twice = accepted(runtime, 8, 1.5), accepted(runtime, 16, 1.5)
        kept = len(twice) / len(full)
        slower = twice[int(0.99 * len(twice))] / full[int(0.99 * len(full))]
        rounds.append((round(kept, 2), round(slower, 2)))
        if kept >= 0.95 and slower <= 2:
            return
    pytest.fail(f"goodput kept and p99 at twice the load, of that at capacity: {rounds}")
