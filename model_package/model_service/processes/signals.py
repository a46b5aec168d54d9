"""Signals, noted as they come. Imports next to nothing, because it comes before everything else."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time


class Signals:
    """Notes signals, so that a loop can act on them.

    Attributes:
        seen: signal number -> when (monotonic) it came first.
    """

    def __init__(self) -> None:
        self.seen: dict[int, float] = {}
        self.readable, writable = os.pipe()
        for end in (self.readable, writable):
            os.set_blocking(end, False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, self._note)
        signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
        # The boot file blocked it until there is somebody to note it: it may be waiting since.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def _note(self, number: int, _frame: object) -> None:
        self.seen.setdefault(number, time.monotonic())

    def wait(self, seconds: float) -> None:
        """Sleep until a signal comes, at most so long."""
        select.select([self.readable], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self.readable, 4096)
