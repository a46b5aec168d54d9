"""The commands that need an engine, as a user runs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import docker
import pytest

from custom_image.engines.docker import RUN_LABEL, DockerEngine
from custom_image.engines.owners import OWNER_LABEL, is_gone

# On a fresh machine the first one fetches MNIST, trains, and makes the base image.
pytestmark = pytest.mark.timeout(900)
COMMAND = Path(sys.executable).with_name("custom-image")


def left_behind() -> set[str]:
    """Return the ids of this tool's containers whose process has ended; other tests' live on."""
    client = docker.from_env()
    try:
        found = client.api.containers(all=True, filters={"label": RUN_LABEL})
        return {each["Id"] for each in found if is_gone(each["Labels"].get(OWNER_LABEL, ""))}
    finally:
        client.close()


def test_the_demo_ends_in_a_seven_and_a_table_of_verdicts_and_leaves_nothing(docker_engine):
    before = left_behind()

    demo = subprocess.run([COMMAND, "demo"], capture_output=True, text=True, check=False)

    verdicts = demo.stderr.splitlines()
    assert [line for line in verdicts if line.startswith(("FAILED", "Error"))] == []
    assert demo.returncode == 0, demo.stderr
    answer, summary, _, header, *rows = demo.stdout.splitlines()
    assert answer == '{"mnist_result": 7}'
    assert summary.startswith("dockerfile_build:latest (classic, quick): ")
    assert header.split() == ["verdict", "rule", "required", "measured"]
    assert sum(row.startswith("PASSED") for row in rows) >= 6
    assert "FAILED" not in demo.stdout
    assert "level quick" in demo.stderr
    assert left_behind() <= before


def test_clean_removes_the_containers_of_a_run(docker_engine):
    subprocess.run([COMMAND, "build", "dockerfile_build"], check=True, capture_output=True)
    lost = DockerEngine("interrupted-run")
    container = lost.start("dockerfile_build:latest")

    cleaned = subprocess.run(
        [COMMAND, "clean", "interrupted-run"], capture_output=True, text=True, check=True
    )

    assert cleaned.stdout == "1 container removed\n"
    assert not container.is_running()
