"""A prediction that the gateway would not wait for: the verdict says which way out there is."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from custom_image.model_config import parse_model_config
from custom_image.probing.http import Answer
from custom_image.report import Verdict
from custom_image.rules.service.api import answers
from custom_image.rules.service.http import PATIENCE_S, judge_times, propose
from custom_image.specification import GATEWAY_LATENCY, SYNCHRONOUS_LATENCY

WAY_OUT = "custom-image deploy --asynchronous"
CONFIG = parse_model_config('{"model_algorithm": "a", "model_type": "Image", "apis": [{}]}', "here")


@pytest.mark.parametrize(("slowest_s", "is_proposed"), [(0.2, False), (40, False), (40.1, True)])
def test_the_asynchronous_mode_is_proposed_above_40_s(slowest_s, is_proposed) -> None:
    assert (WAY_OUT in propose(slowest_s)) is is_proposed


def test_a_failed_latency_names_the_asynchronous_mode_in_its_remediation() -> None:
    finding = judge_times(45_000, GATEWAY_LATENCY, "slowest 45000.0 ms", "1 time")

    assert finding.verdict is Verdict.FAILED
    assert WAY_OUT in finding.remediation
    assert "40 s" in finding.remediation


def test_an_edition_that_allows_60_s_still_says_that_the_gateway_cuts_at_40() -> None:
    finding = judge_times(45_000, SYNCHRONOUS_LATENCY, "slowest 45000.0 ms", "1 time")

    assert finding.verdict is Verdict.PASSED
    assert WAY_OUT in finding.evidence


def test_a_fast_model_is_told_nothing_about_it() -> None:
    finding = judge_times(200, GATEWAY_LATENCY, "slowest 200.0 ms", "1 time")

    assert finding.verdict is Verdict.PASSED
    assert (finding.evidence, finding.remediation) == ("1 time", "")


@pytest.mark.parametrize(("waited_s", "is_proposed"), [(PATIENCE_S, True), (3.0, False)])
def test_an_api_that_is_silent_for_longer_than_the_gateway_waits_gets_the_same_advice(
    waited_s, is_proposed
) -> None:
    silent = [(CONFIG.apis[0], Answer(0, seconds=waited_s, error="no answer"))]
    context = SimpleNamespace(
        config=CONFIG, service=SimpleNamespace(url="http://unused"), once=lambda *_: silent
    )

    finding = answers(context)

    assert finding.verdict is Verdict.FAILED
    assert (WAY_OUT in finding.remediation) is is_proposed
