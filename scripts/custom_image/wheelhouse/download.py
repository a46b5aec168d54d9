"""One call of pip for the wheels that run on the Python of an image."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from custom_image.errors import BuildFailed
from custom_image.extras import require
from custom_image.target_python import TargetPython


def download(
    arguments: list[str], python: TargetPython, folder: Path, *, with_dependencies: bool = False
) -> None:
    """Download the wheels of requirements into a folder, from wherever the author's pip looks.

    Args:
        arguments: of ``pip download``: requirements, files of them, constraints.
        python: what the wheels must run on.
        folder: gets them.
        with_dependencies: what they depend on comes along.

    Raises:
        BuildFailed: pip finds no such wheel, or one with another hash, or two of them cannot be
            installed together.
    """
    run_pip(
        "download",
        *("--dest", str(folder)),
        *([] if with_dependencies else ["--no-deps"]),
        *arguments,
        python=python,
    )


def run_pip(verb: str, *arguments: str, python: TargetPython) -> None:
    """Run a verb of pip that chooses wheels for ``python``; as :func:`download`."""
    require("build")
    command = [sys.executable, "-m", "custom_image.wheelhouse.target_pip"]
    command += [json.dumps(dict(python.markers)), verb, "--disable-pip-version-check"]
    command += ["--no-input", "--progress-bar", "off", "--only-binary", ":all:"]
    command += ["--implementation", "cp", "--python-version", python.version]
    command += [part for name in python.platforms for part in ("--platform", name)]
    done = subprocess.run(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildFailed(_explain(done.stdout, python), done.stdout.splitlines())


def _explain(output: str, python: TargetPython) -> str:
    for pattern, message in (
        (
            r"Cannot install ([^\n]+?) because these package versions have conflicting",
            "{} cannot be installed beside what serves the model, whose versions stand in "
            "docker/requirements/.\nAsk for other versions, or change the lock there.",
        ),
        (
            r"No matching distribution found for (\S+)",
            f"no wheel of {{0}} for Python {python.minor} on Linux {python.machine} where pip "
            "looks.\n"
            "Add an index or a folder that has it (`pip config`, PIP_EXTRA_INDEX_URL, "
            "PIP_FIND_LINKS=FOLDER).\n"
            "Of what is there as source alone, `pip wheel --no-deps {0} -w FOLDER` makes one.",
        ),
        (
            r"DO NOT MATCH THE HASHES[\s\S]*?\n\s+(\S+==\S+)",
            "{} was found with another hash than the lock's: it is another file than was locked.\n"
            "Do not use that index before you know why, or lock again with `make lock`.",
        ),
    ):
        if match := re.search(pattern, output):
            return message.format(match[1])
    return "pip could not fetch the wheels that the image needs:"
