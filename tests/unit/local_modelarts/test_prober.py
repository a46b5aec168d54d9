"""The threads that ask the probes of one instance, on a container of paper."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import pytest
from runtime import wait_for

from custom_image.errors import Unavailable
from local_modelarts.runtime.prober import Monitor
from local_modelarts.runtime.probes import ROLES, Probe
from local_modelarts.storage.specs import InstanceSpec

Answers = Mapping[str, Callable[[], str]]
Begin = Callable[..., Monitor]


class PaperInstances:
    """Answers each probe, told by its URL, with what a test says."""

    def __init__(self, answers: Answers) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def probe(self, name: str, spec: InstanceSpec, probe: Probe, address: str) -> str:
        self.asked.append(probe.url)
        return self.answers[probe.url]()


@pytest.fixture
def begin() -> Iterator[Begin]:
    with ExitStack() as stack:

        def begin(instances: PaperInstances, wake: Callable[[], None] = lambda: None) -> Monitor:
            probes = {
                role: Probe("HTTP", url=role, period_s=0.01, failures=3).to_json() for role in ROLES
            }
            spec = InstanceSpec(image="image", port=8080, probes=probes)
            monitor = Monitor(
                instances,  # type: ignore[arg-type]
                "instance",
                spec,
                "10.0.0.1",
                speed=1,
                age_s=0,
                has_started=False,
                wake=wake,
            )
            stack.callback(monitor.stop)
            return monitor

        yield begin


def good() -> str:
    return ""


def test_a_probe_that_hangs_holds_up_no_other(begin: Begin) -> None:
    gate = threading.Event()

    def hang() -> str:
        gate.wait(60)
        return ""

    instances = PaperInstances(
        {"startup": good, "readiness": hang, "liveness": lambda: "it answered 500"}
    )
    monitor = begin(instances)

    wait_for(lambda: monitor.failed == "liveness", "the liveness probe fails")
    assert monitor.fault == "it answered 500"
    assert (monitor.has_started, monitor.is_ready) == (True, False)
    gate.set()
    wait_for(lambda: monitor.is_ready, "it is ready")


def test_startup_is_asked_alone_and_then_no_more(begin: Begin) -> None:
    answers = iter(["no", "no", ""])
    woken = threading.Event()
    instances = PaperInstances(
        {"startup": lambda: next(answers), "readiness": good, "liveness": good}
    )
    monitor = begin(instances, woken.set)

    wait_for(lambda: len(instances.asked) > 20, "the others are asked")
    assert instances.asked[:3] == ["startup"] * 3
    assert set(instances.asked[3:]) == {"readiness", "liveness"}
    assert (monitor.is_ready, monitor.failed, woken.is_set()) == (True, "", True)


def test_an_engine_that_does_not_answer_says_nothing_of_the_instance(begin: Begin) -> None:
    is_down = threading.Event()

    def answer() -> str:
        if is_down.is_set():
            raise Unavailable("the Docker engine does not answer")
        return ""

    instances = PaperInstances(dict.fromkeys(ROLES, answer))
    monitor = begin(instances)
    wait_for(lambda: monitor.is_ready, "it is ready")

    is_down.set()
    before = len(instances.asked)
    wait_for(lambda: len(instances.asked) > before + 20, "it is asked on")
    assert (monitor.is_ready, monitor.failed) == (True, "")


def test_who_was_told_to_stop_asks_no_more_and_tells_no_more(begin: Begin) -> None:
    gate = threading.Event()

    def slow() -> str:
        gate.wait(60)
        return ""

    instances = PaperInstances({"startup": slow, "readiness": good, "liveness": good})
    monitor = begin(instances)
    wait_for(lambda: instances.asked, "it is asked")

    monitor.stop()
    gate.set()

    wait_for(lambda: not [t for t in threading.enumerate() if "of instance" in t.name], "their end")
    assert (instances.asked, monitor.has_started) == (["startup"], False)
