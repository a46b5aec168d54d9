"""The instances that one batch works with: containers of the model's image."""

from __future__ import annotations

import threading
import time
from typing import Final

from custom_image.errors import ServiceNotReady
from local_modelarts.platform import Platform
from local_modelarts.runtime.instances import ServingInstances
from local_modelarts.storage.specs import InstanceSpec

BATCH_LABEL: Final = "custom-image.batch"
_STARTS: Final = 3


class Crew:
    """Instances by their place, started when they are first asked for."""

    def __init__(
        self,
        platform: Platform,
        serving: ServingInstances,
        batch_id: str,
        spec: InstanceSpec,
        *,
        size: int,
        start_s: float,
    ) -> None:
        self._serving, self._spec, self._start_s = serving, spec, start_s
        self._labels = platform.identity.labels | {BATCH_LABEL: batch_id}
        self._names = [f"local-modelarts-batch-{batch_id}-{place}" for place in range(size)]
        self._urls = [""] * size
        self._locks = [threading.Lock() for _ in self._names]

    def __len__(self) -> int:
        return len(self._names)

    def url(self, place: int) -> str:
        """Return where an instance answers, after starting it anew where it has ended.

        Raises:
            CustomImageError: the engine is gone, or the instance does not come up in time.
        """
        with self._locks[place]:
            if not self._urls[place]:
                self._urls[place] = self._start(self._names[place])
            return self._urls[place]

    def _start(self, name: str) -> str:
        """Start an instance, a few times if need be: one may still seem to run while it ends."""
        deadline = time.monotonic() + self._start_s
        for tries_left in reversed(range(_STARTS)):
            self._serving.start(name, self._spec, self._labels)
            left_s = max(0.0, deadline - time.monotonic())
            try:
                return self._serving.wait_until_ready(name, self._spec, left_s)
            except ServiceNotReady:
                if not tries_left or time.monotonic() >= deadline:
                    raise
        raise AssertionError

    def doubt(self, place: int) -> None:
        """Look, before its address is given again, whether an instance still runs."""
        self._urls[place] = ""
