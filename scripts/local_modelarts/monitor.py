"""A thread a running instance that asks its probes; others read what it has found."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from local_modelarts.probes import ROLES, Vitals, from_json
from local_modelarts.serving_instances import InstanceSpec, ServingInstances

_LONGEST_PAUSE_S: Final = 1.0


class Monitor:
    """Asks one container until it is told to stop.

    Attributes:
        fault: what the last probe that failed has found.
    """

    def __init__(
        self,
        instances: ServingInstances,
        name: str,
        spec: InstanceSpec,
        address: str,
        *,
        speed: int,
        age_s: float,
        has_started: bool,
        wake: Callable[[], None],
    ) -> None:
        found = {role: from_json(spec.probes.get(role)) for role in ROLES}
        self._probes = {
            role: replace(probe, delay_s=probe.delay_s / speed, period_s=probe.period_s / speed)
            for role, probe in found.items()
            if probe
        }
        self._instances, self._name, self._spec = instances, name, spec
        self.address = address
        self._wake = wake
        self._stopped = threading.Event()
        self._vitals = Vitals(self._probes)
        self._vitals.begin(time.monotonic() - age_s, has_started=has_started)
        self.fault = ""
        if self._probes:
            threading.Thread(target=self._run, name=f"monitor {name}", daemon=True).start()

    @property
    def has_started(self) -> bool:
        """Whether the startup probe has succeeded, or there is none."""
        return self._vitals.has_started

    @property
    def is_ready(self) -> bool:
        """Whether requests may be sent to it."""
        return self._vitals.is_ready

    @property
    def failed(self) -> str:
        """The role whose probe has failed; empty where none has."""
        return self._vitals.failed

    def stop(self) -> None:
        """Ask no more; an answer that is under way is not waited for."""
        self._stopped.set()

    def _run(self) -> None:
        vitals = self._vitals
        while not self._stopped.is_set():
            for role in vitals.due(time.monotonic()):
                fault = self._instances.probe(
                    self._name, self._spec, self._probes[role], self.address
                )
                if self._stopped.is_set():
                    return
                before = (vitals.has_started, vitals.is_ready, vitals.failed)
                self.fault = fault or self.fault
                vitals.record(role, time.monotonic(), ok=not fault)
                if before != (vitals.has_started, vitals.is_ready, vitals.failed):
                    self._wake()
            pause_s = vitals.next_at() - time.monotonic()
            self._stopped.wait(max(0.0, min(pause_s, _LONGEST_PAUSE_S)))
