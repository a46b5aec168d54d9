"""The commands that ship an image: dry runs that send nothing, and what they refuse."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from fake_api import fake_api, name_in_environment

from custom_image import cli

CONFIG = {"model_algorithm": "image_classification", "model_type": "Image", "apis": [{"url": "/"}]}


@pytest.fixture
def api(monkeypatch, tmp_path):
    with fake_api() as api:
        name_in_environment(api, monkeypatch, tmp_path)
        yield api


@pytest.fixture
def run(monkeypatch, capsys):
    def run(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.chdir(Path.cwd())  # the commands enter the project; leave it again
        monkeypatch.setattr(sys, "argv", ["custom-image", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr()
        return left.value.code, said.out, said.err

    return run


@pytest.fixture
def config(tmp_path) -> str:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(CONFIG))
    return str(file)


def test_a_dry_run_of_each_verb_prints_its_calls_and_sends_nothing(api, run, config):
    pushed = run("push", "mnist:1", "--to", "team/mnist:1.0.0", "--dry-run")
    published = run("publish", "team/mnist:1.0.0", "--config", config, "--dry-run")
    deployed = run("deploy", "mnist", "--pool", "mine", "--generation", "v1", "--dry-run")
    later = run("deploy", "mnist", "--asynchronous", "--dry-run")
    gone = run("delete", "mnist", "--generation", "v1", "--dry-run")

    done = (pushed, published, deployed, later, gone)
    assert [code for code, _, _ in done] == [0] * len(done), done
    assert f"DELETE {api.url}/v1/project/services/SERVICE_ID" in gone[1]
    assert "docker push REGISTRY/team/mnist:1.0.0" in pushed[1]
    assert f"POST {api.url}/v1/project/models\n" in published[1]
    assert '"pool_name": "mine"' in deployed[1]
    assert '"type": "ASYNC_REAL_TIME"' in later[1]
    assert api.asked == []


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["deploy", "mnist", "--env", "A", "--dry-run"], "expected NAME=VALUE"),
        (["deploy", "mnist", "--instances", "129", "--dry-run"], "count: expected"),
        (["push", "mnist:1", "--to", "library/mnist:1", "--dry-run"], "organization: expected"),
        (["publish", "team/m:1", "--config", "none.json", "--dry-run"], "none.json: expected"),
        (["publish", "team/m:1", "--dry-run"], "Name its config.json with --config"),
        (["rehearse", "team/not-here:1"], "Name its config.json with --config"),
        (["publish", "team/m:1", "--version", "1", "--config", "CONFIG", "--dry-run"], "version"),
        (["rehearse", "mnist:1", "--config", "none.json"], "Write one with `custom-image package`"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_wrong_usage_is_refused_in_one_sentence_before_anything_is_sent(
    api, run, config, command, words
):
    code, out, said = run(*(config if word == "CONFIG" else word for word in command))

    assert code == 2
    assert "/v1/project/models\n" not in out  # at most it would have looked for what is there
    assert words in said
    assert "Traceback" not in said
    assert api.asked == []


def test_what_is_not_there_is_said_with_what_to_do(api, run):
    api.answers["GET /v1/project/models"] = [(200, {"models": []})]
    api.answers["GET /v2/project/services"] = [(200, {"data": []})]

    assert "Publish it." in run("deploy", "mnist")[2]
    assert "Deploy it first." in run("delete", "mnist")[2]


def test_without_a_cloud_and_a_local_platform_nothing_is_shown_for_nothing(
    monkeypatch, tmp_path, run
):
    for name in ("MODELARTS_ENDPOINT", "HW_REGION_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("custom_image.local_platform.find", lambda *_: None)

    code, _, said = run("deploy", "mnist", "--dry-run")

    assert code == 2
    assert "custom-image platform up" in said
