"""An instance in use by many clients at once: what they get, what its health check says meanwhile.

As in :mod:`~custom_image.drills.sigterm`, what is seen is written down here and judged by rules.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event, Lock
from typing import Final

from custom_image.drills.processes import workers
from custom_image.engines import Instance, Process
from custom_image.probing.http import Answer, Request, ask_on, connect, is_closed_by_server

CLIENTS: Final = 10
PAUSE_S: Final = 0.02
"""Between an answer and the next request of a client."""
CHECK_INTERVAL_S: Final = 0.1
SETTLE_S: Final = 1.2
"""What is gone by then was never meant to stay: helpers of a start."""
IN_A_ROW: Final = 3
"""Health checks that fail one after the other; the platform excuses single ones, too."""


@dataclass(frozen=True)
class Load:
    """What was seen.

    Attributes:
        seconds: how long it was in use.
        clients: how many asked.
        answered: how many requests got an answer.
        cut_off: requests whose connection the service ended instead; not those that waited.
        checks: the answers of the health check, in order.
        open_check_s: how long the last check had been waiting for its answer at the end; 0 if none.
        workers: how many processes there were beside the first.
        replaced: those that ended meanwhile, others with their command in their place.
        has_ended: whether the first process ended.
    """

    seconds: float
    answered: int
    cut_off: tuple[Answer, ...]
    checks: tuple[Answer, ...]
    open_check_s: float
    workers: int
    replaced: tuple[str, ...]
    has_ended: bool
    clients: int = CLIENTS

    def failures_in_a_row(self) -> tuple[Answer, ...]:
        """Return the health checks that failed one after the other, so many that it counts."""
        failures: list[Answer] = []
        for check in self.checks:
            failures = [] if check.is_good else [*failures, check]
            if len(failures) == IN_A_ROW:
                return tuple(failures)
        return ()


@dataclass
class _Diary:
    """What the threads write down until it is over."""

    over: Event = field(default_factory=Event)
    answers: list[Answer] = field(default_factory=list)
    checks: list[Answer] = field(default_factory=list)
    check_began: float | None = None
    lock: Lock = field(default_factory=Lock)

    def note(self, answer: Answer) -> None:
        with self.lock:
            if not self.over.is_set():
                self.answers.append(answer)


def drill_load(
    instance: Instance,
    url: str,
    request: Request,
    *,
    check_health: Callable[[], Answer] | None,
    for_s: float,
    longest_s: float = 0.0,
    clients: int = CLIENTS,
    pause: Callable[[float], None] = time.sleep,
) -> Load:
    """Let clients ask one request after the other, and ask for health beside them.

    Args:
        instance: an instance of one's own, ready.
        url: where it answers.
        request: one that it answers.
        check_health: asks as the platform does; None where there is no health check.
        for_s: how long, unless the health check fails often enough before.
        clients: how many ask.
        longest_s: how long where a health check is still waiting for its answer then.
        pause: waits, and may raise to call the drill off.

    Raises:
        Unavailable: nothing here can look inside.
    """
    before = workers(instance)
    pause(SETTLE_S)
    before = {pid: known for pid, known in workers(instance).items() if pid in before}
    diary = _Diary()
    began = time.monotonic()
    pool = ThreadPoolExecutor(clients + 1, thread_name_prefix="client")
    try:
        running = [pool.submit(_come, diary, url, request) for _ in range(clients)]
        if check_health is not None:
            running.append(pool.submit(_check, diary, check_health))
        while not _is_enough(diary.checks):
            seconds = time.monotonic() - began
            if seconds >= (max(for_s, longest_s) if diary.check_began else for_s):
                break
            pause(CHECK_INTERVAL_S)
        seconds = time.monotonic() - began
        open_since = diary.check_began
        has_ended = not instance.is_running()
        after = {} if has_ended else workers(instance)
    finally:
        diary.over.set()
        # Nobody waits for these threads: each ends with its last answer, or with the instance.
        pool.shutdown(wait=False)
    for client in running:
        if client.done():
            client.result()  # raises what it should not have met
    return Load(
        seconds=seconds,
        answered=sum(bool(answer.status) for answer in diary.answers),
        cut_off=tuple(a for a in diary.answers if not a.status and not a.timed_out),
        checks=tuple(diary.checks),
        open_check_s=began + seconds - open_since if open_since is not None else 0.0,
        workers=len(before),
        replaced=tuple(_replaced(before, after)),
        has_ended=has_ended,
        clients=clients,
    )


def _replaced(before: dict[int, Process], after: dict[int, Process]) -> list[str]:
    new = {process.command for pid, process in after.items() if pid not in before}
    gone = [process for pid, process in before.items() if pid not in after]
    return [f"{p.pid} {p.command[:80]}" for p in gone if p.command in new]


def _is_enough(checks: list[Answer]) -> bool:
    return len(checks) >= IN_A_ROW and not any(check.is_good for check in checks[-IN_A_ROW:])


def _come(diary: _Diary, url: str, request: Request) -> None:
    connection = connect(url)
    while not diary.over.wait(PAUSE_S):
        if is_closed_by_server(connection):
            connection.close()  # the next request opens it again
        answer = ask_on(connection, request)
        diary.note(answer)
        if answer.closes:
            connection.close()
    connection.close()


def _check(diary: _Diary, check_health: Callable[[], Answer]) -> None:
    while not diary.over.wait(CHECK_INTERVAL_S):
        diary.check_began = time.monotonic()
        answer = check_health()
        if not diary.over.is_set():
            diary.checks.append(answer)
            diary.check_began = None
