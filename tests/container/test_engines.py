"""Engines that no preset image has, each as an image that answers; from a package as it ran there.

Hundreds of MB are fetched the first time, and every image is of one to four GB.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import engine_packages
import pytest
import requests
from python_bases import make_base

from custom_image.engines.docker.engine import DockerEngine
from custom_image.engines.readiness import wait_until_ready

pytestmark = [pytest.mark.true_time, pytest.mark.timeout(3600)]
COMMAND = Path(sys.executable).with_name("custom-image")


@pytest.mark.parametrize(
    ("write", "minor", "layout", "version"),
    [
        (engine_packages.tensorflow_1, "3.7", "conda", "1.15.5"),
        (engine_packages.torch_1, "3.8", "venv", "1.8.1"),
        (engine_packages.mindspore_2, "3.11", "", "2.10.0"),
    ],
    ids=["tensorflow-1.15.5", "torch-1.8.1", "mindspore-2"],
)
def test_an_engine_that_no_preset_image_has_answers(
    write: Callable[[Path], Path],
    minor: str,
    layout: str,
    version: str,
    docker_engine: DockerEngine,
    tmp_path: Path,
) -> None:
    package = write(tmp_path / "model")
    base = ["--base-image", make_base(minor, layout, docker_engine)] if layout else []
    tag = f"custom-image/tests:engine-{write.__name__.replace('_', '-')}"
    environment = {**os.environ, **_source_only_wheels(tmp_path)}

    done = subprocess.run(
        [
            *(COMMAND, "build", "dockerfile_build", "--package", package),
            *("--python", minor, "--tag", tag, *base),
        ],
        env=environment,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    with docker_engine.start(tag) as service:
        wait_until_ready(service, "/health", timeout_s=300)
        for _ in range(3):
            answer = requests.post(service.url, json=engine_packages.BODY, timeout=60)
            assert answer.status_code == 200, f"{answer.text}\n{service.logs()}"
            assert answer.json()["sums"] == engine_packages.ANSWER
        assert answer.json()["engine"].startswith(version)


def _source_only_wheels(folder: Path) -> dict[str, str]:
    """Make a wheel of what TensorFlow 1.15 needs and the index has as source alone."""
    wheels = folder / "wheels"
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", wheels, "gast==0.2.2"],
        check=True,
    )
    return {"PIP_FIND_LINKS": str(wheels)}
