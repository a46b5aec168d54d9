"""Every package of the corpus, adopted and served: each answer that its expect.yaml asks for."""

from __future__ import annotations

import importlib.util
import subprocess
import time

import pytest
from corpus import Expected, health_of, missing_in_log, read_corpus, try_requests, try_together
from pythons import install
from runtime import NAMESPACE, start_runtime, wait_for

from custom_image.adoption.package import package_folder

SERVED = [one for one in read_corpus() if one.outcome != "refuse"]
AT_HOME = ("platform-path", "platform-path-tf")
"""These open /home/mind/model by its whole path."""
TORCH = ("torch-weights", "torch-whole-network")
PROFILES = [
    "uvicorn",
    pytest.param("gunicorn-gevent", marks=pytest.mark.true_time),
]


def start(expected: Expected, folder, workers: int, profile: str):
    """Adopt a package and start it beside its own requirements, never this project's."""
    if expected.slug in TORCH:
        if importlib.util.find_spec("torch") is None:
            pytest.skip("torch is not installed")
        site = ""
    else:
        here = str(expected.package)
        lines = [
            line.replace("./", f"{here}/", 1) if line.startswith("./") else line
            for line in expected.requirements()
        ]
        site = str(install(lines))
    at_home = expected.slug in AT_HOME
    if at_home and subprocess.run([*NAMESPACE, "true"], check=False).returncode:
        pytest.skip("a mount namespace cannot be had; tests/container starts it as an image")
    package = package_folder(expected.package, folder=folder / "adopted").folder
    environment = {"PYTHONPATH": site, "WORKERS": str(workers), "MODEL_SERVER": profile}
    return start_runtime(folder / "home", package, at_home=at_home, **environment)


def wait_for_health(runtime, expected: Expected) -> None:
    """Wait until health is 200, if it is to be, and see that it is not too early."""
    started, within_s = time.monotonic(), expected.health("within_s")
    reason = expected.content["health"].get("reason", [])
    if expected.slug == "torch-whole-network" and _refuses_pickled_networks():
        reason = ["weights_only"]
    elif expected.ready:
        runtime.wait_until_ready(3 * within_s)
        assert time.monotonic() - started >= expected.health("not_before_s")
        return

    def said():
        health = health_of(runtime.url)
        if health is None:
            return False
        assert health.status == 503
        return all(word in health.body.decode() for word in reason)

    wait_for(said, "the reason in health", within_s)


def _refuses_pickled_networks() -> bool:
    import torch

    return tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 6)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("expected", SERVED, ids=lambda expected: expected.slug)
def test_each_package_answers_as_on_the_platform(tmp_path, profile, expected):
    with start(expected, tmp_path, 1, profile) as runtime:
        wait_for_health(runtime, expected)
        if expected.slug == "torch-whole-network" and not runtime.is_healthy():
            return  # this torch refuses it, and health said why
        faults = list(try_requests(runtime.url, expected))
        log = runtime.logs()

    assert not faults, log[-3000:]
    assert missing_in_log(log, expected) == []
    assert runtime.standard_error() == ""


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize(
    "expected", [one for one in SERVED if one.together], ids=lambda expected: expected.slug
)
def test_two_workers_mix_up_nothing(tmp_path, profile, expected):
    with start(expected, tmp_path, 2, profile) as runtime:
        wait_for_health(runtime, expected)
        faults = list(try_together(runtime.url, expected))
        log = runtime.logs()

    assert not faults, log[-3000:]
