"""What the verifier accepts and refuses, and what it does without starting anything."""

from __future__ import annotations

import re
import shutil

import pytest
from judging import GOOD_SERVICE, Diary, copy_good_service, judge, replace

from custom_image.engines.options import parse_options
from custom_image.errors import UsageError
from custom_image.report import Verdict
from custom_image.rules import catalogue
from custom_image.verification import verify


@pytest.fixture
def service(tmp_path):
    return copy_good_service(tmp_path)


def test_level_static_starts_nothing_and_says_so(service):
    replace(service / "run.sh", "exec", f"touch {service}/started; exec")

    report = judge(service, level="static")

    assert not (service / "started").exists()
    assert report.check("config.valid").verdict is Verdict.PASSED
    assert report.check("sigterm.exit").measured == (
        "level static starts nothing; use --level quick"
    )


def test_only_runs_the_rules_named_and_those_they_require(service):
    report = judge(service, only=["config.meant"])

    assert [check.id for check in report.checks] == ["config.valid", "config.meant"]


def test_a_profile_has_its_own_rules_and_severities(service):
    replace(service / "serve.py", '{"health": "true"}', "fine")

    batch = {check.id for check in judge(service, profile="batch", level="static").checks}
    engine = judge(service, profile="engine", level="static").check("user.account")

    assert {"batch.boot-file", "batch.dependencies"} <= batch
    assert not any(rule_id.startswith(("sigterm.", "health.truth")) for rule_id in batch)
    assert engine.severity == "error"


def test_a_model_package_is_judged_by_its_files(service):
    (service / "run.sh").unlink()

    report = judge(service)

    assert report.check("config.valid").verdict is Verdict.PASSED
    assert report.check("config.valid").evidence == f"read from {service / 'config.json'}"
    assert report.check("api.answers").measured == (
        "a folder has no service to ask; start it and name its URL"
    )


def test_a_build_context_is_judged_by_its_files_and_not_started(tmp_path):
    context = tmp_path / "context"
    model = context / "rootfs/home/ma-user/infer/model/1"
    model.mkdir(parents=True)
    (context / "Dockerfile").write_text("FROM scratch\n")
    (context / "rootfs/home/run.sh").write_bytes(b"#!/bin/sh\r\n")
    shutil.copy(GOOD_SERVICE / "config.json", model)

    report = judge(context)

    assert report.check("config.valid").verdict is Verdict.PASSED
    assert report.check("boot.text").measured == ("/home/run.sh has a carriage return in line 1")
    assert report.check("health.ready").verdict is Verdict.NOT_CHECKED


@pytest.mark.parametrize(
    ("target", "hint"),
    [
        ("http://127.0.0.1:1/predict", "Paths are taken from config.json"),
        ("{tmp}", "Name a build context, a model package"),
        ("{tmp}/absent", "expected an image, an archive of one, a folder or a URL"),
        ("{tmp}/image.tar", "Expected what `docker save` writes"),
    ],
)
def test_a_target_that_is_none_is_wrong_usage(target, hint, tmp_path):
    (tmp_path / "image.tar").write_bytes(b"")

    with pytest.raises(UsageError, match=r"Name|xpected|Paths") as error:
        judge(target.format(tmp=tmp_path))

    assert hint in str(error.value)


@pytest.mark.parametrize(
    ("setting", "value", "hint"),
    [
        ("profile", "engines", "Did you mean 'engine'?"),
        ("level", "slow", "Use one of static, quick, full."),
        ("edition", "huaweicloud-2", "Did you mean 'huaweicloud'?"),
        ("only", ["http.keepalive"], "Did you mean 'http.keep-alive'?"),
    ],
)
def test_a_misspelt_argument_is_wrong_usage_with_a_hint(service, setting, value, hint):
    with pytest.raises(UsageError, match="is not known") as error:
        judge(service, **{setting: value})

    assert hint in str(error.value)


def test_another_command_is_started_and_named_in_the_report(service):
    (service / "run.sh").rename(service / "serve.sh")
    (service / "run.sh").write_text("#!/bin/sh\necho a notebook server\n")

    own = judge(service, only=["api.answers"])
    other = judge(service, only=["api.answers"], command="sh /home/serve.sh")

    assert own.check("health.ready").measured.startswith("ended with exit code 0")
    assert other.check("api.answers").verdict is Verdict.PASSED
    assert other.facts["command"] == "sh /home/serve.sh"
    assert "started with `sh /home/serve.sh`, not with its own command" in str(other)


@pytest.mark.parametrize(
    ("target", "command", "hint"),
    [
        ("http://127.0.0.1:1", "sh run.sh", "is not started here"),
        ("{service}", "sh 'run.sh", "cannot be split into words"),
    ],
)
def test_a_command_that_cannot_be_started_is_wrong_usage(service, target, command, hint):
    with pytest.raises(UsageError, match=hint):
        judge(target.format(service=service), command=command)


def test_a_config_that_is_not_there_is_wrong_usage(service):
    with pytest.raises(UsageError, match="cannot be read"):
        judge(service, config=service / "absent.json")


def test_a_watcher_is_told_when_each_rule_begins_and_ends(service):
    diary = Diary()

    report = judge(service, progress=diary, level="static")

    ended = {f"ended {check.id}" for check in report.checks}
    assert {line for line in diary.lines if line.startswith("ended")} == ended
    assert diary.lines.index("began boot.text") < diary.lines.index("ended boot.text")


def test_a_rule_that_cannot_be_judged_never_begins(service):
    diary = Diary()

    report = judge(service, progress=diary, level="static")

    reason = "level static starts nothing; use --level quick"
    idle = {check.id for check in report.checks if check.measured == reason}
    assert "sigterm.exit" in idle
    assert not idle & {line.removeprefix("began ") for line in diary.lines}


def test_in_a_log_each_verdict_is_a_line(service, capsys, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)

    verify(service, level="static", only=["config.valid"])

    assert capsys.readouterr().err.startswith("PASSED       config.valid")


def test_a_headless_run_says_nothing(service, capsys, monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")

    verify(service, level="static", only=["config.valid"])

    assert capsys.readouterr() == ("", "")


def test_every_rule_of_the_profile_has_a_verdict_in_the_order_of_the_catalogue(service):
    report = judge(service, level="static")

    ids = [rule.id for rule in catalogue() if "v2" in rule.profiles]
    assert [check.id for check in report.checks] == ids


# --- what can be read of a config.json ---------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "api"),
    [
        ('{"model_type": "PyTorch", "apis": [{"url": "/go"}], "dependencies": [{}]}', "/go"),
        ('[{"url": "/array"}]', "/array"),
        ('{"model_type": "Image", // a comment\n"apis": [{"url": "/commented"}],}', "/commented"),
        ('{"model_type": "Image", "apis": [{"url": "/a", "procotol": "htp"}], "health": 1}', "/a"),
    ],
)
def test_one_broken_field_leaves_the_rest_of_a_config_to_the_other_rules(service, config, api):
    (service / "config.json").write_text(config)

    report = judge(service, only=["config.valid", "api.answers"], ready_timeout_s=2)

    assert report.check("config.valid").verdict is Verdict.FAILED
    assert "custom-image package" in report.check("config.valid").remediation
    assert report.check("api.answers").evidence.startswith(f"POST {api}: 400")


def test_what_a_broken_config_does_not_say_is_not_made_up(service):
    (service / "config.json").write_text('{"model_type": "PyTorch"}')

    report = judge(service, level="static")

    assert report.check("config.valid").verdict is Verdict.FAILED
    assert report.check("health.declared").measured == "no health"


def test_a_config_of_which_nothing_can_be_read_says_so(service):
    (service / "config.json").write_text("%PDF")

    report = judge(service, level="static")

    assert report.check("health.declared").measured == "config.valid FAILED"


def test_apis_alone_are_enough(service):
    apis = service.parent / "apis.json"
    apis.write_text((service / "config.json").read_text())
    (service / "config.json").unlink()

    without = judge(service, only=["api.answers"])
    report = judge(service, only=["config.valid", "api.answers", "health.answers"], apis=apis)

    assert without.check("api.answers").verdict is Verdict.NOT_CHECKED
    assert report.check("config.valid").verdict is Verdict.NOT_CHECKED
    assert report.check("api.answers").verdict is Verdict.PASSED
    assert report.check("health.answers").verdict is Verdict.PASSED


def test_apis_that_are_none_are_wrong_usage(service, tmp_path):
    (tmp_path / "apis.json").write_text("{}")

    with pytest.raises(UsageError, match="expected the array `apis`"):
        judge(service, apis=tmp_path / "apis.json")


# --- start options -----------------------------------------------------------------------------


def test_values_of_variables_are_shown_nowhere(service):
    replace(service / "serve.py", "LARGEST_BODY_BYTES =", "print(os.environ)\nLARGEST_BODY_BYTES =")
    replace(service / "serve.py", "'{\"mnist_result\": 7}'", 'os.environ["ACCESS_TOKEN"]')
    options = parse_options(env=["ACCESS_TOKEN=4711-0815-abcd", "REGION=x1"])

    report = judge(service, only=["api.answers", "logs.stdout"], start_options=options)

    assert "***" in report.check("api.answers").measured
    assert "started with --env ACCESS_TOKEN=*** --env REGION=***" in report.remarks
    assert not re.search("4711|0815|abcd", report.to_json() + str(report))


def test_options_for_what_is_not_started_here_are_wrong_usage(service):
    (service / "run.sh").unlink()

    for target in (service, "http://127.0.0.1:1"):
        with pytest.raises(UsageError, match="cannot be given, because"):
            judge(target, start_options=parse_options(memory="1g"))


def test_a_process_cannot_be_given_what_only_a_container_has(service):
    report = judge(service, only=["api.answers"], start_options=parse_options(memory="1g"))

    assert "cannot be started with memory_bytes" in report.check("api.answers").measured
