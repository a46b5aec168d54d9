"""The verifier on a service that is slower than the gateway's patience."""

from __future__ import annotations

import pytest
from judging import copy_good_service, judge, replace

from custom_image.report import Verdict

ANSWER = "            self.answer(200, '{\"mnist_result\": 7}')"


@pytest.mark.true_time
@pytest.mark.parametrize(
    ("sleep_s", "rule"),
    [(45, "http.latency"), (70, "api.answers")],
    ids=["an answer after 45 s", "no answer for 65 s"],
)
def test_a_prediction_of_more_than_40_s_is_told_of_the_asynchronous_mode(
    tmp_path, sleep_s, rule
) -> None:
    service = copy_good_service(tmp_path)
    replace(service / "serve.py", ANSWER, f"            time.sleep({sleep_s})\n{ANSWER}")

    check = judge(service, only=["api.answers", "http.latency"]).check(rule)

    assert check.verdict is Verdict.FAILED
    assert "custom-image deploy --asynchronous" in check.remediation
