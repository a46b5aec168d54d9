"""Notebook instances, as callers see them: each call checks, writes a status and begins a job."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Mapping
from typing import Any, Final

from custom_image.platform_api import NOTEBOOK_FIELDS
from custom_image.specification import NOTEBOOK_FLAVOR, NOTEBOOK_LEASE_LONGEST
from local_modelarts import validation
from local_modelarts.errors import no_instance, parameter, too_many_instances, wrong_state
from local_modelarts.notebooks.containers import Containers, usable_image
from local_modelarts.platform import Platform
from local_modelarts.storage.clock import now_ms
from local_modelarts.storage.resources import Notebook
from local_modelarts.storage.store import WrongStatus

_RUNNING: Final = ("RUNNING", "SNAPSHOTTING")
_AT_REST: Final = ("STOPPED", "CREATE_FAILED", "START_FAILED", "DELETE_FAILED", "ERROR")


class Instances:
    """The notebook instances of a platform."""

    def __init__(self, platform: Platform, containers: Containers) -> None:
        self._platform = platform
        self._containers = containers
        self._state = platform.state

    def create(self, body: Mapping[str, Any]) -> Notebook:
        """Begin to create an instance.

        Raises:
            ApiError: a field is not allowed, the image is unknown, or the quota is used up.
        """
        validation.check(body, NOTEBOOK_FIELDS, required=("name",))
        image = usable_image(self._state, body.get("image_id"))
        feature = validation.choice(body, "feature", ("NOTEBOOK", "DEFAULT"), "NOTEBOOK")
        lease = body.get("lease") or {}
        lease_ms = self._lease_ms(lease.get("duration") or body.get("duration"))
        with self._state.transaction():
            if len(self._state.find(Notebook)) >= self._platform.settings.notebooks:
                raise too_many_instances()
            row = self._state.add(
                Notebook,
                str(uuid.uuid4()),
                "CREATING",
                name=body["name"],
                description=body.get("description") or "",
                flavor=body.get("flavor") or NOTEBOOK_FLAVOR.value,
                feature=feature,
                image_id=image.id,
                volume=body.get("volume") or {},
                workspace_id=body.get("workspace_id") or "0",
                token=secrets.token_urlsafe(24),
                lease_ms=lease_ms,
                lease_ends_at=now_ms() + lease_ms,
                lease_type=validation.choice(lease, "type", ("TIMING", "IDLE"), "TIMING"),
            )
        self._platform.jobs.submit(self._containers.advance, row.id)
        return row

    def start(self, notebook_id: str, duration_ms: object) -> Notebook:
        """Begin to start an instance that does not run.

        Raises:
            ApiError: there is none, it runs, or the duration is not allowed.
        """
        lease_ms = self._lease_ms(duration_ms)
        return self._begin(
            notebook_id,
            "start",
            ("STOPPED", "START_FAILED", "ERROR"),
            "STARTING",
            fail_reason="",
            lease_ms=lease_ms,
            lease_ends_at=now_ms() + lease_ms,
        )

    def stop(self, notebook_id: str) -> Notebook:
        """Begin to stop an instance that runs.

        Raises:
            ApiError: there is none, or it does not run.
        """
        return self._begin(notebook_id, "stop", ("RUNNING", "ERROR"), "STOPPING")

    def delete(self, notebook_id: str) -> Notebook:
        """Begin to delete an instance with all that it keeps.

        Raises:
            ApiError: there is none, or it runs.
        """
        return self._begin(notebook_id, "delete", _AT_REST, "DELETING")

    def update(self, notebook_id: str, body: Mapping[str, Any]) -> Notebook:
        """Change the name, the description, or, of a stopped instance, the image.

        Raises:
            ApiError: there is none, it is in a state that forbids it, or a field is not allowed.
        """
        validation.check(body, NOTEBOOK_FIELDS, required=())
        changes = {k: body[k] for k in ("name", "description") if body.get(k) is not None}
        allowed: tuple[str, ...] = (*_AT_REST, "RUNNING")
        if body.get("image_id"):
            changes["image_id"] = usable_image(self._state, body["image_id"]).id
            allowed = _AT_REST
        return self._change(notebook_id, "update", allowed, "", **changes)

    def renew(self, notebook_id: str, duration_ms: object) -> Notebook:
        """Let the lease of a running instance end ``duration_ms`` from now.

        Raises:
            ApiError: there is none, it does not run, or the duration is not allowed.
        """
        lease_ms = self._lease_ms(duration_ms)
        ends_at = now_ms() + lease_ms
        return self._change(
            notebook_id, "renew", _RUNNING, "", lease_ms=lease_ms, lease_ends_at=ends_at
        )

    def show(self, notebook_id: str) -> Notebook:
        """Return an instance.

        Raises:
            ApiError: there is none.
        """
        row = self._state.get(Notebook, notebook_id)
        if row is None:
            raise no_instance()
        return row

    def _begin(
        self, notebook_id: str, verb: str, allowed: tuple[str, ...], status: str, **fields: Any
    ) -> Notebook:
        row = self._change(notebook_id, verb, allowed, status, **fields)
        self._platform.jobs.submit(self._containers.advance, notebook_id)
        return row

    def _change(
        self, notebook_id: str, verb: str, allowed: tuple[str, ...], status: str, **fields: Any
    ) -> Notebook:
        try:
            return self._state.change(Notebook, notebook_id, allowed, status, **fields)
        except WrongStatus as error:
            raise wrong_state(error.status, verb) if error.status else no_instance() from error

    def _lease_ms(self, asked: object) -> int:
        if asked in (None, "", 0):
            return self._platform.settings.lease_ms
        shortest = self._platform.settings.lease_shortest_ms
        longest = NOTEBOOK_LEASE_LONGEST.value
        text = str(asked)
        if not text.isdecimal() or not shortest <= int(text) <= longest:
            raise parameter(f"duration is {text[:20]}, expected {shortest} to {longest} ms")
        return int(text)
