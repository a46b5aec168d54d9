"""Work that may take hours: a thread for each resource, which any end of the platform may cut off.

Unlike :mod:`local_modelarts.jobs`, nobody waits for these threads for long: whatever they do is
written so that a kill loses nothing, and an ordered end is no harder than a kill.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

_log = logging.getLogger("local_modelarts")


class LongJobs:
    """Threads by the id of the resource that they work for."""

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
