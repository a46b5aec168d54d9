from __future__ import annotations

import pytest

from custom_image.errors import UsageError
from custom_image.scenarios import SCENARIOS, find_scenario
from custom_image.settings import find_project


def test_the_three_scenarios_of_the_platform_are_there() -> None:
    assert list(SCENARIOS) == ["image_saving", "dockerfile_build", "ecs_build"]


@pytest.mark.parametrize("slug", SCENARIOS)
def test_one_slug_names_everything_of_a_scenario(slug: str) -> None:
    scenario = find_scenario(slug)

    assert scenario.slug == slug
    assert scenario.notebook.endswith(f"_{slug}.ipynb")


def test_every_dockerfile_belongs_to_a_scenario() -> None:
    slugs = {path.parent.name for path in (find_project() / "docker").glob("*/Dockerfile")}

    assert "dockerfile_build" in slugs
    assert slugs - {"preset"} <= SCENARIOS.keys()


def test_a_mistyped_slug_is_answered_with_the_right_one() -> None:
    with pytest.raises(UsageError, match=r"no scenario 'docker_build'.*Did you mean 'dockerfile_"):
        find_scenario("docker_build")
