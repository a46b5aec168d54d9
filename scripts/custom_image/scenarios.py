"""The ways to make a custom image, as data, keyed by slug.

One slug names the notebook, the folder below docker/, the argument of the command line, the tests
and the folder below build/. Never a number: editions of the platform's page number them
differently.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from custom_image.errors import UsageError
from custom_image.specification import (
    ECS_EXAMPLE,
    IMAGE_SIZE,
    NOTEBOOK_IMAGE_SIZE,
    SPECIFICATIONS,
    Requirement,
    Source,
)


@dataclass(frozen=True)
class Scenario:
    """One way to make a custom image.

    Attributes:
        largest: how large the image may become on that way.
        notebook: the tutorial, below notebooks/.
    """

    slug: str
    title: str
    largest: Requirement[int]
    notebook: str
    source: Source


SCENARIOS: Final = {
    scenario.slug: scenario
    for scenario in (
        Scenario(
            slug="image_saving",
            title="Save a notebook instance as an image",
            largest=NOTEBOOK_IMAGE_SIZE,
            notebook="01_image_saving.ipynb",
            source=SPECIFICATIONS,
        ),
        Scenario(
            slug="dockerfile_build",
            title="Build from a Dockerfile",
            largest=NOTEBOOK_IMAGE_SIZE,
            notebook="02_dockerfile_build.ipynb",
            source=SPECIFICATIONS,
        ),
        Scenario(
            slug="ecs_build",
            title="Build on an ECS",
            largest=IMAGE_SIZE,
            notebook="03_ecs_build.ipynb",
            source=ECS_EXAMPLE,
        ),
    )
}


def find_scenario(slug: str) -> Scenario:
    """Return the scenario of that slug.

    Raises:
        UsageError: there is none.
    """
    if slug in SCENARIOS:
        return SCENARIOS[slug]
    close = get_close_matches(slug, SCENARIOS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise UsageError(f"no scenario {slug!r}; there are: {', '.join(SCENARIOS)}.{hint}")
