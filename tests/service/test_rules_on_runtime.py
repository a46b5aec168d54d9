"""The verifier judges the runtime in both profiles, as it judges anybody's service."""

from __future__ import annotations

import logging

import pytest
from judging import BROKEN, SHORT, judge, verdicts
from runtime import lay_out_image

from custom_image.report import Verdict

log = logging.getLogger(__name__)

WAITED = ["http.keep-alive", "sigterm.serves", "sigterm.exit"]
"""Rules about durations, which pass at the true ones only."""


@pytest.fixture
def home(tmp_path, mnist_package, profile, monkeypatch):
    """A folder that mirrors /home of an image; the process engine hands its environment on."""
    monkeypatch.setenv("MODEL_SERVER", profile)
    return lay_out_image(tmp_path / "home", mnist_package)


def test_no_rule_finds_a_fault_in_the_runtime(home):
    report = judge(home, waits=SHORT)

    assert verdicts(report, *BROKEN) == [], str(report)
    passed = verdicts(report, Verdict.PASSED)
    assert {"health.truth", "http.bad-input", "sigterm.in-flight", "sigterm.exit-code"} <= {*passed}
    for rule_id in WAITED:
        assert "s not waited" in report.check(rule_id).measured


@pytest.mark.true_time
@pytest.mark.timeout(400)
def test_no_rule_finds_a_fault_at_the_true_durations(home):
    """60 s of drain under load, gone before 90 s, a connection idle for 199 s and then used."""
    report = judge(home, waits=None, level="full")
    drill = report.facts["sigterm"]
    log.info("exit %.2f s after SIGTERM, %s", drill["exited_s"], report.facts["keep_alive"])
    log.info("%s", report.check("sigterm.serves").evidence)

    assert verdicts(report, *BROKEN) == [], str(report)
    assert {report.check(rule_id).verdict for rule_id in WAITED} == {Verdict.PASSED}
    assert 60 <= drill["exited_s"] <= 85
    assert drill["exit_code"] == 0
