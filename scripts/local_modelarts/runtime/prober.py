"""The prober: asks the probes of a running instance; others read what it has found.

Each probe has a thread of its own, as on a Kubernetes node: one that hangs holds up no other.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from custom_image.errors import Unavailable
from local_modelarts.runtime.instances import ServingInstances
from local_modelarts.runtime.probes import ROLES, Vitals, from_json
from local_modelarts.storage.specs import InstanceSpec

_log = logging.getLogger("local_modelarts")


class Monitor:
    """Asks one container until it is told to stop."""

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
        self._changed = threading.Condition()
        self._is_stopped = False
        self._vitals = Vitals(self._probes)
        self._vitals.begin(time.monotonic() - age_s, has_started=has_started)
        self._faults: dict[str, str] = {}
        for role in self._probes:
            threading.Thread(
                target=self._run, args=(role,), name=f"{role} of {name}", daemon=True
            ).start()

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

    @property
    def fault(self) -> str:
        """What the probe that has failed has found."""
        return self._faults.get(self.failed, "")

    def stop(self) -> None:
        """Ask no more; an answer that is under way is not waited for."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def _run(self, role: str) -> None:
        while self._wait_for_turn(role):
            try:
                fault = self._instances.probe(
                    self._name, self._spec, self._probes[role], self.address
                )
            except Unavailable as error:
                _log.warning("the %s probe of %s was not asked: %s", role, self._name, error)
                with self._changed:
                    self._vitals.postpone(role, time.monotonic())
                continue
            self._take(role, fault)

    def _wait_for_turn(self, role: str) -> bool:
        """Wait until a probe is to be asked; False where no probe is any more."""
        with self._changed:
            while not self._is_stopped:
                pause_s = self._vitals.due_at(role) - time.monotonic()
                if pause_s <= 0:
                    break
                self._changed.wait(min(pause_s, threading.TIMEOUT_MAX))
            return not self._is_stopped

    def _take(self, role: str, fault: str) -> None:
        vitals = self._vitals
        with self._changed:
            if self._is_stopped:
                return
            before = (vitals.has_started, vitals.is_ready, vitals.failed)
            if fault:
                self._faults[role] = fault
            vitals.record(role, time.monotonic(), ok=not fault)
            has_changed = before != (vitals.has_started, vitals.is_ready, vitals.failed)
            self._changed.notify_all()  # the others' turn may have come
        if has_changed:
            self._wake()
