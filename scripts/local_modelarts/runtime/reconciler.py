"""The reconciler: a loop that brings services to the state that was asked for.

Everything it goes by stands in the database, so whoever starts after a SIGKILL goes on with it.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from typing import Final

from local_modelarts.platform import Platform
from local_modelarts.runtime.instance_lifecycle import LIVE, InstanceCare
from local_modelarts.runtime.instance_logs import forget_logs
from local_modelarts.runtime.instances import ServingInstances
from local_modelarts.runtime.rolling_update import Goal, Slot, is_done, plan
from local_modelarts.runtime.routing import Route, Routing, Target
from local_modelarts.runtime.states import (
    CONCERNING,
    DELETING,
    DEPLOYING,
    FAILED,
    RUNNING,
    SERVING,
    STOPPED,
    STOPPING,
    UPGRADING,
    settled,
)
from local_modelarts.storage import events
from local_modelarts.storage.clock import now_ms
from local_modelarts.storage.events import Events, PodEvents
from local_modelarts.storage.resources import Instance, Service
from local_modelarts.storage.specs import Group
from local_modelarts.storage.store import WrongStatus

_TICK_S: Final = 0.1
_IDLE_S: Final = 1.0
_NOBODY: Final = Goal("", 0)
_V2: Final = 2
_log = logging.getLogger("local_modelarts")


class ServiceLoop:
    """Brings the services of a platform to what they are to be."""

    def __init__(self, platform: Platform, routing: Routing) -> None:
        self._platform = platform
        self._state = platform.state
        self._events = Events(platform.state)
        self._pod_events = PodEvents(platform.state)
        self._routing = routing
        self._woken = threading.Event()
        self._instances = ServingInstances(platform)
        self._care = InstanceCare(platform, self.wake)
        self._thread = threading.Thread(target=self._run, name="services", daemon=True)

    def adopt(self) -> None:
        """Take over the instances that a platform that was killed has left.

        They are routed to from now on: the first look waits for the engine, callers need not.
        """
        self._care.clean()
        self._publish()

    def start(self) -> None:
        """Adopt what was left, and begin."""
        self.adopt()
        self._thread.start()

    def wake(self) -> None:
        """Let it look at once."""
        self._woken.set()

    def join(self) -> None:
        """Wait until it has noticed that the platform stops."""
        self.wake()
        if self._thread.ident is not None:
            self._thread.join()

    def stop_all(self) -> None:
        """End every instance at once, and call its service stopped; for the end of the platform."""
        for row in self._state.find(Instance, LIVE):
            self._instances.remove(row.name)
            self._state.change(Instance, row.id, (row.status,), "GONE")
        for service in self._state.find(Service, (*SERVING, STOPPING)):
            self._state.change(Service, service.id, (service.status,), STOPPED)

    def _run(self) -> None:
        while not self._platform.jobs.is_stopping:
            self._woken.clear()
            is_busy = True
            try:
                is_busy = self.look()
            except Exception:  # noqa: BLE001 - the next look may go well
                _log.exception("looking after services failed")
            self._woken.wait(_TICK_S if is_busy else _IDLE_S)

    def look(self) -> bool:
        """Do what is to be done now; tell whether there is anything to look after."""
        rows = self._state.find(Instance, LIVE)
        containers = self._instances.states() if rows else {}
        for row in rows:
            self._care.look_after(row, containers.get(row.name))
        services = self._state.find(Service)
        by_service = self._by_service()
        for service in services:
            try:
                self._advance(service, by_service[service.id])
            except WrongStatus:
                continue  # a call was faster: the next look will tell
        self._publish()
        return bool(rows or any(s.status not in (STOPPED, FAILED) for s in services))

    def _by_service(self) -> defaultdict[str, list[Instance]]:
        found = defaultdict(list)
        for row in reversed(self._state.find(Instance, LIVE)):
            found[row.service_id].append(row)
        return found

    # --- one service ------------------------------------------------------------------------------

    def _advance(self, service: Service, rows: list[Instance]) -> None:
        if service.status in SERVING:
            self._serve(service, rows)
            return
        if service.status == STOPPING and not self._may_stop(service):
            return
        for row in rows:
            self._care.terminate(row, 0)
        if rows:
            return
        if service.status == DELETING:
            self._forget(service)
        elif service.status == STOPPING:
            with self._state.transaction():
                self._state.change(Service, service.id, (STOPPING,), STOPPED)
                self._events.add(service.id, events.STOPPED)

    def _serve(self, service: Service, rows: list[Instance]) -> None:
        entries = {entry.group: entry for entry in service.config}
        goals = {group: _goal(entry) for group, entry in entries.items()}
        done = True
        for group in sorted({*goals, *(row.group for row in rows)}):
            goal = goals.get(group, _NOBODY)
            members = {row.id: row for row in rows if row.group == group}
            slots = [_slot(row) for row in members.values() if not row.exited]
            done = done and is_done(goal, slots)
            step = plan(goal, slots)
            for instance_id in step.stop:
                self._care.terminate(members[instance_id], self._lag_s)
            for _ in range(step.start):
                self._care.add(service, entries[group])
        revisions = {goal.revision for goal in goals.values()}
        wanted = [row for row in rows if row.revision in revisions]
        fault = next((row.failed for row in wanted if row.failed), "")
        if not fault and not done and service.status in (DEPLOYING, UPGRADING):
            fault = self._overdue(service)
        if fault and service.status in (RUNNING, CONCERNING):
            for row in wanted:
                if row.failed:
                    self._care.terminate(row, 0)
        self._settle(service, wanted, done=done, fault=fault)

    def _settle(self, service: Service, wanted: list[Instance], *, done: bool, fault: str) -> None:
        status = service.status
        if fault and status == UPGRADING:
            self._roll_back(service, fault)
            return
        well = done and not any(self._care.is_alarming(row) for row in wanted)
        new = settled(status, done=done, failed=bool(fault), well=well, gone=False)
        if new == status:
            return
        text = {
            (DEPLOYING, RUNNING): events.DEPLOYED,
            (UPGRADING, RUNNING): events.UPDATED,
            (DEPLOYING, FAILED): events.FAILED.format(service.name, fault),
        }.get((status, new), "")
        with self._state.transaction():
            self._state.change(Service, service.id, (status,), new, previous=None, error_msg=fault)
            if text:
                self._events.add(service.id, text, abnormal=new == FAILED)

    def _roll_back(self, service: Service, fault: str) -> None:
        """Return to what ran before an update that failed; give up where that fails as well."""
        previous = service.previous
        with self._state.transaction():
            if previous is None:
                self._state.change(Service, service.id, (UPGRADING,), CONCERNING, error_msg=fault)
                is_v2 = service.generation == _V2
                text = (
                    f"{events.ROLLBACK_FAILED} {fault}"
                    if is_v2
                    else events.FAILED.format(service.name, fault)
                )
            else:
                self._state.change(
                    Service,
                    service.id,
                    (UPGRADING,),
                    **previous,
                    previous=None,
                    began_at=now_ms(),
                )
                text = f"{events.ROLLBACK} {fault}"
            self._events.add(service.id, text, abnormal=True)

    def _may_stop(self, service: Service) -> bool:
        """Tell whether the delay is over that a health check gives a service before it stops."""
        has_health = any(entry.spec.probes.get("liveness") for entry in service.config)
        settings = self._platform.settings
        delay_s = settings.stop_delay_s / settings.speed if has_health else 0
        return bool(now_ms() >= service.began_at + 1000 * delay_s)

    def _overdue(self, service: Service) -> str:
        limit_s = service.deploy_timeout_s / self._platform.settings.speed
        if now_ms() <= service.began_at + 1000 * limit_s:
            return ""
        return f"deployment timed out after {limit_s:g} s"

    def _forget(self, service: Service) -> None:
        with self._state.transaction():
            for row in self._state.find(Instance):
                if row.service_id == service.id:
                    self._pod_events.forget(row.id)
                    self._state.remove(Instance, row.id)
            self._events.forget(service.id)
            forget_logs(self._platform, service.id)
            self._state.remove(Service, service.id)

    @property
    def _lag_s(self) -> float:
        return self._platform.settings.routing_lag_s / self._platform.settings.speed

    # --- routing ----------------------------------------------------------------------------------

    def _publish(self) -> None:
        rows = self._by_service()
        routes = {}
        for service in self._state.find(Service, (*SERVING, STOPPING)):
            groups: dict[str, list[Target]] = defaultdict(list)
            for row in rows[service.id]:
                if _is_routed(row):
                    groups[row.group].append(_target(row))
            known = self._routing.find(service.id)
            routes[service.id] = Route(
                service,
                tuple((entry.weight, tuple(groups[entry.group])) for entry in service.config),
                *([known._turn] if known else []),
            )
        self._routing.publish(routes)


def _goal(entry: Group) -> Goal:
    return Goal(
        entry.revision,
        entry.count,
        entry.surge,
        entry.unavailable,
        entry.recreate,
    )


def _slot(row: Instance) -> Slot:
    return Slot(row.id, row.revision, row.status == "READY", row.status == LIVE[-1])


def _is_routed(row: Instance) -> bool:
    if row.status == "TERMINATING":
        return bool(row.was_ready and not row.is_unrouted)
    return bool(row.status == "READY")


def _target(row: Instance) -> Target:
    is_dead = row.exited
    return Target(
        row.id,
        row.name,
        row.title,
        row.address,
        row.spec.port,
        row.spec.protocol,
        is_dead,
    )
