"""Every package of the corpus, served by the runtime: each answer that its expect.yaml asks for."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import time
from pathlib import Path

import pytest
from corpus import Expected, health_of, missing_in_log, read_corpus, try_requests, try_together
from hand_adopted import adopt
from runtime import NAMESPACE, REPOSITORY, start_runtime, wait_for

SITE = REPOSITORY / "build" / "corpus-sites"
SERVED = [one for one in read_corpus() if one.outcome != "refuse"]
AT_HOME = ("platform-path", "platform-path-tf")
"""These open /home/mind/model by its whole path."""
TORCH = ("torch-weights", "torch-whole-network")


def install(requirements: list[str], package: Path) -> str:
    """Return a folder with what a package requires, kept for the next run."""
    wanted = sorted(str(package / line) if line.startswith("./") else line for line in requirements)
    names = "\n".join(line.rsplit("/", 1)[-1] for line in wanted) + sys.version
    target = SITE / hashlib.sha256(names.encode()).hexdigest()[:12]
    if wanted and not (target / "installed").exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--only-binary", ":all:"]
        options = ["--disable-pip-version-check", "--upgrade", "--target", str(target)]
        subprocess.run([*command, *options, *wanted], check=True, timeout=240)
        (target / "installed").touch()
    return str(target)


def start(expected: Expected, folder: Path, workers: int, profile: str):
    if expected.slug in TORCH:
        if importlib.util.find_spec("torch") is None:
            pytest.skip("torch is not installed")
        site = ""
    else:
        site = install(expected.requirements(), expected.package)
    package = adopt(expected.package, folder / "package")
    environment = {"PYTHONPATH": site, "WORKERS": str(workers), "MODEL_SERVER": profile}
    at_home = expected.slug in AT_HOME
    if at_home and subprocess.run([*NAMESPACE, "true"], check=False).returncode:
        pytest.skip("a mount namespace cannot be had; tests/container starts it as an image")
    return start_runtime(folder / "home", package, at_home=at_home, **environment)


def wait_for_health(runtime, expected: Expected) -> None:
    """Wait until health is 200, if it is to be, and see that it is not too early."""
    started, within_s = time.monotonic(), expected.health("within_s")
    if expected.ready:
        runtime.wait_until_ready(3 * within_s)
        assert time.monotonic() - started >= expected.health("not_before_s")
        return

    def said():
        health = health_of(runtime.url)
        if health is None:
            return False
        assert health.status == 503
        return all(word in health.body.decode() for word in expected.content["health"]["reason"])

    wait_for(said, "the reason in health", within_s)


def marked(expected: Expected):
    """The stream waits for the runtime's streams."""
    streams = pytest.mark.xfail(reason="no streams yet", strict=True)
    marks = [streams] if expected.slug == "stream-answer" else []
    return pytest.param(expected, id=expected.slug, marks=marks)


@pytest.mark.parametrize("expected", [marked(one) for one in SERVED])
def test_each_package_answers_as_on_the_platform(tmp_path, profile, expected):
    with start(expected, tmp_path, 1, profile) as runtime:
        wait_for_health(runtime, expected)
        faults = list(try_requests(runtime.url, expected))
        log = runtime.logs()

    assert not faults, log[-3000:]
    assert missing_in_log(log, expected) == []
    assert runtime.standard_error() == ""


@pytest.mark.parametrize(
    "expected", [one for one in SERVED if one.together], ids=lambda expected: expected.slug
)
def test_two_workers_mix_up_nothing(tmp_path, profile, expected):
    with start(expected, tmp_path, 2, profile) as runtime:
        wait_for_health(runtime, expected)
        faults = list(try_together(runtime.url, expected))
        log = runtime.logs()

    assert not faults, log[-3000:]
