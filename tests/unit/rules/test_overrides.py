"""Severities and limits that a project replaces, and rules that it waives with a reason."""

from __future__ import annotations

import pytest
from judging import copy_good_service, judge, replace

from custom_image.errors import UsageError
from custom_image.report import Verdict
from custom_image.rules import REGISTRY, Waits, catalogue, true_waits
from custom_image.rules.overrides import Overrides
from custom_image.specification import EDITIONS, HUAWEICLOUD


@pytest.fixture
def service(tmp_path):
    return copy_good_service(tmp_path)


@pytest.fixture
def broken(service):
    """A service whose boot file and config.json each break a rule."""
    replace(service / "run.sh", "\n", "\r\n")
    replace(service / "config.json", '"model_type"', '"modle_type": "Image", "model_type"')
    return service


FILE = """
severity:
  config.meant: error
limit:
  image.size: 20
  http.latency: 0.5
waive:
  boot.text: the base image ships dash with a patch, OPS-7
"""


def read(tmp_path, text: str) -> Overrides:
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    return Overrides.read(path)


# --- what they do ---------------------------------------------------------------------------------


def test_a_severity_that_is_raised_makes_a_warning_a_failure(broken):
    known = judge(broken, level="static").check("config.meant")
    raised = judge(broken, level="static", overrides=Overrides.parse(["config.meant=error"]))

    assert known.verdict is Verdict.WARNING
    assert raised.check("config.meant").verdict is Verdict.FAILED
    assert raised.check("config.meant").severity == "error"
    assert raised.overrides == {"severity": {"config.meant": "error"}}


def test_a_severity_that_is_lowered_makes_a_failure_a_warning(broken):
    lowered = judge(broken, level="static", overrides=Overrides.parse(["boot.text=note"]))

    assert lowered.check("boot.text").verdict is Verdict.WARNING
    assert lowered.verdict is Verdict.WARNING


def test_a_limit_is_compared_with_and_shown(service):
    low = Overrides.parse(limit=["port.default=9000"])

    strict = judge(service, level="static", overrides=low, only=["port.default"])
    fitting = judge(service, level="static", overrides=low, only=["port.default"], port=9000)

    assert strict.check("port.default").verdict is Verdict.WARNING
    assert strict.check("port.default").required == "9000"
    assert fitting.check("port.default").verdict is Verdict.PASSED


def test_a_limit_leaves_the_edition_and_the_other_limits_alone():
    changed = Overrides.parse(limit={"image.size": 20}).changed(EDITIONS["otc"])

    assert str(changed.image_size) == "20 GB"
    assert changed.image_size.source == EDITIONS["otc"].image_size.source
    assert changed.notebook_image_size == EDITIONS["otc"].notebook_image_size
    assert str(EDITIONS["otc"].image_size) == "30 GB"


def test_a_duration_that_is_replaced_is_what_level_full_waits():
    edition = Overrides.parse(limit={"http.keep-alive": 75, "sigterm.exit": 30.5}).changed(
        HUAWEICLOUD
    )

    assert true_waits(edition) == Waits(True, keep_alive_s=75, drain_s=60, exit_s=30.5)


@pytest.mark.parametrize("rule", [r for r in catalogue() if r.limit_field], ids=lambda r: r.id)
def test_every_limit_can_be_replaced_by_the_id_of_its_rule(rule):
    edition = Overrides.parse(limit=[f"{rule.id}=7"]).changed(HUAWEICLOUD)

    assert rule.required_by(edition).split()[0] == "7"
    assert rule.required_by(HUAWEICLOUD).split()[0] != "7"


def test_a_waived_rule_is_judged_and_does_not_fail(broken):
    report = judge(broken, level="static", overrides=Overrides.parse(waive=["boot.text=OPS-7"]))

    found = report.check("boot.text")
    assert (found.verdict, found.waived) == (Verdict.FAILED, "OPS-7")
    assert found.remediation
    assert "carriage return" in found.measured
    assert report.counts["WAIVED"] == 1
    assert report.verdict is Verdict.WARNING, "config.meant is not waived"


def test_a_waiver_of_a_rule_that_passes_stays_idle_and_is_said_so(service):
    report = judge(service, level="static", overrides=Overrides.parse(waive=["boot.text=OPS-7"]))

    assert report.check("boot.text").waived == ""
    assert report.remarks == ("waiver of boot.text has no effect, it is PASSED (OPS-7)",)


def test_what_comes_after_a_rule_that_failed_is_not_checked_and_names_it(service):
    (service / "config.json").write_text("{")

    report = judge(service, level="static")

    assert report.check("config.valid").verdict is Verdict.FAILED
    assert report.check("config.meant").verdict is Verdict.NOT_CHECKED
    assert report.check("config.meant").measured == "config.valid FAILED"
    assert report.check("config.meant").requires == ("config.valid",)


def test_what_comes_after_a_rule_that_is_waived_still_names_it(service):
    (service / "config.json").write_text("{")

    waiver = Overrides.parse(waive={"config.valid": "written at the deployment"})
    report = judge(service, level="static", overrides=waiver)

    assert report.check("config.meant").measured == "config.valid FAILED"


# --- where they come from -------------------------------------------------------------------------


def test_a_file_holds_all_three(tmp_path):
    found = read(tmp_path, FILE)

    assert found.severities == {"config.meant": "error"}
    assert found.limits == {"image.size": 20, "http.latency": 0.5}
    assert found.waivers == {"boot.text": "the base image ships dash with a patch, OPS-7"}
    assert found.to_fact()["limit"] == {"image.size": 20, "http.latency": 0.5}


def test_an_empty_file_overrides_nothing(tmp_path):
    assert read(tmp_path, "") == Overrides()
    assert Overrides().to_fact() == {}


def test_the_command_line_holds_where_both_speak(tmp_path):
    both = read(tmp_path, FILE) | Overrides.parse(["config.meant=note"], ["image.size=10"])

    assert both.severities == {"config.meant": "note"}
    assert both.limits == {"image.size": 10, "http.latency": 0.5}
    assert "boot.text" in both.waivers


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("severities: {}", "Did you mean 'severity'?"),
        ("severity: {config.ment: error}", "Did you mean 'config.meant'?"),
        ("severity: {config.meant: errors}", "Did you mean 'error'?"),
        ("limit: {boot.text: 3}", "boot.text has no limit to replace"),
        ("limit: {image.size: big}", "expected a number above 0"),
        ("limit: {image.size: -1}", "expected a number above 0"),
        ("limit: {image.size: .inf}", "expected a number above 0"),
        ("limit: {image.size: true}", "expected a number above 0"),
        ("waive: {boot.text: }", "gives no reason"),
        ("waive: {boot.text: ' '}", "gives no reason"),
        ("waive: [boot.text]", "must hold `RULE: value`"),
        ("[waive]", "expected the sections severity, limit, waive"),
        ("waive: {", "cannot be read"),
        ("!!python/object/apply:os.system [true]", "cannot be read"),
    ],
)
def test_a_file_that_says_something_else_is_wrong_usage(text, hint, tmp_path):
    with pytest.raises(UsageError) as error:
        read(tmp_path, text)

    assert hint in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "rules.yaml"))
    assert str(error.value).count("\n") < 3


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ({"waive": ["boot.text"]}, "expected RULE=value"),
        ({"waive": ["boot.text="]}, "gives no reason"),
        ({"severity": ["boot.text=fatal"]}, "Use one of error, warning, note"),
        ({"limit": ["http.keepalive=3"]}, "Did you mean 'http.keep-alive'?"),
    ],
)
def test_an_option_that_says_something_else_is_wrong_usage(given, hint):
    with pytest.raises(UsageError) as error:
        Overrides.parse(**given)

    assert hint in str(error.value)


def test_a_reason_may_hold_the_sign_that_divides():
    assert Overrides.parse(waive=["boot.text=a=b"]).waivers == {"boot.text": "a=b"}


def test_every_edition_has_the_limits_that_the_issue_of_sizes_and_times_is_about():
    sizes = {name: str(edition.image_size) for name, edition in EDITIONS.items()}
    times = {name: str(edition.latency) for name, edition in EDITIONS.items()}

    assert sizes == {"huaweicloud": "50 GB", "classic": "50 GB", "otc": "30 GB"}
    assert times == dict.fromkeys(sizes, "40 s")
    assert REGISTRY["http.latency"].limit_field == "latency"
