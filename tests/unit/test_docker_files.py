"""The files below docker/ and what they share with the library: read, linted, compared."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from custom_image.builders.base import DEFAULT_BASE_IMAGE
from custom_image.specification import (
    BOOT_COMMAND,
    GROUP_ID,
    MODEL_DIR,
    PORT,
    USER_HOME,
    USER_ID,
    USER_NAME,
)

DOCKER = Path(__file__).parents[2] / "docker"
BIN = Path(sys.executable).parent
DOCKERFILES = sorted(DOCKER.glob("*/Dockerfile"))
LOCKS = sorted((DOCKER / "requirements").glob("*.txt"))


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.parent.name)
def test_dockerfiles_pass_the_linter(path: Path) -> None:
    done = subprocess.run([BIN / "hadolint", path], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", sorted(DOCKER.rglob("*.sh")), ids=lambda path: path.name)
def test_scripts_pass_the_linter_as_posix_shell(path: Path) -> None:
    done = subprocess.run(
        [BIN / "shellcheck", "--shell=sh", path], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout


@pytest.fixture
def dockerfile() -> str:
    return (DOCKER / "dockerfile_build/Dockerfile").read_text()


def test_the_default_base_is_the_one_that_the_library_looks_for(dockerfile: str) -> None:
    assert f"ARG BASE_IMAGE={DEFAULT_BASE_IMAGE}\n" in dockerfile


def test_the_dockerfile_says_the_numbers_of_the_platform(dockerfile: str) -> None:
    program, boot_file = BOOT_COMMAND.value.split()
    user = f"{USER_ID}:{GROUP_ID}"

    assert f'CMD ["{program}", "{boot_file}"]' in dockerfile
    assert f"EXPOSE {PORT}\n" in dockerfile
    assert f"USER {user}\n" in dockerfile
    assert f"{USER_NAME}:x:{user}::{USER_HOME}:" in dockerfile
    assert f"weights/ {MODEL_DIR}/\n" in dockerfile
    assert set(re.findall(r"--chown=(\S+)", dockerfile)) == {user}


def test_layers_are_ordered_from_seldom_to_often_changed(dockerfile: str) -> None:
    final = dockerfile.rpartition("\nFROM ")[2]
    order = ["/opt/serving /opt/serving", "model_service\n", "weights/", "infer/model/ "]

    assert sorted(order, key=final.index) == order


def test_nothing_in_the_final_stage_runs_below_the_files_that_change(dockerfile: str) -> None:
    final = dockerfile.rpartition("\nFROM ")[2]

    assert "RUN " not in final[final.index("COPY ") :]


def test_only_what_the_classic_builder_understands_is_used(dockerfile: str) -> None:
    assert not re.search(r"--mount|--link|<<|^# syntax=", dockerfile, re.MULTILINE)


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_locks_pin_every_package_with_hashes_and_name_no_index(path: Path) -> None:
    text = path.read_text()
    pins = re.findall(
        r"^([\w.-]+)==([^\s;\\]+)(.*(?:\n    --hash=sha256:[0-9a-f]{64}.*)+)", text, re.M
    )
    names = re.findall(r"^[A-Za-z][^\s#]*", text, re.MULTILINE)

    assert len(pins) == len(names) > 0
    assert not re.search(r"https?://|--index|--extra|--find-links|--trusted", text)


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.name)
def test_locks_hold_what_their_input_asks_for(path: Path) -> None:
    lines = path.with_suffix(".in").read_text().splitlines()
    wanted = {line.split("#")[0].strip() for line in lines} - {""}
    locked = set(re.findall(r"^([\w.-]+)==", path.read_text(), re.MULTILINE))

    assert wanted <= locked
