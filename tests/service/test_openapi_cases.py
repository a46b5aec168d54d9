"""Requests made by schemathesis from the OpenAPI document of config.json: none breaks the service.

Half of them fit the document, half are made not to. The number is small in `make test`, and the
true one in `make test-full`.
"""

from __future__ import annotations

import logging
from collections import Counter

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from runtime import json_api, start_runtime, write_package
from schemathesis import GenerationMode

from custom_image.mnist import encode_jpeg
from custom_image.model_config import read_model_config
from custom_image.model_config.openapi import to_openapi

log = logging.getLogger(__name__)

HALVES = """
import math
from model_service.model_service import SingleNodeService

class Halves(SingleNodeService):
    def _preprocess(self, data):
        number = float(data["x"])
        if not math.isfinite(number):
            raise ValueError("`x` is not finite")
        return {"x": number, "names": [str(name) for name in data.get("names", ())]}

    def _inference(self, data):
        return {"half": data["x"] / 2, "names": data["names"]}
"""
NAMES = {"type": "array", "items": {"type": "string"}}
HALVES_CONFIG = {
    "model_algorithm": "halves",
    "model_type": "Image",
    "apis": [
        json_api("/", x={"type": "number"}, names=NAMES),
        json_api("/half", "get", x={"type": "number"}),
    ],
    "health": {"check_method": "HTTP", "url": "/health"},
}


@pytest.fixture(scope="module")
def halves(tmp_path_factory, profile):
    """A package with two apis, JSON in a body and in a query."""
    folder = tmp_path_factory.mktemp("halves")
    package = write_package(folder / "package", HALVES, HALVES_CONFIG)
    with start_runtime(folder / "home", package, MODEL_SERVER=profile) as runtime:
        yield runtime.wait_until_ready()


def ask_all(runtime, pictures, number: int) -> Counter[int]:
    """Ask ``number`` requests of the service; return how often each status came."""
    config = read_model_config(runtime.model_path / "config.json")
    document = schemathesis.openapi.from_dict(to_openapi(config))
    operations = [found.ok() for found in document.get_all_operations()]
    cases = st.one_of(
        operation.as_strategy(generation_mode=mode)
        for operation in operations
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        # Nothing about a plain GET can be wrong.
        if mode is GenerationMode.POSITIVE or operation.body or operation.query
    )
    statuses: Counter[int] = Counter()

    @settings(
        max_examples=number,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, picture=st.none() | st.sampled_from(pictures))
    def ask(case, picture):
        if picture and isinstance(case.body, dict) and "images" in case.body:
            case.body["images"] = picture  # as made, a file is never a picture
        answer = case.call(base_url=runtime.url, session=session, timeout=10)
        statuses[answer.status_code] += 1
        assert answer.status_code < 500, answer.text

    with requests.Session() as session:
        ask()
    return statuses


@pytest.mark.usefixtures("profile")
@pytest.mark.parametrize("service", ["mnist", "halves"])
@pytest.mark.parametrize(
    "number",
    [
        100,
        pytest.param(2000, marks=[pytest.mark.true_time, pytest.mark.timeout(600)]),
    ],
)
def test_no_request_that_can_be_made_from_config_json_gets_5xx(
    request, some_digits, service, number
):
    runtime = request.getfixturevalue(service)
    workers = runtime.workers()

    statuses = ask_all(runtime, [encode_jpeg(digit) for digit in some_digits.values()], number)
    log.info("%d requests: %s", statuses.total(), dict(sorted(statuses.items())))

    assert statuses.total() >= number
    assert statuses[200] > number / 20
    assert statuses[422] > 0
    assert runtime.workers() == workers
    assert runtime.metrics()["model_service_restarts_total"] == 0
