"""Real-time services, as callers see them: each call checks, writes a status, and returns.

What follows from the status is done by :mod:`local_modelarts.runtime.reconciler`. Both generations
of the API end up here; they differ in how a request is read and how a service is shown.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from local_modelarts.errors import (
    no_service,
    service_exists,
    too_many_services,
    wrong_service_state,
)
from local_modelarts.platform import Platform
from local_modelarts.runtime.instance_logs import log_file
from local_modelarts.runtime.rolling_update import match_groups
from local_modelarts.runtime.states import CALLS, CONCERNING, DELETING, DEPLOYING, UPGRADING
from local_modelarts.storage import events
from local_modelarts.storage.clock import now_ms
from local_modelarts.storage.events import Events, PodEvents
from local_modelarts.storage.resources import Event, Instance, PodEvent, Service
from local_modelarts.storage.store import WrongStatus

_PASSIVE: Final = {
    "update": "be updated",
    "start": "be started",
    "stop": "be stopped",
    "delete": "be deleted",
}


class Services:
    """The real-time services of a platform."""

    def __init__(self, platform: Platform, wake: Callable[[], None]) -> None:
        self._platform = platform
        self._state = platform.state
        self._events = Events(platform.state)
        self._pod_events = PodEvents(platform.state)
        self._wake = wake

    def create(self, fields: Mapping[str, Any]) -> Service:
        """Begin to deploy a service; ``fields`` as a request was read.

        Raises:
            ApiError: the name is taken, or the quota used up.
        """
        with self._state.transaction():
            services = [r for r in self._state.find(Service) if r.status != DELETING]
            if any(row.name == fields["name"] for row in services):
                raise service_exists(fields["name"])
            if len(services) >= self._platform.settings.services:
                raise too_many_services()
            row = self._state.add(
                Service,
                str(uuid.uuid4()),
                DEPLOYING,
                **{**fields, "config": match_groups([], fields["config"])},
                previous=None,
                began_at=now_ms(),
                error_msg="",
            )
            self._events.add(row.id, events.DEPLOYING)
            self._remark(row)
        self._wake()
        return row

    def update(
        self, service_id: str, fields: Mapping[str, Any], *, in_alarm: bool = True
    ) -> Service:
        """Begin to update a service; one that does not run only keeps what it is to become.

        ``in_alarm``: also one that is in alarm, as a deployment of v2 can be and a service cannot.

        Raises:
            ApiError: there is none, or its state forbids it.
        """
        with self._state.transaction():
            row = self.show(service_id)
            changed = dict(fields)
            if "config" in changed:
                changed["config"] = match_groups(row.config, changed["config"])
            if row.status in CALLS["edit"][0] or "config" not in changed:
                allowed = (row.status,) if "config" not in changed else CALLS["edit"][0]
                row = self._change(service_id, "be updated", allowed, "", **changed)
            elif row.status == CONCERNING and not in_alarm:
                raise wrong_service_state(CONCERNING.lower(), "be updated")
            else:
                kept = {name: getattr(row, name) for name in changed}
                row = self._call(service_id, "update", began_at=now_ms(), previous=kept, **changed)
                self._events.add(service_id, events.UPDATING)
                self._remark(row)
        self._wake()
        return row

    def start(self, service_id: str) -> Service:
        """Begin to start a service that does not run.

        Raises:
            ApiError: there is none, or its state forbids it.
        """
        with self._state.transaction():
            row = self._call(service_id, "start", began_at=now_ms(), previous=None, error_msg="")
            self._events.add(service_id, events.STARTING)
        self._wake()
        return row

    def stop(self, service_id: str) -> Service:
        """Begin to stop a service.

        Raises:
            ApiError: there is none, or its state forbids it.
        """
        with self._state.transaction():
            row = self._call(service_id, "stop", began_at=now_ms(), previous=None)
            self._events.add(service_id, events.STOPPING)
        self._wake()
        return row

    def delete(self, service_id: str) -> Service:
        """Begin to delete a service, in whatever state.

        Raises:
            ApiError: there is none.
        """
        row = self._call(service_id, "delete", began_at=now_ms(), previous=None)
        self._wake()
        return row

    def show(self, service_id: str) -> Service:
        """Return a service.

        Raises:
            ApiError: there is none.
        """
        row = self._state.get(Service, service_id)
        if row is None or row.status == DELETING:
            raise no_service(service_id)
        return row

    def find(self, generation: int) -> list[Service]:
        """Return the services of a generation of the API, newest first."""
        rows = self._state.find(Service)
        return [r for r in rows if r.generation == generation and r.status != DELETING]

    def events_of(self, resource_id: str) -> list[Event]:
        """Return what has happened to a service, newest first."""
        return self._events.of(resource_id)

    def instances(self, service_id: str) -> list[Instance]:
        """Return the instances of a service, those that are gone included, oldest first."""
        rows = self._state.find(Instance)
        return [row for row in reversed(rows) if row.service_id == service_id]

    def pod_events(self, instance_id: str) -> list[PodEvent]:
        """Return what has happened to an instance, newest first."""
        return self._pod_events.of(instance_id)

    def logs(self, service_id: str) -> str:
        """Return what all instances of a service wrote, one after the other, oldest first.

        Raises:
            ApiError: there is none.
        """
        parts = []
        for row in self.instances(self.show(service_id).id):
            file = log_file(self._platform, row)
            text = (
                file.read_text(errors="replace")
                if file.exists()
                else self._platform.host.log(row.name)
            )
            parts.append(f"--- {row.title} {row.name} ({row.status})\n{text}")
        return "\n".join(parts)

    def _remark(self, row: Service) -> None:
        """Note what the platform's pages warn of."""
        if row.generation != 1:
            return
        if row.status == UPGRADING and not row.pool:
            self._events.add(row.id, events.INTERRUPTED)
        if any("liveness" not in entry.spec.probes for entry in row.config):
            self._events.add(row.id, events.NO_HEALTH)

    def _call(self, service_id: str, call: str, **fields: Any) -> Service:
        allowed, status = CALLS[call]
        return self._change(service_id, _PASSIVE[call], allowed, status, **fields)

    def _change(
        self, service_id: str, what: str, allowed: tuple[str, ...], status: str, **fields: Any
    ) -> Service:
        try:
            return self._state.change(Service, service_id, allowed, status, **fields)
        except WrongStatus as error:
            if error.status:
                raise wrong_service_state(error.status.lower(), what) from error
            raise no_service(service_id) from error
