"""One instance of a service from its start to its end: created, probed, told to stop, gone.

    CREATING → STARTING → READY ⇄ UNREADY          → TERMINATING → GONE
        ↑__________________|  its container ended

Every status is written before what it announces is done, and every step may be done twice.
"""

from __future__ import annotations

import itertools
import logging
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from custom_image.engines.serving_host import ServingState
from custom_image.errors import CustomImageError, Unavailable
from local_modelarts.platform import Platform
from local_modelarts.runtime.instance_logs import log_file
from local_modelarts.runtime.instances import ServingInstances
from local_modelarts.runtime.mounts import fetch
from local_modelarts.runtime.prober import Monitor
from local_modelarts.runtime.probes import from_json
from local_modelarts.storage import events
from local_modelarts.storage.clock import now_ms
from local_modelarts.storage.events import Events, PodEvents
from local_modelarts.storage.resources import Instance, Service
from local_modelarts.storage.specs import Group
from local_modelarts.storage.store import WrongStatus

INSTANCE_LABEL: Final = "custom-image.service-instance"
LIVE: Final = ("CREATING", "STARTING", "READY", "UNREADY", "TERMINATING")
_STAYING: Final = LIVE[:-1]
_TRIES: Final = 3
_LONGEST_BACKOFF_S: Final = 60
_KEPT: Final = 50
_log = logging.getLogger("local_modelarts")


class InstanceCare:
    """Looks after the instances of a platform's services."""

    def __init__(self, platform: Platform, wake: Callable[[], None]) -> None:
        self._platform = platform
        self._state = platform.state
        self._events = Events(platform.state)
        self._pod_events = PodEvents(platform.state)
        self._instances = ServingInstances(platform)
        self._monitors: dict[str, Monitor] = {}
        self._wake = wake

    def add(self, service: Service, entry: Group) -> None:
        """Begin to start an instance of an entry of a service's config."""
        with self._state.transaction():
            instance_id = str(uuid.uuid4())
            self._state.add(
                Instance,
                instance_id,
                "CREATING",
                service_id=service.id,
                generation=service.generation,
                name=f"local-modelarts-service-{instance_id[:13]}",
                group=entry.group,
                revision=entry.revision,
                title=entry.title,
                spec=entry.spec,
            )
            self._events.add(service.id, f"[{entry.title}] starting model")
            self._pod_events.add(instance_id, "Scheduled", "assigned to the node local")

    def terminate(self, row: Instance, lag_s: float) -> None:
        """Tell an instance to stop; requests still reach it for ``lag_s``."""
        with suppress(WrongStatus):
            self._state.change(
                Instance,
                row.id,
                _STAYING,
                "TERMINATING",
                terminating_at=now_ms(),
                lag_s=lag_s,
                is_signalled=False,
                exited=False,
                is_unrouted=False,
            )

    def is_alarming(self, row: Instance) -> bool:
        """Tell whether a probe of an instance fails."""
        monitor = self._monitors.get(row.id)
        return bool(monitor and monitor.failed)

    def look_after(self, row: Instance, container: ServingState | None) -> None:
        """Do what is to be done for an instance now."""
        with suppress(WrongStatus):  # somebody was faster: the next look will tell
            if row.status == "CREATING":
                if now_ms() >= row.not_before and not row.failed:
                    self._platform.jobs.submit(self._create, row.id)
            elif row.status == "TERMINATING":
                self._end(row, container)
            elif container is None or not container.is_running:
                self._restart(row, f"exited with code {self._instances.exit_code(row.name)}")
            else:
                self._watch(row, container)

    def forget(self, row: Instance) -> None:
        """Ask an instance no more."""
        if monitor := self._monitors.pop(row.id, None):
            monitor.stop()

    def clean(self) -> None:
        """Remove the containers of instances that are not known any more."""
        known = {row.name for row in self._state.find(Instance, LIVE)}
        for name, container in self._instances.states().items():
            if INSTANCE_LABEL in container.labels and name not in known:
                self._instances.remove(name)

    # --- start ------------------------------------------------------------------------------------

    def _create(self, instance_id: str) -> None:
        row = self._state.get(Instance, instance_id)
        if row is None or row.status != "CREATING" or not self._has_place(row):
            return
        try:
            fetch(self._platform, row.spec)
            self._pod_events.add(row.id, "Pulling", f"Pulling image {row.spec.image}")
            self._instances.start(row.name, row.spec, {INSTANCE_LABEL: row.service_id})
            state = self._platform.host.serving_state(row.name)
        except CustomImageError as error:
            self._not_created(row, error)
        else:
            with suppress(WrongStatus):
                self._pod_events.add(row.id, "Started", "Started container")
                self._change(
                    row,
                    "STARTING",
                    "started",
                    address=state.address if state else "",
                    started_at=now_ms(),
                )
        self._wake()

    def _has_place(self, row: Instance) -> bool:
        """Tell whether the pool has room for one more; who has waited longer goes first."""
        most = self._platform.settings.pool_instances
        if not most or row.address:
            return True
        live = self._state.find(Instance, LIVE)
        older = [*itertools.dropwhile(lambda r: r.id != row.id, live)][1:]
        placed = sum(1 for r in live if r.address and not r.exited)
        placed += sum(1 for r in older if r.status == "CREATING" and not (r.address or r.failed))
        if placed < most:
            return True
        text = f"0/1 nodes are available: {min(placed, most)} of {most} places are taken"
        self._pod_events.add(row.id, "FailedScheduling", text, is_warning=True)
        self._events.add(row.service_id, f"[{row.title}] {text}", abnormal=True)
        return False

    def _not_created(self, row: Instance, error: CustomImageError) -> None:
        text = str(error).strip()
        if isinstance(error, Unavailable):
            text = f"{events.PULL_FAILED}: {text}"
        tries = row.tries + 1
        with self._state.transaction(), suppress(WrongStatus):
            self._state.change(
                Instance,
                row.id,
                ("CREATING",),
                tries=tries,
                not_before=self._after_backoff(tries),
                failed=text if tries >= _TRIES else "",
            )
            self._events.add(row.service_id, f"[{row.title}] {text}", abnormal=True)
            self._note_failure(row, "Failed", text)

    def _note_failure(self, row: Instance, reason: str, text: str) -> None:
        """Note in the words of v2 that an instance did not start; its own events say why."""
        self._pod_events.add(row.id, reason, text, is_warning=True)
        if row.generation != 1 and not row.was_ready:
            text = events.POD_FAILED.format(f"deployment-{row.group}")
            self._events.add(row.service_id, text, abnormal=True)

    def _watch(self, row: Instance, container: ServingState) -> None:
        """Take in what the probes have found."""
        monitor = self._monitors.get(row.id)
        if monitor is None or monitor.address != container.address:
            self.forget(row)
            monitor = self._monitors[row.id] = Monitor(
                self._instances,
                row.name,
                row.spec,
                container.address,
                speed=self._platform.settings.speed,
                age_s=max(0.0, (now_ms() - row.started_at) / 1000),
                has_started=row.status != "STARTING",
                wake=self._wake,
            )
        status = "READY" if monitor.is_ready else "UNREADY" if monitor.has_started else "STARTING"
        if monitor.failed and row.generation != 1:
            text = f"the {monitor.failed} health check failed: {monitor.fault}"
            self._pod_events.add(row.id, "Unhealthy", text, is_warning=True)
            self._events.add(row.service_id, _probe_failed(row, monitor), abnormal=True)
            self._restart(row, f"failed its {monitor.failed} probe")
        elif monitor.failed == "startup" and not row.failed:
            self._change(row, failed=_probe_failed(row, monitor))
        elif status != row.status:
            kind = "ready" if status == "READY" and not row.was_ready else ""
            with self._state.transaction():
                self._change(row, status, kind, was_ready=row.was_ready or status == "READY")
                if kind:
                    self._events.add(row.service_id, f"[{row.title}] model is running")
        elif monitor.failed and monitor.failed != "startup":  # classic, while it runs: an alarm
            self._events.add(row.service_id, _probe_failed(row, monitor), abnormal=True)

    def _restart(self, row: Instance, reason: str) -> None:
        """Replace the container of an instance by a new one, as its node would."""
        code = self._instances.exit_code(row.name)
        self._keep_log(row)
        self._instances.remove(row.name)
        self.forget(row)
        tries = row.tries + 1
        overdue = now_ms() > row.create_at + 1000 * self._start_budget_s(row)
        failed = f"{row.title}: the container {reason}, again and again"
        with self._state.transaction():
            self._change(
                row,
                "CREATING",
                "exited",
                exit_code=code,
                tries=tries,
                not_before=self._after_backoff(tries),
                failed=failed if overdue and not row.was_ready else "",
            )
            text = f"[{row.title}] the container {reason}; it is restarted"
            self._events.add(row.service_id, text, abnormal=True)
            self._note_failure(row, "BackOff", f"the container {reason}; it is restarted")

    def _start_budget_s(self, row: Instance) -> float:
        """Return for how long an instance may try to start."""
        probe = from_json(row.spec.probes.get("startup"))
        if probe is None or row.generation != 1:
            return float("inf")  # the deployment's time-out ends it
        return (probe.delay_s + probe.failures * probe.period_s) / self._platform.settings.speed

    def _after_backoff(self, tries: int) -> int:
        pause_s = min(2**tries, _LONGEST_BACKOFF_S) / self._platform.settings.speed
        return now_ms() + int(1000 * pause_s)

    # --- end --------------------------------------------------------------------------------------

    def _end(self, row: Instance, container: ServingState | None) -> None:
        self.forget(row)
        elapsed_s = (now_ms() - row.terminating_at) / 1000
        if container is not None and container.is_running:
            grace_s = self._grace_s(row)
            if not row.is_signalled:
                self._platform.jobs.submit(self._signal, row.id)
            elif elapsed_s >= grace_s and not row.is_killed:
                self._platform.host.send_signal(row.name, "SIGKILL")
                text = f"[{row.title}] did not end within {grace_s:g} s of SIGTERM: killed"
                with self._state.transaction():
                    row = self._change(row, "", "killed", is_killed=True)
                    self._pod_events.add(row.id, "Killing", "SIGKILL: the grace is over")
                    self._events.add(row.service_id, text, abnormal=True)
        elif not row.exited:
            code = self._instances.exit_code(row.name)
            self._keep_log(row)
            self._instances.remove(row.name)
            kind = "exited" if container is not None or row.address else ""
            row = self._change(row, "", kind, exit_code=code, exited=True)
        if elapsed_s >= row.lag_s and not row.is_unrouted:
            row = self._change(row, "", "unrouted" if row.was_ready else "", is_unrouted=True)
        if row.exited and row.is_unrouted:
            self._change(row, "GONE")
            self._forget_oldest(row.service_id)

    def _forget_oldest(self, service_id: str) -> None:
        """Keep the timelines and logs of a service's last instances only."""
        gone = [r for r in self._state.find(Instance, ("GONE",)) if r.service_id == service_id]
        for row in gone[_KEPT:]:
            log_file(self._platform, row).unlink(missing_ok=True)
            self._pod_events.forget(row.id)
            self._state.remove(Instance, row.id)

    def _signal(self, instance_id: str) -> None:
        row = self._state.get(Instance, instance_id)
        if row and row.status == "TERMINATING" and not row.is_signalled:
            elapsed_s = (now_ms() - row.terminating_at) / 1000
            self._pod_events.add(row.id, "Killing", "Stopping container")
            fault = self._instances.terminate(row.name, row.spec, self._grace_s(row) - elapsed_s)
            with suppress(WrongStatus), self._state.transaction():
                self._change(row, "", "sigterm", is_signalled=True)
                if fault:
                    text = f"the stop command {fault}"
                    self._pod_events.add(row.id, "FailedPreStopHook", text, is_warning=True)
                    self._events.add(row.service_id, f"[{row.title}] {text}", abnormal=True)

    def _grace_s(self, row: Instance) -> float:
        settings = self._platform.settings
        default_s = settings.grace_s if row.generation == 1 else settings.grace_v2_s
        return float(row.spec.grace_s or default_s) / settings.speed

    def _keep_log(self, row: Instance) -> None:
        """Write the log of a container that has ended to a file."""
        file = log_file(self._platform, row)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("a") as log:
                log.write(self._instances.logs(row.name))
        except OSError as error:
            _log.warning("the log of %s is lost: %s", row.name, error)

    def _change(
        self,
        row: Instance,
        status: str = "",
        kind: str = "",
        *,
        exit_code: int | None = None,
        **fields: Any,
    ) -> Instance:
        """Change an instance, and note in its timeline when what happened."""
        with self._state.transaction():
            current = self._state.get(Instance, row.id) or row
            if kind:
                entry: dict[str, Any] = {"at": now_ms() / 1000, "kind": kind}
                if exit_code is not None:
                    entry["exit_code"] = exit_code
                fields["timeline"] = [*current.timeline, entry]
            return self._state.change(Instance, row.id, (row.status,), status, **fields)


def _probe_failed(row: Instance, monitor: Monitor) -> str:
    return f"[{row.title}] the {monitor.failed} health check failed: {monitor.fault}"
