"""Jobs in threads, each of which may be begun again after a crash.

A resource in a transient status (CREATING, SNAPSHOTTING, ...) has a job. It is submitted by the
call that set the status, and again by whoever looks around and finds the status without a job.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final

_log = logging.getLogger("local_modelarts")
_TICK_S: Final = 0.5


class Jobs:
    """A thread for each resource that has a job, and one more that looks around twice a second.

    Args:
        at_once: how many work, the others wait; 0 for any number.
    """

    def __init__(self, at_once: int = 0) -> None:
        self._turn: AbstractContextManager[object] = (
            threading.Semaphore(at_once) if at_once else nullcontext()
        )
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    @property
    def is_stopping(self) -> bool:
        """Whether jobs should give up where they are, to be begun again by the next platform."""
        return self._stopping.is_set()

    def pause(self, seconds: float) -> None:
        """Wait, unless the platform stops meanwhile."""
        self._stopping.wait(seconds)

    def submit(self, job: Callable[[str], None], resource_id: str) -> None:
        """Run a job for a resource, unless one runs for it already."""
        self._start(lambda: self._run(job, resource_id), resource_id)

    def watch(self, *checks: Callable[[], None]) -> None:
        """Begin to call the checks again and again."""

        def look() -> None:
            while not self.is_stopping:
                for check in checks:
                    try:
                        check()
                    except Exception:  # noqa: BLE001 - the next look may go well, and others depend on it
                        _log.exception("a check failed")
                self.pause(_TICK_S)

        self._start(look, "watch")

    def begin_stop(self) -> None:
        """Let no further job begin, and tell those that run."""
        self._stopping.set()

    def join(self, patience_s: float = threading.TIMEOUT_MAX) -> None:
        """Wait for the jobs to end: to come to a point from which they can be begun again."""
        deadline = time.monotonic() + patience_s
        with self._lock:
            threads = list(self._threads.values())
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _start(self, work: Callable[[], None], name: str) -> None:
        with self._lock:
            if name not in self._threads and not self.is_stopping:
                self._threads[name] = threading.Thread(target=work, name=name, daemon=True)
                self._threads[name].start()

    def _run(self, job: Callable[[str], None], resource_id: str) -> None:
        try:
            with self._turn:
                if not self.is_stopping:
                    job(resource_id)
        except Exception:  # noqa: BLE001 - a job answers for what it expects: this is a bug, to be logged
            if not self.is_stopping:
                _log.exception("the job of %s failed", resource_id)
        finally:
            with self._lock:
                self._threads.pop(resource_id, None)
