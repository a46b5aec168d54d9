"""What is missing is said with the command that brings it."""

from __future__ import annotations

import sys

import pytest

from custom_image import cli, extras
from custom_image.extras import ExtraMissing, explain, require


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("torch", "'modelarts-custom-image[author]'"),
        ("PIL", "'modelarts-custom-image[author]'"),
        ("uvicorn", "'modelarts-custom-image[platform]'"),
        ("huaweicloudsdkcore", "'modelarts-custom-image[cloud]'"),
        ("distributed", "'modelarts-custom-image[fleet]'"),
    ],
)
def test_a_module_that_is_missing_leads_to_its_extra(module, command):
    error = explain(ModuleNotFoundError(f"No module named {module!r}", name=module))

    assert str(error).endswith(f"is not installed here: pip install {command}")


def test_a_module_that_no_extra_brings_is_a_bug_and_no_extra():
    assert explain(ModuleNotFoundError("No module named 'rules'", name="rules")) is None


def test_a_part_asks_for_its_extra_before_it_begins(monkeypatch):
    monkeypatch.setattr(extras, "requirements", lambda: {"cloud": ["no-such-distribution"]})

    with pytest.raises(ExtraMissing, match=r"^no-such-distribution is not installed here: pip"):
        require("cloud")


def test_every_extra_is_installed_where_these_tests_run():
    for extra in extras.requirements():
        require(extra)


def test_the_command_says_it_in_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "nbformat", None)
    monkeypatch.delitem(sys.modules, "custom_image.notebooks.parameters", raising=False)
    monkeypatch.setattr(sys, "argv", ["custom-image", "notebooks", "run"])

    with pytest.raises(SystemExit) as left:
        cli.main()

    assert left.value.code == 2
    assert capsys.readouterr().err == (
        "Error: nbformat is not installed here: pip install 'modelarts-custom-image[author]'\n"
    )
