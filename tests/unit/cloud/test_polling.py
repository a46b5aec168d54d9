"""Waiting for the platform: a short silence is waited out, a long one and a deadline are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from custom_image.cloud.api.polling import wait_until
from custom_image.errors import CloudRefused, Unavailable


def answers(*found: str | Exception) -> Callable[[], str]:
    left = list(found)

    def look() -> str:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return look


def wait(look: Callable[[], str], timeout_s: float = 5.0, silence_s: float = 60.0) -> str:
    return wait_until(
        "publishing mnist",
        look,
        is_settled=lambda status: status == "published",
        describe=str,
        timeout_s=timeout_s,
        poll_s=0.001,
        silence_s=silence_s,
    )


def test_an_api_that_is_silent_for_a_while_is_asked_again():
    silence = Unavailable("no answer")

    assert wait(answers(silence, "publishing", silence, "published")) == "published"


def test_an_api_that_stays_silent_is_unavailable():
    with pytest.raises(Unavailable, match="no answer"):
        wait(answers("publishing", Unavailable("no answer")), silence_s=0.01)


def test_a_refusal_ends_the_wait_at_once():
    with pytest.raises(CloudRefused, match="no such model"):
        wait(answers("publishing", CloudRefused("no such model")))


def test_a_deadline_says_how_it_stood_last():
    with pytest.raises(CloudRefused, match=r"publishing mnist: not done after .* it is publishing"):
        wait(answers("publishing"), timeout_s=0.01)
