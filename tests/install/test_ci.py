"""The steps of the action, the GitLab job and the hook, executed as their runners would."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "tests/corpus/thread-bound/package"
BIN = Path(sys.executable).parent
GOOD = ROOT / "model_package/model"
# How GitHub's runner starts a step: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#jobsjob_idstepsshell
BASH = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail"]


@dataclass
class Job:
    """What a job of GitHub left behind."""

    code: int
    outputs: dict[str, str]
    summary: str
    log: str


def run_action(folder: Path, *, installed: bool = True, **inputs: str) -> Job:
    """Run the steps of action.yml that are commands; `installed`: all but the first of them."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    assert set(inputs) <= {name.replace("-", "_") for name in action["inputs"]}
    given = {
        name: inputs.get(name.replace("-", "_"), about.get("default"))
        for name, about in action["inputs"].items()
    }
    assert None not in given.values(), "an input that is required was not given"
    runner = folder / "runner"
    runner.mkdir(exist_ok=True)
    if installed:
        (runner / "custom-image").mkdir(exist_ok=True)
        (runner / "custom-image/bin").symlink_to(BIN)
    steps: dict[str, dict[str, str]] = {}
    job = Job(0, {}, "", "")

    def value(found: re.Match[str]) -> str:
        expression = found[1]
        if expression == "github.action_path":
            return str(ROOT)
        kind, name, *rest = expression.split(".")
        return given[name] if kind == "inputs" else steps[name][rest[-1]]

    def fill(text: str) -> str:
        return re.sub(r"\$\{\{ (\S+) \}\}", value, text)

    for number, step in enumerate(s for s in action["runs"]["steps"] if "run" in s):
        assert step["shell"] == "bash"
        assert "${{" not in step["run"], "an input in a script is code of whoever gives it"
        if (installed and step["name"] == "Install") or (job.code and "if" not in step):
            continue
        output, summary = runner / f"output{number}", runner / "summary.md"
        script = runner / f"{number}.sh"
        script.write_text(step["run"])
        output.touch()
        summary.touch()
        done = subprocess.run(
            [*BASH, script],
            env={
                **os.environ,
                **{name: fill(text) for name, text in step.get("env", {}).items()},
                "GITHUB_OUTPUT": str(output),
                "GITHUB_STEP_SUMMARY": str(summary),
                "RUNNER_TEMP": str(runner),
            },
            cwd=folder,
            capture_output=True,
            text=True,
        )
        written = dict(line.split("=", 1) for line in output.read_text().splitlines())
        steps[step.get("id", str(number))] = written
        job.code, job.summary = done.returncode, summary.read_text()
        job.log += done.stdout + done.stderr
    job.outputs = {name: fill(about["value"]) for name, about in action["outputs"].items()}
    return job


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
    job = yaml.safe_load((ROOT / ".gitlab/verify.yml").read_text())[".custom-image"]
    variables = job["variables"] | {"TARGET": str(GOOD), "LEVEL": "static"}
    del variables["DOCKER_HOST"]  # of the service, which is not here
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"

    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", "\n".join(job["script"])],
        env={**os.environ, **variables, "PATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )

    assert done.returncode in (0, 1), done.stderr
    kept = {*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]}
    assert {path.name for path in tmp_path.iterdir()} == kept


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
