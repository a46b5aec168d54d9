"""What the action, the GitLab job and pre-commit do first, for real: they install this checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import venv
from pathlib import Path

import pytest
import yaml
from ci_jobs import BIN, GOOD, ROOT, run_action, run_gitlab_job

# Of minutes: pip, on a machine that others use too.
pytestmark = [pytest.mark.true_time, pytest.mark.timeout(1200)]

FILES = {
    "config.json": GOOD / "config.json",
    "Dockerfile": ROOT / "docker/dockerfile_build/Dockerfile",
    "run.sh": ROOT / "docker/rootfs/home/run.sh",
}
PAGE = ROOT / "scripts/custom_image/verification/CI.md"


def git(folder: Path, *arguments: str) -> str:
    """Run git as somebody whose own settings change nothing."""
    who = [word for pair in ("user.name=ci", "user.email=ci@example.com") for word in ("-c", pair)]
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def commit(folder: Path) -> None:
    git(folder, "init", "--quiet")
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--no-verify", "--message", "All of it")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """What is tracked here, as a repository of one commit: what a runner checks out."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in git(ROOT, "ls-files", "-z").split("\0"):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name, follow_symlinks=False)
    commit(folder)
    git(folder, "tag", "v0.2.0")
    return folder


def write_repository(folder: Path) -> Path:
    """Write a repository of somebody's own, with the three files that the hook is for."""
    (folder / "model").mkdir(parents=True)
    for name, source in FILES.items():
        shutil.copy(source, folder / "model" / name)
    commit(folder)
    return folder


def test_the_action_installs_its_checkout_and_judges(checkout, tmp_path):
    job = run_action(tmp_path, checkout=checkout, target=str(GOOD), level="static")

    command = tmp_path / "runner/custom-image/bin/custom-image"
    assert command.read_text().startswith(f"#!{command.parent}")
    assert job.outputs["exit-code"] == "0", job.log
    assert job.code == 0
    assert "# " in job.summary


@pytest.mark.parametrize("what", ["wheel", "git"])
def test_the_gitlab_job_installs_a_wheel_or_a_repository_and_judges(what, request, tmp_path):
    if what == "wheel":
        installed = str(request.getfixturevalue("wheel"))
    else:
        installed = f"git+file://{request.getfixturevalue('checkout')}@v0.2.0"
    venv.create(tmp_path / "python", with_pip=True)  # of the job's image python:3.11
    work = tmp_path / "work"
    work.mkdir()

    run_gitlab_job(
        *(work, tmp_path / "python/bin", "before_script", "script"), CUSTOM_IMAGE=installed
    )

    assert (tmp_path / "python/bin/custom-image").is_file()


def pre_commit(folder: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "pre-commit", *arguments, "--all-files", "--color", "never"],
        cwd=folder,
        env={**os.environ, "PRE_COMMIT_HOME": str(home)},
        capture_output=True,
        text=True,
    )


def test_pre_commit_tries_the_repository_and_finds_what_is_broken(checkout, tmp_path):
    mine = write_repository(tmp_path / "mine")
    (mine / "bad").mkdir()
    (mine / "bad/config.json").write_text('{"model_type": "Image"')
    git(mine, "add", "bad")

    done = pre_commit(mine, tmp_path / "home", "try-repo", str(checkout), "custom-image")

    assert done.returncode == 1, done.stderr
    assert "judge config.json, Dockerfile and run.sh by the rules of ModelArts" in done.stdout
    assert "config.valid" in done.stdout
    assert git(mine, "status", "--short") == "A  bad/config.json\n"


def test_the_settings_on_the_page_run_the_hook(checkout, tmp_path):
    """They name a repository that is not published: here git finds it on this machine."""
    mine = write_repository(tmp_path / "mine")
    page = re.findall(r"^```yaml\n(repos:.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    settings = yaml.safe_load(page[0])
    settings["repos"][0]["repo"] = str(checkout)
    (mine / ".pre-commit-config.yaml").write_text(yaml.safe_dump(settings))
    git(mine, "add", ".pre-commit-config.yaml")

    good = pre_commit(mine, tmp_path / "home", "run")
    (mine / "model/run.sh").write_text("#!/bin/sh\r\nexec python3 app.py &")
    bad = pre_commit(mine, tmp_path / "home", "run")

    assert good.returncode == 0, good.stdout
    assert "Passed" in good.stdout
    assert bad.returncode == 1
    assert "boot." in bad.stdout
