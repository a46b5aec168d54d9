"""What the verifier accepts and refuses, and what it does without starting anything."""

from __future__ import annotations

import shutil

import pytest
from judging import GOOD_SERVICE, Diary, copy_good_service, judge, replace

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
        ("profile", "classical", "Did you mean 'classic'?"),
        ("level", "slow", "Use one of static, quick, full."),
        ("edition", "international-2", "Did you mean 'international'?"),
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
    assert "started with `sh /home/serve.sh`, not as it would start of itself" in str(other)


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

    ids = [rule.id for rule in catalogue() if "classic" in rule.profiles]
    assert [check.id for check in report.checks] == ids
