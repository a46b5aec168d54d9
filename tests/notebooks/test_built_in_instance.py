"""The notebook dockerfile_build in an instance without an engine: ma-cli, the switch, the answer.

What it leans on is tested by tests/platform/test_building.py, in seconds and at every landing.
"""

from __future__ import annotations

import json
from types import SimpleNamespace

import nbformat
import pytest

from custom_image import local_platform
from custom_image.notebooks.in_instance import run_in_instance
from custom_image.notebooks.parameters import choose_values, find_notebook, pick_values, read_values
from custom_image.verification import verify

# A gigabyte onto a new disk, a build, and half a gigabyte into a new registry.
pytestmark = [pytest.mark.timeout(900), pytest.mark.true_time]
NOTEBOOK = find_notebook("dockerfile_build")


@pytest.fixture(scope="module")
def built(docker_engine, tmp_path_factory):
    """What is left of a run: its cells, its results, and the image that was built."""
    folder = tmp_path_factory.mktemp("platform")
    values = choose_values(NOTEBOOK, pick_values(NOTEBOOK, read_values("ci")))
    try:
        executed = run_in_instance(
            NOTEBOOK, values, tmp_path_factory.mktemp("notebooks"), folder=folder
        )
        results = json.loads(executed.with_suffix(".json").read_text())
        identity = json.loads((folder / "identity.json").read_text())
        image = results["switched_to"]["image"]
        yield SimpleNamespace(
            cells={cell.id: cell for cell in nbformat.read(executed, as_version=4).cells},
            answer=results["switched_to"]["answer"],
            reference=f"127.0.0.1:{identity['registry_port']}/{image}",
            image=image,
            keys=[identity["secret_key"], identity["access_key"]],
            text=executed.read_text(),
        )
    finally:
        local_platform.stop(folder, purge=True)


def shown(cell) -> str:
    return "\n".join(str(o.get("data", {}).get("text/html", "")) for o in cell.outputs)


def test_it_builds_by_ma_cli_and_says_that_this_is_a_stand_in(built):
    text = shown(built.cells["build"])

    assert built.image in text
    assert "a stand-in for ma-cli" in text
    assert "NOT CHECKED here: the image itself" in text
    assert "{&quot;mnist_result&quot;: 7}" in shown(built.cells["ask"])
    assert "FAILED" not in shown(built.cells["verdict"])


def test_the_instance_that_was_switched_to_the_image_reads_the_seven(built):
    assert built.answer == {"mnist_result": 7}


def test_the_image_is_judged_like_any_other_and_holds_no_key(built, docker_engine):
    report = verify(built.reference, level="static", engine=docker_engine)
    facts = docker_engine.inspect(built.reference)

    assert {c.id: c.measured for c in report.checks if c.verdict == "FAILED"} == {}
    assert {c.verdict for c in report.checks if c.id == "image.size"} == {"PASSED"}
    described = f"{facts.environment} {facts.recorded} {facts.labels} {built.text}"
    assert [key for key in built.keys if key in described] == []
