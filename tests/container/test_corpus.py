"""Packages of the corpus from their folder to an image that answers, by the command's own steps.

A third with every `make test`, the others with `make test-full`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from corpus import Expected, health_of, missing_in_log, read_corpus, try_requests

from custom_image.adoption.package import package_folder
from custom_image.adoption.wheels import fetch_wheels
from custom_image.build_context import write_build_context
from custom_image.builders import find_base
from custom_image.builders.docker import build
from custom_image.engines import Instance, StartOptions

# Those that show what a process does not: the platform's paths, a user without rights, packages of
# their own versions, a network that is not there.
ALWAYS = (
    "broken-model",
    "contest-template",
    "dependency-blocks",
    "download-at-load",
    "fixed-name-weights",
    "platform-path",
    "platform-path-tf",
    "raw-body",
    "thread-loader",
    "working-folder",
)
SLOW_MACHINE = 4


def marked() -> Iterator[object]:
    for expected in read_corpus():
        if expected.outcome != "refuse":
            marks = [] if expected.slug in ALWAYS else [pytest.mark.true_time]
            yield pytest.param(
                expected, id=expected.slug, marks=[*marks, pytest.mark.timeout(1500)]
            )


@pytest.mark.parametrize("expected", list(marked()))
def test_it_is_built_started_and_answers(expected: Expected, docker_engine, tmp_path: Path):
    package = package_folder(expected.package, folder=tmp_path / "adopted")
    base, python = find_base(engine=docker_engine)
    wheels = fetch_wheels(package, python=python, relax=True)
    context = write_build_context(
        package, base_image=base, wheels=wheels, folder=tmp_path / "context"
    )
    reference = f"custom-image/tests:corpus-{expected.slug}"
    image = build(context, reference, engine=docker_engine)

    with _started(image.reference, expected, docker_engine) as (service, early):
        faults = list(try_requests(service.url, expected))
        log = service.logs()

    assert early == ""
    assert not faults, log[-3000:]
    assert missing_in_log(log, expected) == []


@contextmanager
def _started(reference: str, expected: Expected, engine) -> Iterator[tuple[Instance, str]]:
    """Start an image; yield it when its health is what it is to be, and what was too early."""
    with engine.start(reference, StartOptions()) as service:
        began, early = time.monotonic(), ""
        deadline = began + SLOW_MACHINE * expected.health("within_s")
        while time.monotonic() < deadline:
            health = health_of(service.url)
            after_s = time.monotonic() - began
            if health is not None and health.status == 200:
                if not expected.ready or after_s < expected.health("not_before_s"):
                    early = f"ready after {after_s:.1f} s"
                break
            if health is not None and _gives_its_reason(health.body, expected):
                break
            time.sleep(0.2)
        yield service, early


def _gives_its_reason(body: bytes, expected: Expected) -> bool:
    words = expected.content["health"].get("reason", [])
    return bool(words) and all(word in body.decode() for word in words)
