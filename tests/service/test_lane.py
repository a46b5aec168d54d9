"""Where predictions run: trust is earned by quick ones and lost by a slow one."""

from __future__ import annotations

import threading

import pytest
from runtime import wait_for

from model_service.http.messages import Refused, Response
from model_service.inference.lane import (
    HICCUP_COST,
    MAX_STUCK,
    QUICK_SECONDS,
    SLOW_SECONDS,
    SMALL_BYTES,
    TRUST_NEEDED,
    JobState,
    Lane,
)
from model_service.settings import read_settings


def make_lane(**settings: str) -> Lane:
    return Lane(read_settings(settings))


def answer_quickly(lane: Lane, times: int) -> None:
    for _ in range(times):
        lane.took(QUICK_SECONDS / 2, 100)


def test_predictions_move_into_the_loop_after_many_quick_ones():
    lane = make_lane()

    answer_quickly(lane, TRUST_NEEDED - 1)
    assert not lane.inline(100)
    answer_quickly(lane, 1)

    assert lane.inline(100)


def test_a_large_body_never_runs_in_the_loop_and_does_not_cost_trust():
    lane = make_lane()
    answer_quickly(lane, TRUST_NEEDED)

    lane.took(10 * SLOW_SECONDS, SMALL_BYTES + 1)

    assert lane.inline(SMALL_BYTES)
    assert not lane.inline(SMALL_BYTES + 1)


def test_one_slow_prediction_moves_them_out_and_makes_trust_dearer():
    lane = make_lane()
    answer_quickly(lane, TRUST_NEEDED)

    lane.took(2 * SLOW_SECONDS, 100)
    assert not lane.inline(100)
    answer_quickly(lane, TRUST_NEEDED)
    assert not lane.inline(100)
    answer_quickly(lane, TRUST_NEEDED)

    assert lane.inline(100)


def have_hiccups(lane: Lane, times: int) -> None:
    for _ in range(times):
        lane.took((QUICK_SECONDS + SLOW_SECONDS) / 2, 100)


def test_hiccups_delay_trust():
    lane = make_lane()

    for _ in range(TRUST_NEEDED // 10 - 1):
        answer_quickly(lane, 10 + HICCUP_COST)
        assert not lane.inline(100)
        have_hiccups(lane, 1)
    answer_quickly(lane, 10)

    assert lane.inline(100)


def test_a_few_hiccups_do_not_cost_trust_and_many_do():
    lane = make_lane()
    answer_quickly(lane, 3 * TRUST_NEEDED)

    have_hiccups(lane, TRUST_NEEDED // HICCUP_COST)
    assert lane.inline(100)
    have_hiccups(lane, 1)

    assert not lane.inline(100)


def test_predictions_that_are_never_quick_stay_in_threads():
    lane = make_lane()

    for _ in range(10 * TRUST_NEEDED):
        answer_quickly(lane, 1)
        have_hiccups(lane, 1)

    assert not lane.inline(100)


@pytest.mark.parametrize(("choice", "inline"), [("never", True), ("always", False)])
def test_the_choice_can_be_forced(choice, inline):
    lane = make_lane(PREDICT_IN_THREADS=choice)
    answer_quickly(lane, TRUST_NEEDED)

    assert lane.inline(100) is inline


def test_a_job_that_is_given_up_delivers_nothing_and_leaves_room_for_the_next():
    lane, go, delivered = make_lane(), threading.Event(), []

    def wait() -> Response:
        go.wait(10)
        return Response(200)

    stuck = lane.submit(wait, delivered.append)
    waiting = lane.submit(lambda: Response(204), delivered.append)
    wait_for(lambda: stuck.state is JobState.RUNNING, "the first job to start")
    refusal = lane.give_up(stuck)
    wait_for(lambda: delivered, "the second job")
    go.set()
    wait_for(lambda: lane.stuck == 0, "the first job to end")

    assert refusal.status == 504
    assert waiting.state is JobState.DONE
    assert delivered == [Response(204)]
    assert lane.in_flight == 0


def test_a_job_given_up_before_it_starts_never_starts():
    lane, go, ran, delivered = make_lane(), threading.Event(), [], []

    first = lane.submit(lambda: Response(200 if go.wait(10) else 500), delivered.append)
    second = lane.submit(lambda: ran.append(True) or Response(200), delivered.append)
    wait_for(lambda: first.state is JobState.RUNNING, "the first job to start")
    refusal = lane.give_up(second)
    go.set()
    wait_for(lambda: lane.in_flight == 0, "the queue to empty")

    assert (refusal.status, ran, delivered) == (503, [], [Response(200)])


def test_as_many_run_at_once_as_set_and_as_many_wait():
    lane, go = make_lane(PREDICT_THREADS="3", MAX_WAITING="2"), threading.Event()
    running = threading.Semaphore(0)

    def wait() -> Response:
        running.release()
        go.wait(10)
        return Response(200)

    for _ in range(5):
        lane.submit(wait, lambda _: None)
    for _ in range(3):
        assert running.acquire(timeout=10)
    with pytest.raises(Refused) as refusal:
        lane.submit(wait, lambda _: None)

    assert not running.acquire(blocking=False)
    assert (refusal.value.status, refusal.value.headers) == (503, ((b"retry-after", b"1"),))
    go.set()


def test_too_many_stuck_threads_refuse_more_work():
    lane, go = make_lane(), threading.Event()
    for _ in range(MAX_STUCK):
        job = lane.submit(lambda: Response(200 if go.wait(10) else 500), lambda _: None)
        wait_for(lambda job=job: job.state is JobState.RUNNING, "the job to start")
        lane.give_up(job)

    with pytest.raises(Refused, match=f"{MAX_STUCK} predictions"):
        lane.submit(lambda: Response(200), lambda _: None)

    go.set()
    wait_for(lambda: lane.stuck == 0, "the stuck ones to end")
    lane.submit(lambda: Response(200), lambda _: None)


def test_a_job_that_ends_while_it_is_given_up_leaves_the_counts_right():
    lane, delivered = make_lane(), []
    job = lane.submit(lambda: Response(200), delivered.append)
    wait_for(lambda: delivered, "the job")

    assert lane.give_up(job).status == 504
    assert (lane.in_flight, lane.stuck) == (0, 0)
