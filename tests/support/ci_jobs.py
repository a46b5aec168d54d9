"""Runs the steps of action.yml and of the GitLab template as their runners would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
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


def run_action(folder: Path, *, checkout: Path | None = None, **inputs: str) -> Job:
    """Run the steps of action.yml that are commands; the first, Install, only from a checkout."""
    action = yaml.safe_load((ROOT / "action.yml").read_text())
    assert set(inputs) <= {name.replace("-", "_") for name in action["inputs"]}
    given = {
        name: inputs.get(name.replace("-", "_"), about.get("default"))
        for name, about in action["inputs"].items()
    }
    assert None not in given.values(), "an input that is required was not given"
    runner = folder / "runner"
    runner.mkdir(exist_ok=True)
    if not checkout:
        (runner / "custom-image").mkdir(exist_ok=True)
        (runner / "custom-image/bin").symlink_to(BIN)
    steps: dict[str, dict[str, str]] = {}
    job = Job(0, {}, "", "")

    def value(found: re.Match[str]) -> str:
        expression = found[1]
        if expression == "github.action_path":
            return str(checkout)
        kind, name, *rest = expression.split(".")
        return given[name] if kind == "inputs" else steps[name][rest[-1]]

    def fill(text: str) -> str:
        return re.sub(r"\$\{\{ (\S+) \}\}", value, text)

    for number, step in enumerate(s for s in action["runs"]["steps"] if "run" in s):
        assert step["shell"] == "bash"
        assert "${{" not in step["run"], "an input in a script is code of whoever gives it"
        if (not checkout and step["name"] == "Install") or (job.code and "if" not in step):
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
                "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",  # of setup-python
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


def run_gitlab_job(folder: Path, binaries: Path, *scripts: str, **variables: str) -> None:
    """Run scripts of the template's job on the good package, and see that it kept what it names."""
    job = yaml.safe_load((ROOT / ".gitlab/verify.yml").read_text())[".custom-image"]
    variables = job["variables"] | {"TARGET": str(GOOD), "LEVEL": "static"} | variables
    del variables["DOCKER_HOST"]  # of the service, which is not here
    path = f"{binaries}{os.pathsep}{os.environ['PATH']}"
    lines = [line for script in scripts for line in job[script]]

    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", "\n".join(lines)],
        env={**os.environ, **variables, "PATH": path},
        cwd=folder,
        capture_output=True,
        text=True,
    )

    assert done.returncode in (0, 1), done.stderr
    kept = {*job["artifacts"]["paths"], job["artifacts"]["reports"]["junit"]}
    assert {path.name for path in folder.iterdir()} == kept
