"""Jobs in threads, each of which may be begun again after a crash.

A resource in a transient status (CREATING, SNAPSHOTTING, ...) has a job. It is submitted by the
call that set the status, and again by whoever looks around and finds the status without a job.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

_log = logging.getLogger("local_modelarts")
_THREADS: Final = 4
_TICK_S: Final = 0.5


class Jobs:
    """A few threads, and one more that looks around twice a second."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="job")
        self._running: set[str] = set()
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._watch: threading.Thread | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether jobs should give up where they are, to be begun again by the next platform."""
        return self._stopping.is_set()

    def submit(self, job: Callable[[str], None], resource_id: str) -> None:
        """Run a job for a resource, unless one runs for it already."""
        with self._lock:
            if resource_id in self._running or self.is_stopping:
                return
            self._running.add(resource_id)
        self._threads.submit(self._run, job, resource_id)

    def watch(self, *checks: Callable[[], None]) -> None:
        """Begin to call the checks again and again."""

        def look() -> None:
            while not self.is_stopping:
                for check in checks:
                    try:
                        check()
                    except Exception:  # noqa: BLE001 - the next look may go well, and others depend on it
                        _log.exception("a check failed")
                self._stopping.wait(_TICK_S)

        self._watch = threading.Thread(target=look, name="watch", daemon=True)
        self._watch.start()

    def stop(self) -> None:
        """Let the running jobs come to a point from which they can be begun again."""
        self._stopping.set()
        if self._watch:
            self._watch.join()
        self._threads.shutdown(cancel_futures=True)

    def _run(self, job: Callable[[str], None], resource_id: str) -> None:
        try:
            job(resource_id)
        except Exception:  # noqa: BLE001 - a job answers for what it expects: this is a bug, to be logged
            _log.exception("the job of %s failed", resource_id)
        finally:
            with self._lock:
                self._running.discard(resource_id)


class LongJobs:
    """Work that may take hours: a thread for each resource; any end of the platform may cut it.

    Unlike :class:`Jobs`, nobody waits long for these threads: whatever they do is written so that
    a kill loses nothing, and an ordered end is no harder than a kill.
    """

    def __init__(self) -> None:
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
        with self._lock:
            if resource_id in self._threads or self.is_stopping:
                return
            thread = threading.Thread(target=self._run, args=(job, resource_id), daemon=True)
            self._threads[resource_id] = thread
            thread.start()

    def begin_stop(self) -> None:
        """Let no further job begin, and tell those that run."""
        self._stopping.set()

    def join(self, patience_s: float) -> None:
        """Wait for the jobs to end, for a while."""
        deadline = time.monotonic() + patience_s
        with self._lock:
            threads = list(self._threads.values())
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self, job: Callable[[str], None], resource_id: str) -> None:
        try:
            job(resource_id)
        except Exception:  # noqa: BLE001 - a job answers for what it expects: this is a bug, to be logged
            if not self.is_stopping:
                _log.exception("the job of %s failed", resource_id)
        finally:
            with self._lock:
                self._threads.pop(resource_id, None)
