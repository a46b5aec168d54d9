"""Batch services: a model asked for every file of a folder, its answers left in another one.

A status such as deploying or stopping is written before its work begins; running says that the
inputs are being asked, and is gone on with after a kill: see :mod:`local_modelarts.batch.results`.

Source: https://docs.otc.t-systems.com/modelarts/umn/inference_deployment/deploying_a_model_as_batch_services/deploying_as_a_batch_service.html
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from custom_image.errors import CustomImageError
from custom_image.specification import BATCH_COUNT
from local_modelarts.batch.instances import BATCH_LABEL
from local_modelarts.batch.requests import batch_document, read_request
from local_modelarts.batch.worker import AT_WORK, BatchWork
from local_modelarts.errors import (
    no_service,
    parameter,
    service_exists,
    too_many_services,
    wrong_service_state,
)
from local_modelarts.jobs import Jobs
from local_modelarts.platform import Platform
from local_modelarts.storage.obs import Obs
from local_modelarts.storage.resources import Batch, Service
from local_modelarts.storage.store import WrongStatus

_TRANSIENT: Final = ("deploying", "running", "stopping", "deleting")
_AT_REST: Final = ("finished", "failed", "stopped")
_PATIENCE_S: Final = 5.0


class Batches:
    """The batch services of a platform."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._state = platform.state
        self._obs = Obs(platform.folder.obs)
        self._jobs = Jobs()
        self._work = BatchWork(platform, lambda: self._jobs.is_stopping)

    def create(self, body: Mapping[str, Any]) -> Batch:
        """Begin a batch service.

        Raises:
            ApiError: a field is not allowed, a path is not there, or the quota is used up.
        """
        fields = read_request(self._platform, self._obs, body)
        with self._state.transaction():
            batches = self._state.find(Batch)
            if len(batches) >= BATCH_COUNT.value:
                raise too_many_services()
            names = [*(b.name for b in batches), *(s.name for s in self._state.find(Service))]
            if fields["name"] in names:
                raise service_exists(fields["name"])
            row = self._state.add(
                Batch,
                str(uuid.uuid4()),
                "deploying",
                **fields,
                task_id=str(uuid.uuid4()),
                start_time=0,
                finished_time=0,
                error_msg="",
            )
        self._jobs.submit(self._work.advance, row.id)
        return row

    def list(self) -> list[Batch]:
        """Return all batch services, newest first."""
        return self._state.find(Batch)

    def show(self, batch_id: str) -> Batch | None:
        """Return a batch service, or None."""
        return self._state.get(Batch, batch_id)

    def document(self, row: Batch) -> dict[str, Any]:
        """Return a batch service as the API shows it."""
        progress = 100 if row.status == "finished" else self._work.progress.get(row.id, 0)
        return batch_document(row, progress=progress, project_id=self._platform.identity.project_id)

    def update(self, batch_id: str, body: Mapping[str, Any]) -> Batch:
        """Stop a batch service, or let a stopped one go on with what remains (inferred).

        Raises:
            ApiError: there is none, it is in a state that forbids it, or nothing is asked.
        """
        wanted = body.get("status")
        if wanted == "stopped":
            return self._end_work(batch_id, "be stopped", AT_WORK, "stopping")
        if wanted == "running":
            return self._change(
                batch_id, "be started", ("stopped", "failed"), "deploying", error_msg=""
            )
        raise parameter("status is expected, running or stopped: a batch service has no update")

    def delete(self, batch_id: str) -> Batch:
        """Begin to delete a batch service; its results stay.

        Raises:
            ApiError: there is none, or it is being deleted.
        """
        states = (*_AT_REST, *AT_WORK, "stopping")
        return self._end_work(batch_id, "be deleted", states, "deleting")

    def resume(self) -> None:
        """Go on with what is half done and has no job: a kill, or an engine that was gone."""
        for row in self._state.find(Batch, _TRANSIENT):
            self._jobs.submit(self._work.advance, row.id)

    def end(self) -> None:
        """End the instances and the threads; the next platform goes on. For the end of this one."""
        self._jobs.begin_stop()
        self._work.dismiss(BATCH_LABEL)
        self._jobs.join(_PATIENCE_S)
        self._work.dismiss(BATCH_LABEL)

    def _end_work(self, batch_id: str, verb: str, allowed: tuple[str, ...], status: str) -> Batch:
        """Change the status, and let no request that is under way keep the job from seeing it."""
        row = self._change(batch_id, verb, allowed, status)
        with suppress(CustomImageError):  # the job does it again
            self._work.dismiss(f"{BATCH_LABEL}={batch_id}")
        return row

    def _change(
        self, batch_id: str, verb: str, allowed: tuple[str, ...], status: str, **fields: Any
    ) -> Batch:
        try:
            row = self._state.change(Batch, batch_id, allowed, status, **fields)
        except WrongStatus as error:
            if error.status:
                raise wrong_service_state(error.status, verb) from error
            raise no_service(batch_id) from error
        self._jobs.submit(self._work.advance, batch_id)
        return row
