"""Jobs: one for each resource, so many at once, and an end that begins nothing more."""

from __future__ import annotations

import threading

from local_modelarts.jobs import Jobs


class Work:
    """A job that waits until it is let go, and knows who worked."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.may_end = threading.Event()
        self.begun = threading.Semaphore(0)

    def __call__(self, resource_id: str) -> None:
        self.began.append(resource_id)
        self.begun.release()
        assert self.may_end.wait(60)

    def wait_for_one(self) -> None:
        assert self.begun.acquire(timeout=60)


def test_a_resource_has_one_job_at_a_time() -> None:
    jobs, work = Jobs(), Work()
    for resource in ("a", "a", "b"):
        jobs.submit(work, resource)
    for _ in range(2):
        work.wait_for_one()
    work.may_end.set()
    jobs.join()

    assert sorted(work.began) == ["a", "b"]
    jobs.submit(work, "a")
    jobs.join()
    assert sorted(work.began) == ["a", "a", "b"], "after its end it may have another"


def test_what_waits_for_its_turn_when_the_end_begins_is_left_to_the_next_platform() -> None:
    jobs, work = Jobs(at_once=1), Work()
    for resource in ("a", "b", "c"):
        jobs.submit(work, resource)
    work.wait_for_one()
    jobs.begin_stop()
    work.may_end.set()
    jobs.join()

    assert len(work.began) == 1
    jobs.submit(work, "d")
    jobs.join()
    assert len(work.began) == 1


def test_an_end_without_patience_leaves_a_job_that_does_not_end() -> None:
    jobs, work = Jobs(), Work()
    jobs.submit(work, "a")
    work.wait_for_one()
    jobs.begin_stop()
    jobs.join(0.0)

    assert not work.may_end.is_set(), "the job still waits"
    work.may_end.set()
    jobs.join()


def test_a_check_that_fails_stops_neither_the_others_nor_the_next_look() -> None:
    jobs, looks = Jobs(), threading.Semaphore(0)

    def fail() -> None:
        raise ValueError("a check")

    jobs.watch(fail, looks.release)
    for _ in range(2):
        assert looks.acquire(timeout=60)
    jobs.begin_stop()
    jobs.join()
