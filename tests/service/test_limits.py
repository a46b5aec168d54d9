"""Slow predictions, too many of them, and connections that do nothing."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from runtime import wait_for


@pytest.fixture
def pool():
    with ThreadPoolExecutor(16) as pool:
        yield pool


def sleep(runtime, seconds: float):
    return runtime.post_json({"sleep": seconds})


def test_a_slow_prediction_stops_neither_health_nor_the_next_connection(
    start, sleeper, profile, pool
):
    runtime = start(sleeper, WORKERS="1", MODEL_SERVER=profile).wait_until_ready()

    slow = pool.submit(sleep, runtime, 1.2)
    answers = [runtime.health() for _ in range(10)]

    assert not slow.done()
    assert {answer.status for answer in answers} == {200}
    assert slow.result().json == {"slept": 1.2}


def test_a_prediction_past_its_time_gets_504_and_the_worker_goes_on(start, sleeper, profile, pool):
    runtime = start(
        sleeper, WORKERS="1", MODEL_SERVER=profile, PREDICT_TIMEOUT_SECONDS="0.5"
    ).wait_until_ready()
    worker = runtime.workers()

    late = sleep(runtime, 3)

    assert (late.status, "PREDICT_TIMEOUT_SECONDS" in late.error) == (504, True)
    assert sleep(runtime, 0).json == {"slept": 0}
    assert runtime.health().status == 200
    assert runtime.workers() == worker


IN_THE_LOOP = "predictions now run in the event loop"
IN_THREADS = "predictions now run in threads"


def earn_trust(runtime):
    """Ask for quick predictions until the worker runs them in its event loop."""

    def ask():
        answer = connection.ask("POST", "/", b'{"sleep": 0}', Content_Type="application/json")
        assert answer.json == {"slept": 0}
        return IN_THE_LOOP in runtime.logs()

    with runtime.connect() as connection:
        wait_for(ask, "predictions to move into the event loop")


def test_a_slow_prediction_after_many_quick_ones_stops_nobody_and_is_answered(
    start, sleeper, profile, pool
):
    runtime = start(sleeper, WORKERS="1", MODEL_SERVER=profile).wait_until_ready()
    earn_trust(runtime)

    with runtime.connect() as kept_alive:
        slow = pool.submit(sleep, runtime, 3)
        wait_for(lambda: IN_THREADS in runtime.logs(), "the slow one to leave the event loop")
        assert kept_alive.ask("GET", "/health").status == 200
        assert runtime.health().status == 200

        assert not slow.done()
        assert slow.result().json == {"slept": 3}


def test_a_prediction_past_its_time_gets_504_after_many_quick_ones_too(start, sleeper, profile):
    runtime = start(
        sleeper, WORKERS="1", MODEL_SERVER=profile, PREDICT_TIMEOUT_SECONDS="0.4"
    ).wait_until_ready()
    worker = runtime.workers()
    earn_trust(runtime)

    assert sleep(runtime, 20).status == 504
    assert sleep(runtime, 0).json == {"slept": 0}
    assert runtime.health().status == 200
    assert runtime.workers() == worker


def test_where_threads_are_not_wanted_a_prediction_past_its_time_gets_504_as_well(
    start, sleeper, profile
):
    runtime = start(
        sleeper,
        WORKERS="1",
        MODEL_SERVER=profile,
        PREDICT_IN_THREADS="never",
        PREDICT_TIMEOUT_SECONDS="0.3",
    ).wait_until_ready()
    worker = runtime.workers()

    answers = [sleep(runtime, 20), sleep(runtime, 0), sleep(runtime, 20), sleep(runtime, 0)]

    assert [answer.status for answer in answers] == [504, 200, 504, 200]
    assert "PREDICT_TIMEOUT_SECONDS" in answers[0].error
    assert runtime.workers() == worker


def test_slow_predictions_on_every_worker_stop_neither_health_nor_quick_ones(
    start, sleeper, profile, pool
):
    runtime = start(sleeper, MODEL_SERVER=profile, PREDICT_THREADS="3").wait_until_ready()

    slow = [pool.submit(sleep, runtime, 2.5) for _ in range(2)]
    answers = [runtime.health() for _ in range(10)] + [sleep(runtime, 0) for _ in range(10)]

    assert not any(future.done() for future in slow)
    assert {answer.status for answer in answers} == {200}
    assert [future.result().json for future in slow] == [{"slept": 2.5}] * 2


def test_without_a_time_limit_a_prediction_takes_as_long_as_it_takes(start, sleeper, profile):
    runtime = start(sleeper, MODEL_SERVER=profile, PREDICT_TIMEOUT_SECONDS="0").wait_until_ready()

    assert sleep(runtime, 0.6).json == {"slept": 0.6}


def test_a_worker_full_of_stuck_predictions_is_not_healthy_until_they_end(
    start, sleeper, profile, pool
):
    runtime = start(
        sleeper, WORKERS="1", MODEL_SERVER=profile, PREDICT_TIMEOUT_SECONDS="0.1"
    ).wait_until_ready()

    for _ in range(8):
        assert sleep(runtime, 2.5).status == 504
    sick, refused = runtime.health(), sleep(runtime, 0)

    assert (sick.status, "still run" in sick.json["error"]) == (503, True)
    assert (refused.status, refused.headers["retry-after"]) == (503, "1")
    runtime.wait_until_ready()
    assert sleep(runtime, 0).json == {"slept": 0}


def test_more_predictions_than_may_wait_are_refused_at_once(start, sleeper, profile, pool):
    runtime = start(sleeper, WORKERS="1", MODEL_SERVER=profile, MAX_WAITING="2").wait_until_ready()

    answers = [future.result() for future in [pool.submit(sleep, runtime, 0.4) for _ in range(10)]]

    accepted = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status == 503]
    assert (len(accepted), len(refused)) == (3, 7)
    assert all(answer.headers["retry-after"] == "1" and answer.error for answer in refused)
    assert sleep(runtime, 0).status == 200


def test_a_prediction_that_waits_too_long_is_refused_and_never_started(
    start, sleeper, profile, pool
):
    runtime = start(
        sleeper, WORKERS="1", MODEL_SERVER=profile, PREDICT_TIMEOUT_SECONDS="1"
    ).wait_until_ready()

    first = pool.submit(sleep, runtime, 0.5)
    wait_for(lambda: runtime.health().status == 200, "health")
    others = [pool.submit(sleep, runtime, 1.5) for _ in range(3)]

    statuses = sorted([first.result().status, *(other.result().status for other in others)])
    # The second was running when its time was up; the others had not been started.
    assert statuses == [200, 503, 503, 504]
    assert sleep(runtime, 0).status == 200


def test_more_connections_than_allowed_are_told_to_come_back(start, sleeper, profile):
    runtime = start(
        sleeper, WORKERS="1", MODEL_SERVER=profile, MAX_CONNECTIONS="5"
    ).wait_until_ready()
    held = [runtime.connect() for _ in range(5)]
    for connection in held:
        assert connection.ask("GET", "/metrics").status == 200

    with runtime.connect() as extra:
        answer = extra.ask("GET", "/metrics")

    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    for connection in held:
        connection.socket.close()
    wait_for(lambda: runtime.ask("GET", "/metrics").status == 200, "room")


def test_an_idle_connection_is_kept_for_the_time_set_and_closed_after_it(start, sleeper, profile):
    keep_alive_s = 1.0
    runtime = start(
        sleeper, MODEL_SERVER=profile, KEEP_ALIVE_SECONDS=str(keep_alive_s)
    ).wait_until_ready()
    with runtime.connect() as used, runtime.connect() as closed, runtime.connect() as silent:
        opened = time.monotonic()
        for connection in (used, closed):
            assert connection.ask("GET", "/health").status == 200

        threading.Event().wait(keep_alive_s - 0.1)
        assert used.ask("GET", "/health").status == 200

        assert closed.closed_by_server(within_s=2 * keep_alive_s + 1)
        assert time.monotonic() - opened >= keep_alive_s
        assert silent.closed_by_server(within_s=2 * keep_alive_s + 1)


@pytest.mark.parametrize("choice", ["auto", "never", "always"])
def test_wherever_predictions_run_they_are_answered(start, sleeper, profile, choice):
    runtime = start(sleeper, MODEL_SERVER=profile, PREDICT_IN_THREADS=choice).wait_until_ready()
    with runtime.connect() as connection:
        for _ in range(250):  # beyond the number after which `auto` trusts
            answer = connection.ask("POST", "/", b'{"sleep": 0}', Content_Type="application/json")
            assert answer.json == {"slept": 0}
