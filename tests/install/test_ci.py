"""The steps of the action, the GitLab job and the hook, executed as their runners would."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from ci_jobs import BIN, GOOD, ROOT, run_action, run_gitlab_job

PACKAGE = ROOT / "tests/corpus/thread-bound/package"


def test_the_action_judges_writes_reports_and_a_summary(tmp_path):
    job = run_action(tmp_path, target=str(GOOD), level="static")

    reports = tmp_path / "custom-image-report"
    report = json.loads((reports / "report.json").read_text())
    assert report["level"] == "static"
    assert job.code == int(job.outputs["exit-code"]) == (report["verdict"] == "FAILED")
    assert json.loads((reports / "report.sarif").read_text())["version"] == "2.1.0"
    assert (reports / "report.xml").read_text().startswith("<?xml")
    assert job.summary == (reports / "report.md").read_text() != ""


def test_what_fails_ends_the_job_after_its_reports(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "model")
    (tmp_path / "model/config.json").write_text("{}")

    job = run_action(tmp_path, target="model", level="static", reports="out")

    assert job.code == 1
    assert job.outputs["exit-code"] == "1"
    assert "config.valid" in job.summary
    assert (tmp_path / "out/report.sarif").is_file()


def test_arguments_are_handed_over_whole_and_never_run(tmp_path, docker_engine):
    (tmp_path / "rules of ours.yaml").write_text('waive: {"health.declared": "not yet"}')
    target = "$(touch broken-out); --help"

    waived = run_action(
        tmp_path,
        target=str(PACKAGE),
        level="static",
        arguments="--rules=rules of ours.yaml\n--format=table\n",
    )
    shutil.rmtree(tmp_path / "runner")
    strange = run_action(tmp_path, target=target, level="static")

    assert "not yet" in waived.summary
    assert strange.code == 2
    assert "names no image" in strange.log
    assert strange.summary == ""
    assert not (tmp_path / "broken-out").exists()


def test_the_steps_that_are_not_ours_are_given_what_they_take():
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    used = {step["uses"]: step for step in action["runs"]["steps"] if "uses" in step}

    assert set(used) == {"actions/setup-python@v5", "github/codeql-action/upload-sarif@v3"}
    sarif = used["github/codeql-action/upload-sarif@v3"]
    assert sarif["with"]["sarif_file"] == "${{ inputs.reports }}/report.sarif"
    assert "inputs.upload-sarif == 'true'" in sarif["if"]


def test_the_gitlab_job_judges_and_keeps_what_it_names(tmp_path):
    run_gitlab_job(tmp_path, BIN, "script")


def run_hook(folder: Path, *files: str) -> subprocess.CompletedProcess[str]:
    """Run the hook on those of the files that it is for, as pre-commit would."""
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    command, *arguments = shlex.split(hook["entry"])
    wanted = [file for file in files if re.search(hook["files"], file)]
    return subprocess.run(
        [BIN / command, *arguments, *wanted], cwd=folder, capture_output=True, text=True
    )


def test_the_hook_judges_each_folder_once_and_writes_nothing(tmp_path):
    for name in ("good", "bad"):
        shutil.copytree(GOOD, tmp_path / name)
    (tmp_path / "bad/config.json").write_text('{"model_type": "Image"')
    before = sorted(tmp_path.rglob("*"))

    good = run_hook(tmp_path, "good/config.json", "good/network.py")
    both = run_hook(tmp_path, "good/config.json", "bad/config.json", "README.md")

    assert good.returncode == 0, good.stdout
    assert good.stderr == ""
    assert both.returncode == 1
    assert "config.valid" in both.stdout
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("name", "source", "line", "rule"),
    [
        ("Dockerfile", "docker/dockerfile_build/Dockerfile", "FROM scratch\nRUN ]", "dockerfile"),
        ("run.sh", "docker/rootfs/home/run.sh", "#!/bin/sh\r\nexec python3 app.py &", "boot."),
    ],
)
def test_the_hook_takes_a_lone_dockerfile_and_a_lone_boot_file(name, source, line, rule, tmp_path):
    shutil.copy(ROOT / source, tmp_path / name)
    good = run_hook(tmp_path, name)
    (tmp_path / name).write_text(line)
    bad = run_hook(tmp_path, name)

    assert good.returncode == 0, good.stdout
    assert rule in bad.stdout


def test_the_page_shows_all_three():
    page = (ROOT / "scripts/custom_image/verification/CI.md").read_text()

    for name in ("action.yml", ".gitlab/verify.yml", ".pre-commit-hooks.yaml"):
        assert name in page
    for text in re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        assert yaml.safe_load(text)
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    assert all(f"`{name}`" in page for name in action["inputs"])
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert f"id: {hook['id']}" in page
