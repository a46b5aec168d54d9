"""Two services as processes, the same requests to both."""

from __future__ import annotations

import json

import pytest
from judging import copy_good_service, replace
from typer.testing import CliRunner

from custom_image.cli import app
from custom_image.errors import ServiceNotReady
from custom_image.verification.comparison import compare


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    """Few requests are timed."""
    monkeypatch.setattr("custom_image.verification.comparison.MEASURED_S", 0.5)


@pytest.fixture
def pair(tmp_path):
    """Two copies of the good service: a new one, and the old one."""
    folders = tmp_path / "new", tmp_path / "old"
    for folder in folders:
        folder.mkdir()
    return tuple(copy_good_service(folder) for folder in folders)


def figures(comparison):
    return {figure.name: figure for figure in comparison.figures}


def test_two_that_are_alike_differ_in_nothing(pair):
    found = compare(*pair, ready_timeout_s=20, budgets=["answers=0", "schema=0"])

    assert found.requests == ("POST /",)
    assert (figures(found)["answers"].new, figures(found)["schema"].new) == (0, 0)
    assert figures(found)["memory"].new > 1  # megabytes
    assert figures(found)["latency"].old > 0
    assert "image metadata" in figures(found)["size"].reason
    assert not found.exceeded


def test_what_differs_is_named(pair):
    new, _ = pair
    replace(new / "serve.py", '"mnist_result": 7', '"mnist_result": 8')
    replace(
        new / "serve.py",
        "        body = self.rfile",
        "        time.sleep(0.1)\n        body = self.rfile",
    )
    replace(new / "config.json", '"type": "integer"', '"type": "number"')

    found = compare(*pair, ready_timeout_s=20, budgets=["answers=0", "latency=50%", "schema=0"])

    assert figures(found)["answers"].details == ("POST /: $.mnist_result is 8, expected 7",)
    assert "number" in figures(found)["schema"].details[0]
    assert [figure.name for figure in found.exceeded] == ["answers", "schema", "latency"]


def test_answers_that_are_new_each_time_are_not_compared(pair):
    for folder in pair:
        replace(
            folder / "serve.py", """'{"mnist_result": 7}'""", '\'{"at": "%s"}\' % time.monotonic()'
        )

    answers = figures(compare(*pair, ready_timeout_s=20))["answers"]

    assert answers.new == 0
    assert "never answers the same twice" in answers.details[0]


def test_one_that_never_starts_is_named_with_its_log(pair):
    replace(pair[1] / "serve.py", "import os\n", "import os\nraise SystemExit('no weights')\n")

    with pytest.raises(ServiceNotReady, match=r"old.*not ready(.|\n)*no weights"):
        compare(*pair, ready_timeout_s=20)


def test_the_exit_code_says_when_a_budget_is_exceeded(pair, tmp_path):
    new, old = (str(folder) for folder in pair)
    replace(pair[0] / "serve.py", '"mnist_result": 7', '"mnist_result": 8')
    page = tmp_path / "page.json"

    found = CliRunner().invoke(
        app, ["verify", new, "--compare", old, "--budget", "answers=0", "--output", str(page)]
    )

    assert found.exit_code == 1, found.output
    assert "1 of 1 budgets exceeded" in " ".join(found.output.split())  # lines break at paths
    assert json.loads(page.read_text())["exceeded"] == ["answers"]


def test_a_budget_without_a_comparison_is_refused(pair):
    found = CliRunner().invoke(app, ["verify", str(pair[0]), "--budget", "answers=0"])

    assert found.exit_code != 0
    assert "--compare" in f"{found.output}{found.exception}"
