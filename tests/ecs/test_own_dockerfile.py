"""A Dockerfile of one's own, built on a server: sent in parts, followed, its images provided."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from ecs_registry import PASSWORD, USER

from custom_image.builders.base import ensure_base_image
from custom_image.dockerfile_context import write_dockerfile_context
from custom_image.ecs import build, estimate_size
from custom_image.errors import Unavailable
from custom_image.settings import find_project

pytestmark = pytest.mark.timeout(900)
COMMAND = Path(sys.executable).with_name("custom-image")


@pytest.fixture
def source(tmp_path: Path, docker_engine) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    base = ensure_base_image(engine=docker_engine)
    (folder / "Dockerfile").write_text(
        f"FROM {base} AS first\nRUN test ! -e /sys/class/net/eth0\n"
        "FROM first\nCOPY large.bin /opt/large.bin\nCOPY start /opt/start\nRUN /opt/start\n"
    )
    (folder / "large.bin").write_bytes(bytes(range(256)) * 2**16)
    (folder / "start").write_text("#!/bin/sh\ntrue\n")
    (folder / "start").chmod(0o755)
    (folder / "left.bin").write_bytes(b"x" * 2**20)
    (folder / ".dockerignore").write_text("left.bin\n")
    return folder


@pytest.mark.parametrize("builder", ["buildkit", "classic"])
def test_it_is_built_there_and_after_an_edit_only_the_edit_is_sent(
    builder: str, source: Path, build_server, tmp_path: Path
) -> None:
    folder, tag = tmp_path / "context", f"own-{builder}:1"
    context = write_dockerfile_context(source, scenario="ecs_build", folder=folder)

    image = build(context, tag, on=build_server, builder=builder)

    assert [layer.instruction.split()[0] for layer in image.layers] == [
        "FROM",
        *["COPY"] * 2,
        "RUN",
    ]
    assert image.context_digest == context.digest
    edited = f"#!/bin/sh\ntrue {builder}\n"
    (source / "start").write_text(edited)
    context = write_dockerfile_context(source, scenario="ecs_build", folder=folder)
    again = build(context, tag, on=build_server, builder=builder)
    assert again.sent.bytes == len(edited)
    assert [layer.reused for layer in again.layers] == [True, True, False, False]


def test_the_estimate_names_what_is_sent(source: Path, tmp_path: Path) -> None:
    estimate = estimate_size(write_dockerfile_context(source, folder=tmp_path / "context"))

    assert dict(estimate.parts)["large.bin"] == 2**24
    assert "left.bin" not in dict(estimate.parts)


def test_an_image_that_is_nowhere_is_named_before_anything_is_sent(
    source: Path, build_server, tmp_path: Path, shared_server
) -> None:
    (source / "Dockerfile").write_text("FROM registry.invalid/nobody/has:this\n")
    context = write_dockerfile_context(source, folder=tmp_path / "context")

    with pytest.raises(Unavailable, match=r"has no image registry\.invalid/nobody/has:this"):
        build(context, "own-nowhere:1", on=build_server)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """This checkout with a build/ of its own."""
    project = tmp_path / "project"
    (project / "build").mkdir(parents=True)
    for entry in ("docker", "model_package", "notebooks", "scripts"):
        (project / entry).symlink_to(find_project() / entry)
    return project


def test_the_command_takes_a_folder_and_a_server(
    source: Path, shared_server, project: Path
) -> None:
    done = subprocess.run(
        [
            *(COMMAND, "build", "ecs_build", "--context", source, "--tag", "own-command:1"),
            *("--server", shared_server.host, "--ssh-config", str(shared_server.ssh_config)),
        ],
        cwd=project,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert f"on {shared_server.host}" in done.stdout
    assert "estimated size" in done.stderr


def test_after_an_interrupt_its_job_is_followed_and_its_image_pushed(
    source: Path, shared_server, shared_registry, project: Path
) -> None:
    server = ("--server", shared_server.host, "--ssh-config", str(shared_server.ssh_config))
    image = "own-followed:1"
    (source / "start").write_text(f"#!/bin/sh\nsleep 5  # {uuid4()}: no cache has it\n")
    # What runs in the background of a shell has SIGINT ignored, and hands that on.
    listening = ("env", "--default-signal=INT")
    author = subprocess.Popen(
        [*listening, COMMAND, "build", "ecs_build", "--context", source, "--tag", image, *server],
        cwd=project,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    said = ""
    while ": sent" not in said:
        line = author.stderr.readline()
        assert line, said
        said += line
    author.send_signal(signal.SIGINT)
    said += author.communicate(timeout=60)[1]
    (job,) = re.findall(r"^job (\S+): sent", said, flags=re.MULTILINE)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [COMMAND, *words, *server]
        return subprocess.run(command, cwd=project, capture_output=True, text=True)

    followed = run("jobs", "follow", job)
    login = f"docker login --username {USER} --password-stdin {shared_registry.host}"
    shared_server.run(login, input=PASSWORD.encode())
    try:
        pushed = run("push", image, "--to", f"{shared_registry.host}/org/{image}")
    finally:
        shared_server.run(f"docker logout {shared_registry.host}")

    assert author.returncode != 0
    assert followed.returncode == 0, followed.stderr
    assert f"on {shared_server.host}" in followed.stdout
    assert pushed.returncode == 0, pushed.stderr
    assert shared_registry.digest("org/own-followed", "1") in pushed.stdout
