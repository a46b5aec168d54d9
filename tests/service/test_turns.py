"""Connections are shared fairly, and not with workers that cannot answer yet."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest
from runtime import head, wait_for, write_package
from sleeper import SLEEPER, SLEEPER_CONFIG

from model_service.processes.board import Board, State
from model_service.servers.turns import LOADING_PAUSE_SECONDS, YIELD_SECONDS, Turns


def make_turns(states: list[State]) -> list[Turns]:
    board = Board(len(states), 1)
    for slot, state in enumerate(states):
        board.set_state(slot, state)
    return [Turns(board, slot) for slot in range(len(states))]


def test_a_worker_that_leads_yields_once_and_then_accepts():
    first, second = make_turns([State.READY, State.READY])
    second.hold(0)

    assert first.take(1) == (0, YIELD_SECONDS)
    assert first.take(1) == (1, 0.0)
    assert first.take(2) == (0, YIELD_SECONDS)
    assert second.take(0) == (3, 0.0)


def test_a_worker_far_behind_catches_up_in_one_go():
    first, second = make_turns([State.READY, State.READY])
    first.hold(10)

    assert second.take(0) == (11, 0.0)


def test_a_burst_does_not_wait_for_perfect_fairness():
    first, second = make_turns([State.READY, State.READY])
    second.hold(30)

    assert first.take(32)[0] >= 1


@pytest.mark.parametrize("state", [State.LOADING, State.FAILED])
def test_a_worker_that_cannot_answer_leaves_connections_to_one_that_can(state):
    able, unable = make_turns([State.READY, state])
    able.hold(50)

    assert unable.take(0) == (0, LOADING_PAUSE_SECONDS)
    assert able.take(50)[0] >= 1


@pytest.mark.parametrize("state", [State.LOADING, State.FAILED])
def test_where_no_worker_can_answer_all_accept_to_say_why(state):
    for turns in make_turns([state, state]):
        assert turns.take(0) == (1, 0.0)


def test_a_single_worker_accepts_everything():
    (turns,) = make_turns([State.READY])

    assert [turns.take(held)[0] for held in (0, 1, 100)] == [1, 1, 13]


@pytest.mark.parametrize("number", [8, 64])
def test_connections_are_spread_over_the_workers(start, tmp_path, profile, number):
    package = write_package(tmp_path / "package", SLEEPER, SLEEPER_CONFIG)
    runtime = start(package, MODEL_SERVER=profile).wait_until_ready()

    connections = [runtime.connect() for _ in range(number)]
    for connection in connections:
        connection.send(head("GET", "/health", X_Request_Id="spread-"))
    for connection in connections:
        assert connection.read().status == 200

    lines = [line for line in runtime.logs().splitlines() if "id=spread-" in line]
    spread = Counter(line.rpartition("worker=")[2] for line in lines)
    assert min(spread["0"], spread["1"]) >= number // 4


SLOW_START = (
    SLEEPER
    + """
    def __init__(self, model_name, model_path):
        super().__init__(model_name, model_path)
        time.sleep(0.7)
"""
)


def test_while_a_worker_is_replaced_no_new_connection_meets_a_loading_one(start, tmp_path, profile):
    package = write_package(tmp_path / "package", SLOW_START, SLEEPER_CONFIG)
    runtime = start(package, MODEL_SERVER=profile).wait_until_ready()
    victim = runtime.workers()[0]

    os.kill(victim, signal.SIGKILL)
    wait_for(lambda: victim not in runtime.workers(), "the worker to go")
    statuses: list[int] = []

    def ask_until_all_are_ready():
        statuses.append(runtime.post_json({"sleep": 0}).status)
        return runtime.metrics()['model_service_workers{state="ready"}'] == 2

    wait_for(ask_until_all_are_ready, "the new worker")
    assert len(statuses) > 1
    assert set(statuses) == {200}
