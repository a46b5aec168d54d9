"""What a base image's Python says about itself, and what is refused before anything is built."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from custom_image.errors import UsageError
from custom_image.target_python import PROBE, SUPPORTED, TargetPython

SAYS = {
    "version": "3.8.18",
    "implementation": "CPython",
    "machine": "x86_64",
    "libc": "glibc 2.31",
    "free_threaded": False,
    "executable": "/opt/conda/bin/python3.8",
    "environment": True,
}


def _read(**changes: object) -> TargetPython:
    return TargetPython.read(json.dumps({**SAYS, **changes}), "org/base:1")


def test_wheels_lock_and_boot_file_follow_what_it_says() -> None:
    python = _read()

    assert python == TargetPython("3.8.18", "x86_64", 31, "/opt/conda/bin/python3.8")
    assert python.minor == "3.8"
    assert python.platforms[0] == "manylinux_2_31_x86_64"
    assert python.platforms[-1] == "manylinux1_x86_64"
    assert python.markers["python_full_version"] == "3.8.18"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"libc": ""}, "musl"),
        ({"libc": "musl 1.2"}, "musl"),
        ({"implementation": "PyPy"}, "no CPython"),
        ({"free_threaded": True, "version": "3.13.0"}, "without a GIL"),
        ({"version": "3.6.15"}, "expected 3.7 to 3.14"),
        ({"version": "2.7.18"}, "expected 3.7 to 3.14"),
    ],
)
def test_what_engines_have_no_wheels_for_is_refused(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        _read(**changes)

    assert "org/base:1" in str(refused.value)
    assert "/opt/conda/bin/python3.8" in str(refused.value)
    assert len(str(refused.value).splitlines()) <= 3


@pytest.mark.parametrize("version", ["3.6", "3.15", "4", "three"])
def test_a_python_that_the_runtime_does_not_run_on_is_no_target(version: str) -> None:
    with pytest.raises(UsageError, match=r"expected 3\.7 to 3\.14"):
        TargetPython(version)


def pythons() -> list[str]:
    """This Python, and whatever others people have side by side."""
    others = sorted(Path("~/.pyenv/versions").expanduser().glob("*/bin/python"))
    return [sys.executable, *map(str, others)]


@pytest.mark.parametrize("executable", pythons())
def test_every_python_answers_the_probe(executable: str) -> None:
    done = subprocess.run([executable, "-c", PROBE], capture_output=True, text=True, check=True)

    said = json.loads(done.stdout)
    assert said["implementation"] == "CPython"
    if ".".join(said["version"].split(".")[:2]) in SUPPORTED:
        python = TargetPython.read(done.stdout, "this machine")
        assert python.executable == executable
        assert python.glibc >= 17
    else:
        with pytest.raises(UsageError, match="expected 3"):
            TargetPython.read(done.stdout, "this machine")
