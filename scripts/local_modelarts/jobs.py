"""What goes on while nobody asks: jobs in threads, each of which may be begun again after a crash.

A resource in a transient status (CREATING, SNAPSHOTTING, ...) has a job. It is submitted by the
call that set the status, and again by whoever looks around and finds the status without a job.
"""

from __future__ import annotations

import logging
import threading
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
