"""A batch whose workers are lost; how it ends with an image: container/test_fleet.py."""

from __future__ import annotations

import json
from concurrent.futures import Executor, Future

from custom_image.fleet.batch import run_batch


class KilledWorker(Exception):
    """As Dask calls it: every worker that had the unit was lost."""


class LosingWorkers(Executor):
    """Loses each worker that has a unit."""

    def submit(self, *_: object, **__: object) -> Future[str]:  # type: ignore[override]
        future: Future[str] = Future()
        future.set_exception(KilledWorker("shard 0"))
        return future


def test_files_of_a_lost_shard_are_failed_in_the_manifest(tmp_path):
    done = run_batch("mnist:1", ["a.jpg", "b.jpg"], tmp_path, LosingWorkers(), shards=2)

    lines = [json.loads(line) for line in done.manifest.read_text().splitlines()]
    assert (done.answered, [line["result"] for line in lines]) == (0, ["FAILED", "FAILED"])
    assert {line["error_message"] for line in lines} == {
        "every worker that had it was lost; see the workers' logs"
    }
