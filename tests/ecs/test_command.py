"""The commands of a build server, one after the other, as somebody at a terminal types them."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ecs_machine import PROJECT
from ecs_registry import PASSWORD, USER

pytestmark = pytest.mark.timeout(900)  # on a fresh machine it fetches wheels and makes the base
COMMAND = Path(sys.executable).with_name("custom-image")
IMAGE = "commands:1"


@pytest.fixture(scope="module", autouse=True)
def project(tmp_path_factory) -> Iterator[Path]:
    """This checkout with a build/ of its own: other tests train and build there meanwhile."""
    project = tmp_path_factory.mktemp("project")
    shared = PROJECT / "build" / "wheelhouse"
    shared.mkdir(parents=True, exist_ok=True)
    (project / "build").mkdir()
    (project / "build" / "wheelhouse").symlink_to(shared)
    for entry in ("docker", "model_package", "notebooks", "scripts"):
        (project / entry).symlink_to(PROJECT / entry)
    with contextlib.chdir(project):
        yield project


@pytest.fixture(scope="module")
def server(shared_server) -> tuple[str, ...]:
    return ("--server", shared_server.host, "--ssh-config", str(shared_server.ssh_config))


@pytest.fixture(scope="module")
def built(project, server, docker_engine) -> subprocess.CompletedProcess[str]:
    return custom_image("build", "ecs_build", "--sample", "--tag", IMAGE, *server)


def custom_image(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *words], capture_output=True, text=True)


def test_build_says_where_the_image_is_and_its_job_says_it_again(built, server, shared_server):
    assert built.returncode == 0, built.stderr
    assert f"on {shared_server.host}" in built.stdout
    assert shared_server.run(f"docker image inspect --format x {IMAGE}").strip() == "x"
    (job,) = re.findall(r"^job (\S+): sent", built.stderr, flags=re.MULTILINE)

    attached = custom_image("jobs", "follow", job, *server)

    assert attached.returncode == 0, attached.stderr
    assert attached.stdout.split(",")[0] == built.stdout.split(",")[0]


def test_verify_judges_it_there_by_every_rule(built, shared_server, tmp_path):
    done = custom_image(
        *("verify", IMAGE, "--server", shared_server.host),
        *("--ssh-config", str(shared_server.ssh_config)),
        *("--output", str(tmp_path / "report.json")),
    )

    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    verdicts = [check["verdict"] for check in report["checks"]]
    assert "failed" not in [verdict.lower() for verdict in verdicts]
    assert sum(verdict.lower() == "passed" for verdict in verdicts) > 50
    assert shared_server.run("docker ps --all --quiet") == ""


def test_push_uses_the_login_of_the_server_and_keeps_the_digest(
    built, server, shared_server, shared_registry, project
):
    shared_server.run(
        f"docker login --username {USER} --password-stdin {shared_registry.host}",
        input=PASSWORD.encode(),
    )
    try:
        done = custom_image("push", IMAGE, *server, "--to", f"{shared_registry.host}/org/{IMAGE}")
    finally:
        shared_server.run(f"docker logout {shared_registry.host}")

    assert done.returncode == 0, done.stderr
    digest = shared_registry.digest("org/commands", "1")
    receipts = json.loads((project / "build/pushed.json").read_text())
    assert receipts == {f"{shared_registry.host}/org/{IMAGE}": digest}
    assert digest in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("push", "x:1", "--server", "nobody@127.0.0.1"), "to where? Name it: --to"),
        (("jobs", "follow", "20260101-000000-abcd"), "which server?"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_done(words, said):
    done = custom_image(*words)

    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_job_that_is_not_there_is_named(server):
    done = custom_image("jobs", "follow", "20260101-000000-abcd", *server)

    assert done.returncode == 2
    assert "20260101-000000-abcd" in done.stderr
    assert "Traceback" not in done.stderr
