"""What the editions of the platform ask for, and what changes unnoticed nowhere: rules and SDK."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from huaweicloudsdkmodelarts import v1 as modelarts

from custom_image import specification
from custom_image.rules import Profile, Rule, catalogue
from custom_image.specification import CLASSIC, EDITIONS, HUAWEICLOUD, REPLACED_IN_V2, Requirement

HERE = Path(__file__).parent
V1_AT_A51236F = json.loads((HERE / "rules_v1_at_a51236f.json").read_text())
"""Severity, expectation and page of each rule of the profile ``classic`` at commit a51236f."""
KEPT_CLASSES = (HERE / "sdk_classes.txt").read_text().split()
_WATCHED = re.compile("infer|service|unit|group|health|apikey|deployment|runtimeconfig|lts", re.I)
RULES = {rule.id: rule for rule in catalogue()}
REQUIREMENTS = [value for value in vars(specification).values() if isinstance(value, Requirement)]


def severity(rule: Rule, profile: Profile) -> str:
    return rule.severities.get(profile, rule.severity)


@pytest.mark.parametrize("rule_id", sorted(V1_AT_A51236F))
def test_v1_holds_what_it_held_at_a51236f(rule_id: str) -> None:
    rule = RULES[rule_id]

    assert Profile.V1 in rule.profiles
    assert {
        "severity": severity(rule, Profile.V1),
        "required": rule.required_by(CLASSIC),
        "source": rule.source.url,
    } == V1_AT_A51236F[rule_id]


def test_what_v1_has_learned_since_rests_on_no_page_of_v2() -> None:
    """Rules that it has gained are about images and hosts, whatever deploys them."""
    new = [r for r in RULES.values() if Profile.V1 in r.profiles and r.id not in V1_AT_A51236F]

    assert [rule.id for rule in new if "inference2.0" in rule.source.url] == []


@pytest.mark.parametrize("rule_id", sorted(V1_AT_A51236F))
def test_v2_keeps_every_rule_of_the_page_that_no_page_of_v2_replaces(rule_id: str) -> None:
    rule = RULES[rule_id]

    assert Profile.V2 in rule.profiles
    is_same = severity(rule, Profile.V2) == severity(rule, Profile.V1)
    is_same &= rule.required_by(HUAWEICLOUD) == rule.required_by(CLASSIC)
    assert is_same == (rule_id not in REPLACED_IN_V2)


def test_the_profile_follows_the_edition() -> None:
    assert {name: edition.profile for name, edition in EDITIONS.items()} == {
        "huaweicloud": "v2",
        "classic": "v1",
        "otc": "v1",
    }


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_each_number_names_its_page_and_its_date(requirement: Requirement[object]) -> None:
    for reading in (requirement, *requirement.also):
        assert reading.source.url.startswith("https://")
        assert re.search(r"20\d\d|SDK 3\.1\.219", reading.date)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("SERVICE_NAME_LENGTH_V2", {64, 128}),
        ("GATEWAY_LATENCY", {40, 60}),
        ("SIGTERM_EXIT", {90, 30, 300}),
        ("REQUEST_BODY", {12, 50}),
        ("IMAGE_SIZE", {50, 30, 10}),
    ],
)
def test_where_pages_disagree_both_are_kept(name: str, values: set[int]) -> None:
    requirement = getattr(specification, name)

    assert {r.value for r in (requirement, *requirement.also)} == values
    assert len(requirement.readings) == 1 + len(requirement.also)


def test_a_new_sdk_does_not_pass_unnoticed() -> None:
    """Where this fails, read what the new classes are for, then write the list anew."""
    found = {name for name in vars(modelarts) if name[0].isupper() and _WATCHED.search(name)}

    assert sorted(found ^ set(KEPT_CLASSES)) == []
