"""Handlers that raise, whatever they raise: the request gets an answer and the worker goes on."""

from __future__ import annotations

import pytest
from runtime import json_api, start_runtime, write_package

CONFIG = {"model_type": "Image", "apis": [json_api(step={"type": "string"})]}
RAISED = (
    "ValueError('too much')",
    "MemoryError()",
    "RecursionError()",
    "SystemExit(3)",
    "KeyboardInterrupt()",
    "asyncio.CancelledError()",
    "GeneratorExit()",
)
SERVICE = """
import asyncio
from model_service.model_service import SingleNodeService

class Raising(SingleNodeService):
    def _preprocess(self, data):
        self.fail(data, "preprocess")
        return data

    def _inference(self, data):
        self.fail(data, "inference")
        return data

    def _postprocess(self, data):
        self.fail(data, "postprocess")
        return data

    def fail(self, data, step):
        if data["step"].startswith(step):
            raise eval(data["step"].split(" ", 1)[1])
"""


@pytest.fixture(scope="module", params=["never", "always"], ids=["in the loop", "in a thread"])
def raising(request, tmp_path_factory, profile):
    folder = tmp_path_factory.mktemp("raising")
    package = write_package(folder / "package", SERVICE, CONFIG)
    with start_runtime(
        folder / "home",
        package,
        MODEL_SERVER=profile,
        WORKERS="1",
        PREDICT_IN_THREADS=request.param,
        PREDICT_TIMEOUT_SECONDS="5",
    ) as runtime:
        yield runtime.wait_until_ready()


@pytest.mark.parametrize(
    ("step", "status"), [("preprocess", 422), ("inference", 500), ("postprocess", 500)]
)
@pytest.mark.parametrize("raised", RAISED)
def test_a_handler_that_raises_gets_an_answer_and_keeps_its_worker(raising, step, status, raised):
    worker = raising.workers()

    answer = raising.post_json({"step": f"{step} {raised}"})

    assert answer.status == status
    assert raised.split("(")[0].split(".")[-1] in answer.error
    assert "Traceback" not in answer.error
    assert raising.post_json({"step": "none"}).json == {"step": "none"}
    assert raising.health().status == 200
    assert raising.workers() == worker
