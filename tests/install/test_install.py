"""The wheel in bare environments, from wherever pip looks, used far away from any checkout."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from benchmarks.install import LARGEST_MB, PYTHONS, find_python, install, size_mb

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "tests/corpus/thread-bound/package"
TAG = "custom-image/tests:from-a-wheel"

# Of minutes: pip, on a machine that others use too.
pytestmark = [pytest.mark.true_time, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module", params=PYTHONS)
def environment(request, wheel, tmp_path_factory) -> Path:
    python = find_python(request.param)
    if not python:
        pytest.skip(f"no Python {request.param} here")
    return install(wheel, python, tmp_path_factory.mktemp("bare") / "env").parent


def call(environment: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [environment / "bin/custom-image", *arguments], cwd=folder, capture_output=True, text=True
    )


def test_the_core_is_small_and_judges_a_folder(environment, tmp_path):
    done = call(
        environment, tmp_path, "verify", str(PACKAGE), "--level", "static", "--format", "json"
    )

    assert size_mb(environment) < LARGEST_MB[""]
    assert json.loads(done.stdout)["counts"]["PASSED"] > 5, done.stderr
    assert list(tmp_path.iterdir()) == []
    assert not any(environment.rglob("site-packages/model_service"))


def test_a_package_becomes_an_image_that_is_judged_without_a_clone(
    environment, docker_engine, tmp_path
):
    try:
        built = call(
            environment,
            tmp_path,
            *("build", "dockerfile_build", "--package", str(PACKAGE), "--tag", TAG),
        )
        judged = call(environment, tmp_path, "verify", TAG, "--format", "json")
    finally:
        docker_engine.remove_image(TAG)

    assert built.returncode == 0, built.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["build"]
    report = json.loads(judged.stdout)
    assert report["level"] == "quick"
    assert report["counts"]["PASSED"] > 40
    assert {check["id"] for check in report["checks"] if check["verdict"] == "FAILED"} <= {
        "predict.valid"
    }


def test_the_sentence_says_the_right_command(environment, wheel, tmp_path):
    lacking = call(environment, tmp_path, "publish", "my-org/mnist:1")
    command = lacking.stderr.partition(": pip ")[2].replace("'", "").split()
    pip = [environment / "bin/pip", "--disable-pip-version-check"]
    done = subprocess.run([*pip, *command], capture_output=True, text=True)
    keys = {
        "HUAWEICLOUD_SDK_AK": "a",
        "HUAWEICLOUD_SDK_SK": "b",
        "MODELARTS_ENDPOINT": "http://[::1]",
    }
    planned = subprocess.run(
        [environment / "bin/custom-image", "push", "x:1", "--to", "a/b:1", "--dry-run"],
        cwd=tmp_path,
        env=keys,
        capture_output=True,
        text=True,
    )

    assert command == ["install", "modelarts-custom-image[cloud]"]
    assert done.returncode == 0, done.stderr
    assert size_mb(environment) < LARGEST_MB["cloud"]
    assert "is not installed here" not in planned.stderr
