"""The notebooks run from top to bottom on the real thing, and read well as HTML afterwards."""

from __future__ import annotations

import json
import re

import nbformat
import pytest
from nbconvert import HTMLExporter

from custom_image.notebooks.parameters import (
    find_notebook,
    list_notebooks,
    pick_values,
    read_values,
)
from custom_image.notebooks.run import run_notebook

# On a fresh machine the first run fetches MNIST, trains, and makes the base image.
pytestmark = pytest.mark.timeout(900)


def run(name, output_dir, **values):
    """Run a notebook as CI does; return its cells by id, and the results beside it."""
    given = pick_values(find_notebook(name), read_values("ci")) | values
    executed = run_notebook(name, given, output_dir)
    cells = {cell.id: cell for cell in nbformat.read(executed, as_version=4).cells}
    return cells, json.loads(executed.with_suffix(".json").read_text())


def shown(cell) -> str:
    return "\n".join(str(o.get("data", {}).get("text/html", "")) for o in cell.outputs)


@pytest.fixture(scope="module")
def in_containers(docker_engine, tmp_path_factory):
    return run("dockerfile_build", tmp_path_factory.mktemp("docker"), engine_name="docker")


@pytest.fixture(scope="module")
def in_processes(tmp_path_factory):
    return run("dockerfile_build", tmp_path_factory.mktemp("process"), engine_name="process")


def test_the_image_reads_the_seven_and_refuses_what_is_no_picture(in_containers):
    cells, _ = in_containers

    assert "{&quot;mnist_result&quot;: 7}" in shown(cells["ask"])
    assert re.search(r"<b>4\d\d</b>", shown(cells["bad"]))


def test_the_verdicts_of_the_image_hold_no_failure_and_no_size_unchecked(in_containers):
    cells, _ = in_containers
    verdicts = shown(cells["verdict"])

    assert verdicts.count("PASSED") > 15
    assert "FAILED" not in verdicts
    assert re.search(r"PASSED.{0,80}image\.size", verdicts)


def test_the_results_of_a_run_are_readable_by_tools(in_containers):
    _, results = in_containers

    assert results["parameters"]["level"] == "quick"
    assert any(
        '{"mnist_result": 7}' in text for cell in results["cells"] for text in cell["results"]
    )


def test_without_an_engine_it_gets_to_the_end_and_says_what_is_not_checked(in_processes):
    cells, _ = in_processes
    verdicts = shown(cells["verdict"])

    assert "NOT CHECKED" in shown(cells["build"])
    assert "{&quot;mnist_result&quot;: 7}" in shown(cells["ask"])
    assert "FAILED" not in verdicts
    assert re.search(r"NOT CHECKED.{0,80}image\.size", verdicts)


def test_without_an_instance_saving_says_not_checked_and_all_before_it_is_real(tmp_path):
    cells, _ = run("image_saving", tmp_path)
    verdicts = shown(cells["verdict-instance"])

    assert "stands in for its /home" in shown(cells["instance"])
    assert "{&quot;mnist_result&quot;: 7}" in shown(cells["ask-instance"])
    assert re.search(r"<b>4\d\d</b>", shown(cells["bad"]))
    assert verdicts.count("PASSED") > 15
    assert "FAILED" not in verdicts
    assert "NOT CHECKED: nothing was saved. This is no notebook instance" in shown(cells["save"])


@pytest.mark.parametrize("notebook", list_notebooks(), ids=lambda path: path.stem)
def test_it_is_a_page_that_needs_nothing_else(notebook):
    page, resources = HTMLExporter(embed_images=True).from_filename(str(notebook))

    assert "<h2" in page
    assert resources.get("outputs", {}) == {}
    assert page.count("data:image/png;base64,") >= 4
    assert "text-danger" not in page, "a part of the page could not be rendered"
