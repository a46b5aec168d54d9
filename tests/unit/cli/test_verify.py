"""``verify``: its reports, its options and its exit codes."""

from __future__ import annotations

import json

import pytest
from judging import GOOD_SERVICE


def test_verify_of_something_that_is_not_there_is_wrong_usage(tmp_path, custom_image):
    failed = custom_image("verify", str(tmp_path / "absent"))

    assert failed.returncode == 2
    assert failed.stderr.startswith("Error: ")
    assert "Traceback" not in failed.stderr


def test_verify_writes_its_report_and_exits_by_the_verdict(tmp_path, custom_image):
    (tmp_path / "config.json").write_text('{"model_type": "Image", "apis": "none"}')
    report = tmp_path / "report.json"

    command = ("verify", str(tmp_path), "--level", "static")

    printed = custom_image(*command, "--format", "json")
    written = custom_image(*command, "--format", "json", "--output", str(report))

    assert (printed.returncode, written.returncode) == (1, 1)
    assert json.loads(printed.stdout)["verdict"] == "FAILED"
    assert json.loads(report.read_text())["counts"] == json.loads(printed.stdout)["counts"]
    assert "\nFAILED " in written.stdout, "beside a file, the table is printed"


def test_one_run_of_verify_writes_a_report_for_each_reader(tmp_path, package, custom_image):
    names = ("r.json", "r.xml", "r.sarif", "r.html", "r.txt")
    outputs = [word for name in names for word in ("--output", str(tmp_path / name))]

    judged = custom_image("verify", package, "--level", "static", *outputs)

    starts = {name: (tmp_path / name).read_text().lstrip()[:20] for name in names}
    assert judged.returncode == 0
    assert starts["r.json"].startswith("{")
    assert starts["r.xml"].startswith("<?xml")
    assert starts["r.sarif"].startswith("{")
    assert starts["r.html"].startswith("<!doctype html>")
    assert (tmp_path / "r.txt").read_text() == judged.stdout
    assert "config.meant" in judged.stdout


@pytest.mark.parametrize("form", ["table", "json", "junit", "sarif", "html"])
def test_every_format_can_be_printed(form, package, custom_image):
    printed = custom_image("verify", package, "--level", "static", "--format", form)

    assert printed.returncode == 0
    assert "config.meant" in printed.stdout


def test_verify_names_the_command_that_was_started_instead(custom_image):
    command = ("--command", "sh /home/serve.sh")

    judged = custom_image("verify", str(GOOD_SERVICE), "--level", "static", *command)

    assert "started with `sh /home/serve.sh`, not with its own command" in judged.stdout


def test_options_of_verify_hold_above_the_file_of_rules(tmp_path, package, custom_image):
    rules = tmp_path / "rules.yaml"
    rules.write_text("severity: {config.meant: error}\nlimit: {image.size: 20}\n")
    command = ("verify", package, "--level", "static", "--format", "json", "--rules", str(rules))

    strict = custom_image(*command)
    waived = custom_image(*command, "--waive", "config.meant=OPS-7", "--limit", "image.size=10")

    assert (strict.returncode, waived.returncode) == (1, 0)
    overrides = json.loads(waived.stdout)["overrides"]
    assert overrides == {
        "severity": {"config.meant": "error"},
        "limit": {"image.size": 10},
        "waive": {"config.meant": "OPS-7"},
    }


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--waive", "config.meant"], "expected RULE=value"),
        (["--waive", "config.ment=x"], "Did you mean 'config.meant'?"),
        (["--severity", "config.meant=fatal"], "Use one of error, warning, note."),
        (["--limit", "config.meant=3"], "has no limit to replace"),
        (["--profile", "engin"], "Did you mean 'engine'?"),
        (["--output", "/nowhere/r.json"], "cannot be written"),
        (["--format", "yaml"], "'table', 'json', 'junit', 'sarif', 'html'"),
        (["--rules", "/nowhere/rules.yaml"], "does not exist"),
    ],
)
def test_wrong_usage_of_verify_exits_with_2(arguments, hint, package, custom_image):
    failed = custom_image("verify", package, "--level", "static", *arguments)

    assert failed.returncode == 2
    assert hint in failed.stderr
    assert "Traceback" not in failed.stderr


def test_verify_without_an_engine_exits_with_3(tmp_path, monkeypatch, custom_image):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")

    assert custom_image("verify", "mnist:1").returncode == 3


def test_verify_that_could_check_nothing_exits_with_3(package, custom_image):
    nothing = custom_image("verify", "http://127.0.0.1:9", "--level", "static", "--format", "json")

    verdicts = {c["verdict"] for c in json.loads(nothing.stdout)["checks"]}
    assert "FAILED" not in verdicts
    assert nothing.returncode == (3 if verdicts == {"NOT CHECKED"} else 0)
