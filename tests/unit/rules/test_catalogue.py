"""What the platform asks: each row has an answer, each rule a row, and the page is current."""

from __future__ import annotations

from importlib import import_module

import pytest

from custom_image.rules import Profile, catalogue, docs
from custom_image.rules.requirements import read_table

TABLE = read_table()
RULES = {rule.id: rule for rule in catalogue()}
WRITE = "run python -m custom_image.rules.docs"


@pytest.mark.parametrize("row", TABLE.rows, ids=lambda row: row.id)
def test_a_row_has_exactly_one_answer_and_a_source(row):
    assert sum((bool(row.rules), bool(row.cloud), bool(row.not_checked))) == 1
    assert row.asks.endswith(".")
    assert row.source.url.startswith("https://")
    assert not row.besides or row.rules


def test_rows_are_numbered_one_after_the_other():
    assert [row.id for row in TABLE.rows] == [f"R-{n:02}" for n, _ in enumerate(TABLE.rows, 1)]


def test_every_rule_that_a_row_names_exists():
    named = {rule_id for row in TABLE.rows for rule_id in row.rules}

    assert named <= set(RULES)


def test_every_rule_is_asked_for_by_a_row_or_said_to_be_advice():
    asked_for = {rule_id for row in TABLE.rows for rule_id in row.rules}

    missing = set(RULES) - asked_for - set(TABLE.advice)
    assert missing == set(), "name them in rules/catalogue.yaml, in a row or under advice"
    assert set(TABLE.advice) <= set(RULES)
    assert set(TABLE.advice) & asked_for == set()


@pytest.mark.parametrize("row", [row for row in TABLE.rows if row.cloud], ids=lambda row: row.id)
def test_every_check_of_requests_that_a_row_names_exists(row):
    module, _, function = row.cloud.rpartition(".")

    assert callable(getattr(import_module(f"custom_image.cloud.{module}"), function))


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_every_rule_has_an_example_of_both_kinds(rule):
    assert rule.good
    assert rule.bad
    assert rule.good != rule.bad


@pytest.mark.parametrize("profile", Profile)
def test_every_profile_has_rules_and_is_explained_in_the_readme(profile):
    assert any(profile in rule.profiles for rule in RULES.values())
    assert f"| `{profile}` |" in docs.PAGE.read_text()


def test_the_catalogue_page_is_current():
    assert docs.CATALOGUE.read_text() == docs.catalogue_page(), WRITE


def test_the_page_holds_every_row_and_every_rule():
    text = docs.catalogue_page()

    assert all(f"| {row.id} |" in text for row in TABLE.rows)
    assert all(f"\n### {rule_id}\n" in text for rule_id in RULES)
    assert all(rule.why in text for rule in RULES.values())


def test_two_answers_to_one_row_are_refused(tmp_path):
    double = "rules: {R-01: {asks: x, source: a, rules: [b], cloud: c}}"
    broken = tmp_path / "catalogue.yaml"
    broken.write_text(
        f"sources: {{a: {{title: t, url: u}}}}\n{double.replace('rules:', 'rows:', 1)}"
    )

    with pytest.raises(ValueError, match="R-01 needs exactly one of"):
        read_table(broken)
