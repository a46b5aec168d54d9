"""Sabotages that no Dockerfile can hold: of an archive, and of a build context.

The others stand in `support/sabotage.py`.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from image_archives import configuration, docker_archive, layer_of, member, tar_of, write
from judging import BROKEN, GOOD_SERVICE, judge, verdicts
from sabotage import WITHOUT_SABOTAGE

from custom_image.specification import MODEL_DIR

FILES = {
    "etc/passwd": b"ma-user:x:1000:100::/home/ma-user:/bin/sh\n",
    "home/run.sh": b"#!/bin/sh\nexec python3 /home/serve.py\n",
    f"{MODEL_DIR}/config.json": (GOOD_SERVICE / "config.json").read_bytes(),
}
SETTINGS = {"Env": ["PYTHONUNBUFFERED=1"], "ExposedPorts": {"8080/tcp": {}}}
DOCKERFILE = 'FROM debian:12-slim\nCOPY . /home\nUSER 1000:100\nCMD ["sh", "/home/run.sh"]\n'


def archive(
    folder: Path, *more: tuple[tarfile.TarInfo, bytes], architecture: str = "amd64"
) -> Path:
    layers = [layer_of(FILES), tar_of(*more)]
    document = json.loads(configuration(layers, **SETTINGS)) | {"architecture": architecture}
    return write(folder, docker_archive(layers, json.dumps(document).encode()))


def context(folder: Path, line: str = "") -> Path:
    (folder / "Dockerfile").write_text(DOCKERFILE.replace("COPY", f"{line}\nCOPY"))
    for path in ("run.sh", "config.json"):
        (folder / path).write_bytes((GOOD_SERVICE / path).read_bytes())
    return folder


TABLE: dict[str, Callable[[Path], Path]] = {
    "image.platform": lambda folder: archive(folder, architecture="s390x"),
    "layers.unpack": lambda folder: archive(folder, member("../outside", b"x")),
    "dockerfile.lint": lambda folder: context(folder, "RUN cd /tmp"),
}


@pytest.mark.parametrize("make", [archive, context])
def test_the_good_ones_break_no_rule(make, tmp_path):
    assert verdicts(judge(make(tmp_path), level="static"), *BROKEN) == []


@pytest.mark.parametrize("rule", TABLE)
def test_a_sabotage_fails_its_rule_and_no_other(rule, tmp_path):
    report = judge(TABLE[rule](tmp_path), level="static")

    assert verdicts(report, *BROKEN) == [rule], str(report)


def test_what_no_dockerfile_can_break_is_broken_here():
    assert set(TABLE) == WITHOUT_SABOTAGE
