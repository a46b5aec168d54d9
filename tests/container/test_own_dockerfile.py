"""`build dockerfile_build --context DIR`: a Dockerfile of one's own, as a user types it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from own_dockerfile import write_own_context

from custom_image.builders.base import ensure_base_image
from custom_image.builders.docker import build
from custom_image.dockerfile_context import write_dockerfile_context
from custom_image.engines.client import predict
from custom_image.engines.readiness import wait_until_ready
from custom_image.errors import BuildFailed
from custom_image.report import Verdict
from custom_image.verification import verify

COMMAND = Path(sys.executable).with_name("custom-image")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_own_context(tmp_path / "mine")


def test_the_image_answers_and_is_judged_like_one_made_here(source: Path, docker_engine) -> None:
    base, tag = ensure_base_image(engine=docker_engine), "custom-image/tests:own"

    done = subprocess.run(
        [
            *(COMMAND, "build", "dockerfile_build", "--context", source),
            *("--base-image", base, "--tag", tag),
        ],
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert f"FROM {base}" in done.stdout
    facts = docker_engine.inspect(tag)
    assert facts.command == ("sh", "/home/run.sh")
    names = ["/home/secret.txt", "/home/Dockerfile", "/home/notes.txt", "/home/.dockerignore"]
    assert set(docker_engine.read_files(tag, names).values()) == {None}
    assert docker_engine.find_files(tag, ["/usr/local/bin/start"])["/usr/local/bin/start"].mode & 1
    with docker_engine.start(tag) as service:
        wait_until_ready(service, "/health", timeout_s=60)
        assert predict(service.url, b"\xff\xd8\xff\xd9").text == '{"mnist_result": 7}'
    report = verify(tag, level="static", engine=docker_engine)
    assert report.verdict is not Verdict.FAILED


@pytest.mark.parametrize("network", [False, True])
def test_steps_have_a_network_only_where_it_is_asked_for(
    network: bool, source: Path, docker_engine, tmp_path: Path
) -> None:
    base = ensure_base_image(engine=docker_engine)
    test = "test -e /sys/class/net/eth0" if network else "test ! -e /sys/class/net/eth0"
    (source / "Dockerfile").write_text(f"ARG BASE_IMAGE\nFROM ${{BASE_IMAGE}}\nRUN {test}\n")
    context = write_dockerfile_context(
        source, base_image=base, network=network, folder=tmp_path / "context"
    )

    image = build(context, f"custom-image/tests:own-{network}".lower(), engine=docker_engine)

    assert [layer.instruction for layer in image.layers] == [f"FROM {base}", f"RUN {test}"]


def test_a_step_that_fails_is_named(source: Path, docker_engine, tmp_path: Path) -> None:
    base = ensure_base_image(engine=docker_engine)
    (source / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nRUN false\n")
    context = write_dockerfile_context(source, base_image=base, folder=tmp_path / "context")

    with pytest.raises(BuildFailed, match=r"step 3 of 3, 'RUN false': exit code 1"):
        build(context, "custom-image/tests:own-broken", engine=docker_engine)
