"""Workers that are busy and workers that die: what the drills make of it, what the rules say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from custom_image.drills.load import Load, _replaced
from custom_image.drills.processes import workers
from custom_image.drills.worker_kill import Death, drill_deaths
from custom_image.engines import Process
from custom_image.errors import Unavailable
from custom_image.probing.http import TIMED_OUT, Answer
from custom_image.report import Verdict
from custom_image.rules import catalogue
from custom_image.rules.lifecycle.workers import _Use

RULES = {rule.id: rule for rule in catalogue()}
GOOD, BAD = Answer(200, b"{}"), Answer(503, b"{}")
FIRST = Process(1, 0, "python3 -m server")


class Instance:
    """Processes that can be killed; `after` says what becomes of the service then."""

    def __init__(self, *commands: str, after: str = "", refuses: str = "") -> None:
        self.after, self.refuses = after, refuses
        self.killed: list[str] = []
        self._processes = [FIRST, *(Process(n, 1, c) for n, c in enumerate(commands, 7))]

    def processes(self) -> list[Process]:
        return self._processes

    def execute(self, command: list[str]) -> tuple[int, str]:
        if self.refuses:
            return 1, self.refuses
        pids = command[-1].removeprefix("kill -9 ").split()
        self.killed += [p.command for p in self._processes if str(p.pid) in pids]
        self._processes = [p for p in self._processes if str(p.pid) not in pids]
        return 0, ""

    def is_running(self) -> bool:
        return not (self.killed and self.after == "ends")

    def check(self) -> Answer:
        return BAD if self.killed and self.after == "notices" else GOOD

    def ask(self) -> Answer:
        return BAD if self.killed and self.after in ("lies", "notices") else GOOD


def kill(instance: Instance) -> list[Death]:
    return drill_deaths(
        instance,
        check_health=instance.check,
        ask=instance.ask,
        expected_status=200,
        patience_s=0.01,
        pause=lambda _: None,
    )


@pytest.mark.parametrize(
    ("after", "is_unnoticed", "words"),
    [
        ("lies", True, "health: 200 in 0 ms: {}; a request: 503 in 0 ms: {}"),
        ("notices", False, "health: 503 in 0 ms: {}; a request: 503"),
        ("replaces", False, "health: 200 in 0 ms: {}; a request: 200"),
        ("ends", False, "the service ended"),
    ],
)
def test_only_a_death_that_health_keeps_quiet_about_counts(after, is_unnoticed, words):
    [death] = kill(Instance("worker", "worker", after=after))

    assert death.is_unnoticed is is_unnoticed
    assert str(death).startswith("worker (2): killed")
    assert words in str(death)


def test_processes_of_one_kind_die_together_and_kinds_one_after_the_other():
    instance = Instance("nginx: worker", "app", "nginx: worker", "sleep 99", "[zombie]")

    deaths = kill(instance)

    assert [death.kind for death in deaths] == ["nginx: worker (2)", "app (1)"]
    assert instance.killed == ["nginx: worker", "nginx: worker", "app"]


def test_what_cannot_be_killed_is_said():
    [death] = kill(Instance("worker", refuses="sh: not permitted"))

    assert str(death) == "worker (1): not killed: sh: not permitted"


def test_the_first_process_and_the_pauses_of_a_shell_are_no_workers():
    assert list(workers(Instance("worker", "sleep 5", "/bin/sleep 5", "[sh]"))) == [7]


def test_a_worker_is_replaced_where_another_with_its_command_stands_in_its_place():
    before = {7: Process(7, 1, "worker"), 8: Process(8, 1, "helper"), 9: Process(9, 1, "worker")}
    after = {9: Process(9, 1, "worker"), 12: Process(12, 1, "worker")}

    assert _replaced(before, after) == ["7 worker"]


def seen(**changes: Any) -> Load:
    known = {
        "seconds": 3.0,
        "answered": 400,
        "cut_off": (),
        "checks": (GOOD,) * 20,
        "open_check_s": 0.0,
        "workers": 2,
        "replaced": (),
        "has_ended": False,
    }
    return Load(**known | changes)


def judged(rule_id: str, load: Load, *deaths: Death) -> tuple[Verdict, str]:
    context = SimpleNamespace(
        once=lambda _key, _drill: _Use(load, deaths),
        config=SimpleNamespace(health=SimpleNamespace(timeout_seconds=None)),
    )
    finding = RULES[rule_id].judge(context)
    return finding.verdict, finding.measured


CUT = Answer(0, error="ConnectionResetError")


@pytest.mark.parametrize(
    ("load", "verdict", "words"),
    [
        (seen(), "PASSED", "400 requests, 2 workers, the same"),
        (seen(cut_off=(CUT,), replaced=("7 worker",)), "FAILED", "1 of 401 requests cut off"),
        (seen(replaced=("7 worker",)), "WARNING", "1 workers replaced, no request lost"),
        (seen(has_ended=True), "FAILED", "the service ended"),
    ],
)
def test_workers_have_to_stay(load, verdict, words):
    found, measured = judged("workers.stay", load)

    assert (found, words in measured) == (verdict, True)


@pytest.mark.parametrize(
    ("load", "verdict", "words"),
    [
        (seen(), "PASSED", "20 checks, the slowest 0 ms"),
        (seen(checks=(GOOD, BAD, BAD, GOOD, BAD)), "PASSED", "5 checks"),
        (seen(checks=(GOOD, BAD, BAD, BAD)), "FAILED", "3 checks in a row failed: 503"),
        (seen(open_check_s=2.5), "NOT CHECKED", "had waited 2.5 of its 10 s; use --level full"),
        (seen(checks=()), "NOT CHECKED", "no health check ended"),
    ],
)
def test_health_has_to_answer_while_workers_are_busy(load, verdict, words):
    found, measured = judged("workers.busy", load)

    assert (found, words in measured) == (verdict, True)


@pytest.mark.parametrize(
    ("deaths", "verdict", "words"),
    [
        ([], "PASSED", "one process"),
        ([Death("worker (2)", 0.7, check=GOOD, answer=GOOD)], "PASSED", "workers killed: 1"),
        ([Death("worker (2)", 5.1, is_unnoticed=True)], "FAILED", "healthy 5.1 s after worker (2)"),
        ([Death("worker (2)", not_killed="no sh")], "NOT CHECKED", "no worker could be killed"),
    ],
)
def test_health_has_to_notice_dead_workers(deaths, verdict, words):
    found, measured = judged("workers.dead", seen(), *deaths)

    assert (found, words in measured) == (verdict, True)


def test_a_service_that_ended_under_load_has_no_workers_to_kill():
    found, measured = judged("workers.dead", seen(has_ended=True))

    assert (found, measured) == ("NOT CHECKED", "it had ended before: see workers.stay")


@pytest.mark.parametrize("rule_id", ["workers.stay", "workers.busy", "workers.dead"])
def test_where_nothing_can_look_inside_nothing_is_judged(rule_id):
    def blind(_key, _drill):
        raise Unavailable("the processes of a process are read from /proc")

    config = SimpleNamespace(health=SimpleNamespace(timeout_seconds=None))
    finding = RULES[rule_id].judge(SimpleNamespace(once=blind, config=config))

    assert finding.verdict is Verdict.NOT_CHECKED


def test_a_request_that_waits_is_not_one_that_was_cut_off():
    assert Answer(0, error=TIMED_OUT).timed_out
    assert not CUT.timed_out
