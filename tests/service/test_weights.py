"""Weights beside the image: read from the mount, and missed in a line that names them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from runtime import EXAMPLE_SERVICE, MNIST_CONFIG, upload, wait_for, write_package

from custom_image.mnist import encode_jpeg


@pytest.fixture
def thin(tmp_path: Path) -> Path:
    """The example's package without any weights."""
    return write_package(tmp_path / "thin", EXAMPLE_SERVICE.read_text(), MNIST_CONFIG)


@pytest.fixture
def mount(tmp_path: Path, mnist_package: Path) -> Path:
    """A folder that holds them, read-only."""
    folder = tmp_path / "mount"
    folder.mkdir()
    shutil.copy(mnist_package / "mnist.onnx", folder)
    (folder / "mnist.onnx").chmod(0o444)
    folder.chmod(0o555)
    return folder


def test_a_thin_package_answers_7_from_the_mount(start, thin, mount, some_digits):
    runtime = start(thin, WEIGHTS_PATH=str(mount)).wait_until_ready()

    answer = runtime.post(upload(encode_jpeg(some_digits[7])))

    assert (answer.status, answer.json) == (200, {"mnist_result": 7})


@pytest.mark.parametrize("state", ["missing", "empty", "truncated", "foreign"])
def test_weights_that_are_not_there_are_named_in_one_line(start, thin, mount, tmp_path, state):
    broken = tmp_path / state
    if state != "missing":
        broken.mkdir()
    if state == "truncated":
        (broken / "mnist.onnx").write_bytes((mount / "mnist.onnx").read_bytes()[:500])
    if state == "foreign":
        (broken / "weights.bin").write_bytes(b"of another model")

    runtime = start(thin, WEIGHTS_PATH=str(broken))

    wait_for(lambda: str(broken) in runtime.logs(), "the log names the folder")
    assert not runtime.is_healthy()
    assert runtime.post(upload(b"x")).status == 503
