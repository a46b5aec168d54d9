"""What ends every notebook, where there is nothing to deploy: it says so, and never looks done."""

from __future__ import annotations

import pytest

from custom_image.builders.folder import UnbuiltImage
from custom_image.deployment import ship
from custom_image.ecs import open_server
from custom_image.errors import UsageError
from custom_image.image_saving import UnsavedImage
from custom_image.plots import plot_upgrade_timeline


@pytest.mark.parametrize("image", [UnbuiltImage("build/home"), UnsavedImage("No instance.")])
def test_without_an_image_every_step_says_not_checked(image):
    deployment = ship(image, config=None)

    asked = deployment.predict(b"", filename="seven.jpg")
    upgraded = plot_upgrade_timeline(deployment.rehearse_upgrade())
    steps = [deployment, asked, upgraded, deployment.delete(), *deployment.steps().values()]
    assert [
        str(step) for step in steps if not str(step).startswith("NOT CHECKED: nothing was")
    ] == []
    assert all("NOT CHECKED" in step._repr_html_() for step in steps)


def test_an_endpoint_that_is_none_is_named_with_those_there_are():
    with pytest.raises(UsageError, match=r"endpoint is 'moon'; expected one of: local, cloud"):
        ship(UnbuiltImage("build/home"), config=None, endpoint="moon")


def test_without_a_server_it_is_said_what_to_set(monkeypatch):
    monkeypatch.delenv("ECS_SERVER", raising=False)

    with pytest.raises(UsageError, match=r"Set server to user@host[\s\S]*ECS_SERVER"):
        open_server()
