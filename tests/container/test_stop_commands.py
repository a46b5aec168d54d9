"""Stop commands of Inference 2.0: the samples of the platform's own page, and three that work."""

from __future__ import annotations

import pytest
from broken_images import SHORT_WAITS

from custom_image.report import Verdict
from custom_image.verification import verify

pytestmark = pytest.mark.true_time
RULES = ("stop.tools", "stop.command", "stop.in-flight")


def verdicts(image, engine, command: str) -> dict[str, Verdict]:
    report = verify(
        image.reference,
        engine=engine,
        profile="v2",
        waits=SHORT_WAITS,
        only=["health.ready", "api.answers", *RULES],
        stop_command=command,
    )
    return {name: report.check(name).verdict for name in RULES}


@pytest.mark.parametrize(
    ("command", "rule"),
    [
        ("kill -SIGTERM $(pgrep -f app.py)", "stop.tools"),
        ("trap 'exit 0' SIGTERM", "stop.command"),
        ("kill -SIGTERM 1", "stop.command"),
    ],
)
def test_a_sample_of_the_platforms_page_fails_in_an_image_of_debian(
    command: str, rule: str, tiny_image, docker_engine
):
    """Source: inference2.0-modelarts-0094; there is no pgrep, and dash knows no SIGTERM."""
    found = verdicts(tiny_image, docker_engine, command)

    assert [name for name in RULES if found[name] is Verdict.FAILED] == [rule]


@pytest.mark.parametrize("command", ["kill -TERM 1", "sleep 1", "kill -s TERM 1; sleep 1"])
def test_one_that_works_passes(command: str, tiny_image, docker_engine):
    assert verdicts(tiny_image, docker_engine, command) == dict.fromkeys(RULES, Verdict.PASSED)
