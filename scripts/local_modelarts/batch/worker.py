"""The work behind a batch service: deploy, ask for every input, write the manifest, clean up.

Every step may be done twice, so that whoever starts next goes on with it after a kill.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from requests import RequestException

from custom_image.errors import CustomImageError, Unavailable
from local_modelarts.batch.inputs import Input, keep_inputs
from local_modelarts.batch.instances import BATCH_LABEL, Crew
from local_modelarts.batch.mapping import make_mapping
from local_modelarts.batch.requests import find_api
from local_modelarts.batch.results import Results
from local_modelarts.batch.run import BatchRun
from local_modelarts.errors import ApiError, parameter
from local_modelarts.platform import Platform
from local_modelarts.runtime.instances import ServingInstances, spec_of_model
from local_modelarts.services.models import find_published
from local_modelarts.storage.clock import now_ms
from local_modelarts.storage.events import Events
from local_modelarts.storage.obs import Obs
from local_modelarts.storage.resources import Batch
from local_modelarts.storage.store import WrongStatus

AT_WORK: Final = ("deploying", "running")
# How many inputs an instance is asked for at a time: inferred.
_AT_ONCE: Final = 4
_STARTED: Final = "The batch service has begun to work on {} inputs."
_FINISHED: Final = "The batch service has finished: {} of {} inputs successful, {} failed."
_STOPPED: Final = "The batch service has been stopped: {} of {} inputs are done."


class BatchWork:
    """What the jobs of batch services do.

    Attributes:
        progress: by the service's id: the share of its inputs that are done, in percent.
    """

    def __init__(self, platform: Platform, is_stopping: Callable[[], bool]) -> None:
        self.progress: dict[str, int] = {}
        self._platform, self._is_stopping = platform, is_stopping
        self._serving = ServingInstances(platform)
        self._state = platform.state
        self._events = Events(platform.state)
        self._obs = Obs(platform.folder.obs)

    def advance(self, batch_id: str) -> None:
        """Do what the status announces, until the service is at rest or the platform stops."""
        steps: dict[str, Callable[[Batch], None]] = {
            "deploying": self._work,
            "running": self._work,
            "stopping": self._stop,
            "deleting": self._erase,
        }
        while not self._is_stopping():
            row = self._state.get(Batch, batch_id)
            step = steps.get(row.status) if row else None
            if row is None or step is None:
                return
            try:
                step(row)
            except WrongStatus:  # it was told to stop meanwhile: the next round sees to it
                continue
            except (Unavailable, RequestException):  # the engine is gone: resume tries again
                return

    def _work(self, row: Batch) -> None:
        """Deploy, ask for everything that has no result yet, and finish."""
        try:
            results = self._run(row)
        except (Unavailable, RequestException):
            raise
        except (CustomImageError, ApiError, OSError) as error:
            if not self._is_over(row.id):
                self._fail(row, str(error).strip())
            return
        if results is None:
            return
        self.dismiss(f"{BATCH_LABEL}={row.id}")
        done, failures = len(results.outcomes), results.failures
        with self._state.transaction():
            text = _FINISHED.format(done - failures, done, failures)
            self._events.add(row.id, text, abnormal=failures > 0)
            self._state.change(Batch, row.id, ("running",), "finished", finished_time=now_ms())

    def _run(self, row: Batch) -> Results | None:
        """Return the results when all are there; None where the run was stopped."""
        entry = row.config[0]
        model = find_published(self._platform, entry["model_id"])
        api = find_api(model, entry)
        spec = spec_of_model(model, environment=entry["envs"])
        crew = Crew(
            self._platform,
            self._serving,
            row.id,
            spec,
            size=entry["instance_count"],
            start_s=row.deploy_timeout_s,
        )
        inputs, results = self._open(row)
        try:
            if not inputs:
                raise parameter(f"there is no file in {entry['src_path']}")
            if row.status == "deploying":
                for place in range(len(crew)):
                    crew.url(place)
                self._begin(row, len(inputs))
            run = BatchRun(
                obs=self._obs,
                inputs=inputs,
                mapping=make_mapping(api, entry["mapping_type"], entry.get("mapping_rule")),
                api=api,
                results=results,
                crew=crew,
                is_over=lambda: self._look(row.id, results, len(inputs)),
                at_once=_AT_ONCE,
                answer_s=self._platform.settings.batch_answer_s,
            )
            if not run.work():
                return None
            results.write_manifest(self._platform.settings.manifest_lines)
            return results
        finally:
            results.close()

    def _begin(self, row: Batch, total: int) -> None:
        with self._state.transaction():
            self._state.change(Batch, row.id, ("deploying",), "running", start_time=now_ms())
            self._events.add(row.id, _STARTED.format(total))

    def _stop(self, row: Batch) -> None:
        """End the instances; what is done stays, with a manifest of it (inferred)."""
        self.dismiss(f"{BATCH_LABEL}={row.id}")
        try:
            inputs, results = self._open(row)
            results.write_manifest(self._platform.settings.manifest_lines)
            results.close()
            text = _STOPPED.format(len(results.outcomes), len(inputs))
        except (ApiError, OSError) as error:  # somebody has removed a folder
            text = str(error)
        with self._state.transaction():
            self._events.add(row.id, text)
            self._state.change(Batch, row.id, ("stopping",), "stopped", finished_time=now_ms())

    def _fail(self, row: Batch, reason: str) -> None:
        self.dismiss(f"{BATCH_LABEL}={row.id}")
        with self._state.transaction():
            self._events.add(row.id, reason, abnormal=True)
            self._state.change(Batch, row.id, AT_WORK, "failed", error_msg=reason)

    def _erase(self, row: Batch) -> None:
        self.dismiss(f"{BATCH_LABEL}={row.id}")
        shutil.rmtree(self._folder(row.id), ignore_errors=True)
        with self._state.transaction():
            self._events.forget(row.id)
            self._state.remove(Batch, row.id)

    def _open(self, row: Batch) -> tuple[list[Input], Results]:
        """Return the inputs of a batch and what is known of their results."""
        folder, entry = self._folder(row.id), row.config[0]
        folder.mkdir(parents=True, exist_ok=True)
        inputs = keep_inputs(self._obs, entry, folder / "inputs.json")
        dest = self._obs.folder(entry["dest_path"])
        journal = folder / "journal.jsonl"
        return inputs, Results(self._obs, inputs, dest=dest, task_id=row.task_id, journal=journal)

    def _look(self, batch_id: str, results: Results, total: int) -> bool:
        """Note how far a run is, and tell whether it is over."""
        self.progress[batch_id] = 100 * len(results.outcomes) // total
        return self._is_over(batch_id)

    def _is_over(self, batch_id: str) -> bool:
        row = self._state.get(Batch, batch_id)
        return self._is_stopping() or row is None or row.status not in AT_WORK

    def _folder(self, batch_id: str) -> Path:
        return self._platform.folder.root / "batches" / batch_id

    def dismiss(self, label: str) -> None:
        """End this platform's instances that have a label. Idempotent.

        Raises:
            CustomImageError: the engine is gone.
        """
        own = self._platform.identity.labels.items()
        for name, state in self._platform.host.serving(label).items():
            if own <= state.labels.items():
                self._serving.remove(name)
