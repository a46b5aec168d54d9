"""The instances that a verification has started, each of which is gone at its end."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import BoundedSemaphore, Event, Lock
from typing import Final

from custom_image.engines import Instance, StartOptions
from custom_image.rules import Cancelled

STARTS_AT_ONCE: Final = max(2, os.cpu_count() or 1)
"""A start computes; drills that began earlier, and measure, run beside it."""


class Instances:
    """Starts instances and removes them, until it is over.

    Attributes:
        starting: held while an instance comes up: only some do at a time.
    """

    def __init__(self, start: Callable[[StartOptions], Instance]) -> None:
        self.starting = BoundedSemaphore(STARTS_AT_ONCE)
        self._start = start
        self._over = Event()
        self._lock = Lock()
        self._running: list[Instance] = []

    def start(self, options: StartOptions) -> Instance:
        """Start an instance.

        Raises:
            Cancelled: it is over.
        """
        instance = self._start(options)
        with self._lock:
            self._running.append(instance)
        if self._over.is_set():
            self.remove(instance)
            raise Cancelled
        return instance

    def remove(self, instance: Instance) -> None:
        """Stop an instance. Idempotent."""
        instance.stop()
        with self._lock:
            if instance in self._running:
                self._running.remove(instance)

    def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            Cancelled: it is over.
        """
        if self._over.wait(seconds):
            raise Cancelled

    def end(self) -> None:
        """Wake everybody who waits, and remove what runs."""
        self._over.set()
        with self._lock:
            running = list(self._running)
        for instance in running:
            self.remove(instance)
