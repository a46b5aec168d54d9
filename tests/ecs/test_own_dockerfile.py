"""A Dockerfile of one's own, built on a server: sent in parts, followed, its images provided."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from custom_image.builders.base import ensure_base_image
from custom_image.dockerfile_context import write_dockerfile_context
from custom_image.ecs import Connection, build, estimate_size
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


@pytest.fixture
def connection(shared_server):
    with Connection.open(
        shared_server.host, config_file=str(shared_server.ssh_config)
    ) as connection:
        yield connection


@pytest.mark.parametrize("builder", ["buildkit", "classic"])
def test_it_is_built_there_and_after_an_edit_only_the_edit_is_sent(
    builder: str, source: Path, connection, tmp_path: Path
) -> None:
    folder, tag = tmp_path / "context", f"own-{builder}:1"
    context = write_dockerfile_context(source, scenario="ecs_build", folder=folder)

    image = build(context, tag, connection=connection, builder=builder)

    assert [layer.instruction.split()[0] for layer in image.layers] == [
        "FROM",
        *["COPY"] * 2,
        "RUN",
    ]
    assert image.context_digest == context.digest
    edited = f"#!/bin/sh\ntrue {builder}\n"
    (source / "start").write_text(edited)
    context = write_dockerfile_context(source, scenario="ecs_build", folder=folder)
    again = build(context, tag, connection=connection, builder=builder)
    assert again.sent.bytes == len(edited)
    assert [layer.reused for layer in again.layers] == [True, True, False, False]


def test_the_estimate_names_what_is_sent(source: Path, tmp_path: Path) -> None:
    estimate = estimate_size(write_dockerfile_context(source, folder=tmp_path / "context"))

    assert dict(estimate.parts)["large.bin"] == 2**24
    assert "left.bin" not in dict(estimate.parts)


def test_an_image_that_is_nowhere_is_named_before_anything_is_sent(
    source: Path, connection, tmp_path: Path, shared_server
) -> None:
    (source / "Dockerfile").write_text("FROM registry.invalid/nobody/has:this\n")
    context = write_dockerfile_context(source, folder=tmp_path / "context")

    with pytest.raises(Unavailable, match=r"has no image registry\.invalid/nobody/has:this"):
        build(context, "own-nowhere:1", connection=connection)


def test_the_command_takes_a_folder_and_a_server(
    source: Path, shared_server, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    (project / "build").mkdir(parents=True)
    for entry in ("docker", "model_package", "notebooks", "scripts"):
        (project / entry).symlink_to(find_project() / entry)

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
    shutil.rmtree(project)
