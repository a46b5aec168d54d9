"""The commands that need an engine, as a user runs them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import docker
import pytest
import requests
from wheels import write_wheel

from custom_image.engines.docker.engine import DockerEngine
from custom_image.engines.docker.images import RUN_LABEL
from custom_image.engines.docker.owners import OWNER_LABEL, is_gone
from custom_image.engines.readiness import wait_until_ready

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
    answer, summary, *rows = demo.stdout.splitlines()
    assert answer == '{"mnist_result": 7}'
    assert summary.startswith("dockerfile_build:latest (v2, quick): ")
    assert int(re.search(r"(\d+) passed", summary)[1]) >= 60
    assert any(row.startswith("NOT CHECKED") for row in rows)
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


OWN_SERVICE = """
import arithmetic
from model_service.model_service import SingleNodeService

class Service(SingleNodeService):
    def _inference(self, data):
        return {"doubled": [arithmetic.double(value) for value in data["values"]]}
"""


def test_a_package_of_ones_own_becomes_an_image_with_what_it_imports(
    docker_engine, tmp_path, monkeypatch
):
    package, tag = tmp_path / "model", "custom-image/tests:own"
    package.mkdir()
    (package / "customize_service.py").write_text(OWN_SERVICE)
    values = {"type": "array", "items": {"type": "integer"}}
    schema = {"type": "object", "properties": {"values": values}}
    request = {"Content-type": "application/json", "data": schema}
    api = {"url": "/", "method": "post", "request": request}
    config = {"model_algorithm": "arithmetic", "model_type": "Image", "apis": [api]}
    (package / "config.json").write_text(json.dumps(config))
    write_wheel(tmp_path, "numerals", body="TWO = 2\n")
    double = "from numerals import TWO\ndouble = TWO.__mul__\n"
    write_wheel(tmp_path, "arithmetic", needs="numerals", body=double)
    (tmp_path / "requirements.txt").write_text("arithmetic\n")
    monkeypatch.setenv("PIP_FIND_LINKS", f"{os.environ.get('PIP_FIND_LINKS', '')} {tmp_path}")
    monkeypatch.chdir(tmp_path)

    options = ["--package", "model", "--requirements", "requirements.txt", "--tag", tag]
    built = subprocess.run(
        [COMMAND, "build", "dockerfile_build", *options],
        capture_output=True,
        text=True,
        check=False,
    )

    assert built.returncode == 0, built.stderr
    try:
        with docker_engine.start(tag) as service:
            wait_until_ready(service, "/health", 60)
            answer = requests.post(service.url, json={"values": [3, 4]}, timeout=10)
        assert (answer.status_code, answer.json()) == (200, {"doubled": [6, 8]})
    finally:
        docker_engine.remove_image(tag)
