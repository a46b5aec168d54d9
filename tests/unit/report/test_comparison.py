"""Two images on one page, and budgets that are kept or exceeded."""

from __future__ import annotations

import json

import pytest

from custom_image.errors import UsageError
from custom_image.report.comparison import Comparison, Figure, parse_budgets
from custom_image.report.comparison_forms import to_form
from custom_image.report.formats import ReportFormat

FIGURES = (
    Figure("answers", 1, details=("seven: $.result is 2, expected <b>7</b>",)),
    Figure("schema", 0),
    Figure("latency", 12.0, 10.0),
    Figure("memory", reason="a URL has no memory"),
    Figure("size", 300.0, 290.0),
    Figure("packages", 0),
)


def comparison(*budgets: str) -> Comparison:
    return Comparison("new:2", "old:1", FIGURES, parse_budgets(budgets), ("seven",), 1.5)


@pytest.mark.parametrize(
    ("budget", "is_exceeded"),
    [
        ("latency=21%", False),
        ("latency=19%", True),
        ("latency=2ms", False),
        ("latency=1.9", True),
        ("size=10MB", False),
        ("size=3%", True),
        ("answers=1", False),
        ("answers=0", True),
        ("schema=0", False),
        ("memory=100%", True),  # not measured, which is no pass
    ],
)
def test_a_budget_is_kept_up_to_its_amount(budget, is_exceeded):
    found = comparison(budget)

    assert [f.name for f in found.exceeded] == [budget.partition("=")[0]] * is_exceeded


def test_of_two_budgets_for_a_figure_the_last_one_holds():
    assert not comparison("latency=1%", "latency=50%").exceeded


@pytest.mark.parametrize(
    "budget", ["latency", "speed=1", "latency=5MB", "answers=10%", "latency=-1%", "size=nan"]
)
def test_a_budget_that_means_nothing_is_refused(budget):
    with pytest.raises(UsageError, match="--budget is"):
        parse_budgets([budget])


@pytest.mark.parametrize("form", ["table", "markdown", "html"])
def test_each_form_says_what_differs_and_which_budget_is_exceeded(form):
    text = to_form(comparison("answers=0", "size=10MB"), ReportFormat(form))

    for word in ("EXCEEDED", "kept", "+20 %", "300.0 MB", "not measured", "a URL has no memory"):
        assert word in text
    assert ("<b>7</b>" in text) == (form != "html")  # a stranger's answer comes to no life


def test_json_has_the_figures_in_numbers():
    document = json.loads(to_form(comparison("answers=0"), ReportFormat.JSON))
    by_name = {figure["name"]: figure for figure in document["figures"]}

    assert document["exceeded"] == ["answers"]
    assert (by_name["latency"]["new"], by_name["latency"]["old"]) == (12.0, 10.0)
    assert by_name["memory"]["new"] is None


@pytest.mark.parametrize("form", ["junit", "sarif"])
def test_forms_of_rules_are_refused(form):
    with pytest.raises(UsageError, match="has no form"):
        to_form(comparison(), ReportFormat(form))
