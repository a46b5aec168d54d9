"""Drills that no load shows: SIGTERM, an upload that is no picture, weights that are missing."""

from __future__ import annotations

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

from benchmarks import client
from benchmarks.processes import Installed, NotServing, Server, can_unshare, started
from benchmarks.workload import multipart

REQUESTS_PER_S = 10
PATIENCE_S = 35.0
POLL_S = 0.02


@dataclass(frozen=True)
class Sigterm:
    """What became of a peer that got SIGTERM while it was busy.

    Attributes:
        exit_s: seconds until its first process ended; None where it had to be killed.
        exit_code: negative for a signal; None where it had to be killed.
        slow_answered: whether the request that was under way got its right answer.
        lost: of the ``sent`` requests, those without a right answer.
        window_s: how long requests went on being sent.
        patience_s: how long after that the end was waited for.
        orphans: processes that outlived the first one.
        as_first_process: whether it ran as process 1, as in a container.
    """

    exit_s: float | None
    exit_code: int | None
    slow_answered: bool
    lost: int
    sent: int
    window_s: float
    patience_s: float
    orphans: int
    as_first_process: bool


def drill_sigterm(installed: Installed, window_s: float) -> Sigterm:
    """Send SIGTERM under an idle kept-alive connection, a slow request and ten new ones a second.

    Raises:
        NotServing: it did not get ready, or never began with the slow request.
    """
    as_first_process = can_unshare()
    with started(installed, drain_s=window_s, as_first_process=as_first_process) as server:
        server.wait_until_ready()
        idle = _open_idle_connection(server)
        with ThreadPoolExecutor(64) as requests:
            slow = requests.submit(server.predict, server.workload.slow_body, 30.0)
            _wait_until_slow(server)
            signalled_at = time.monotonic()
            os.kill(server.first_process(), signal.SIGTERM)
            end = _Exit(server, signalled_at)
            answers = []
            for number in range(round(window_s * REQUESTS_PER_S)):
                due = signalled_at + number / REQUESTS_PER_S
                end.done.wait(max(0.0, due - time.monotonic()))
                if end.done.is_set() and not server.processes():
                    break  # Nothing is left that could answer: the rest of the window is lost.
                answers.append(requests.submit(server.is_right))
            end.done.wait(max(0.0, signalled_at + window_s + PATIENCE_S - time.monotonic()))
            orphans = len(server.processes()) if end.done.is_set() else 0
            server.end()
            right = sum(answer.result() for answer in answers)
            slow_answered = slow.result().digit() is not None
        idle.close()
    sent = round(window_s * REQUESTS_PER_S)
    return Sigterm(
        exit_s=end.seconds,
        exit_code=end.code,
        slow_answered=slow_answered,
        lost=sent - right,
        sent=sent,
        window_s=window_s,
        patience_s=PATIENCE_S,
        orphans=orphans,
        as_first_process=as_first_process,
    )


class _Exit:
    """Watches for the end of a server's first process, so that its time is exact."""

    def __init__(self, server: Server, signalled_at: float) -> None:
        self.done = threading.Event()
        self.seconds: float | None = None
        self.code: int | None = None
        threading.Thread(target=self._watch, args=(server, signalled_at), daemon=True).start()

    def _watch(self, server: Server, signalled_at: float) -> None:
        code = server.process.wait()
        if code != -signal.SIGKILL:  # That is this harness, which lost patience.
            self.seconds = round(time.monotonic() - signalled_at, 2)
            self.code = code
        self.done.set()


def _open_idle_connection(server: Server) -> HTTPConnection:
    connection = HTTPConnection(client.HOST, server.port, timeout=10)
    connection.request("GET", server.peer.health)
    connection.getresponse().read()
    return connection


def _wait_until_slow(server: Server) -> None:
    begun = Path(f"{server.workload.slow_path}.started.{server.port}")
    deadline = time.monotonic() + 10
    while not begun.exists():
        if time.monotonic() > deadline:
            raise NotServing("the slow request was not begun within 10 s")
        time.sleep(POLL_S)
    begun.unlink()


def answer_to_text(server: Server) -> str:
    """Upload text where a picture belongs; return the status, or why there is none."""
    answer = server.predict(multipart(b"this is no picture\n" * 20, "digit.jpg"))
    return str(answer.status) if answer.status else answer.text


def health_without_weights(installed: Installed, wait_s: float) -> str:
    """Start with a model file that is not there; return what health says within ``wait_s``."""
    seen = set()
    missing = installed.folder / "missing" / "model"
    with started(installed, drain_s=0, model_path=missing) as server:
        deadline = time.monotonic() + wait_s
        while time.monotonic() < deadline:
            status = client.get(server.port, server.peer.health).status
            if status == 200:
                return "200, false"
            seen.add(status)
            if server.process.poll() is not None:
                return f"ends with code {server.process.returncode}"
            time.sleep(POLL_S)
        # Statuses come before the mere silence of a port that nobody has opened yet.
        return ", ".join(str(status) for status in sorted(seen - {0})) or "no answer"
