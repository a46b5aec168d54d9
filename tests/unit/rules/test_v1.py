"""v1 asks for what it asked for before v2 was the default, by the same pages."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from custom_image.rules import Profile, catalogue
from custom_image.specification import CLASSIC

BEFORE = yaml.safe_load(Path(__file__).with_name("v1_rules.yaml").read_text())
RULES = {rule.id: rule for rule in catalogue() if Profile.V1 in rule.profiles}


@pytest.mark.parametrize("rule_id", BEFORE)
def test_v1_asks_for_what_it_asked_for_before_v2(rule_id):
    rule = RULES[rule_id]

    assert {
        "severity": str(rule.severity),
        "required": rule.required_by(CLASSIC),
        "source": rule.source.url,
    } == BEFORE[rule_id]


def test_what_was_learned_since_rests_on_no_page_of_v2():
    """Rules that v1 has gained are about images and hosts, whatever deploys them."""
    new = [rule for rule_id, rule in RULES.items() if rule_id not in BEFORE]

    assert [rule.id for rule in new if "inference2.0" in rule.source.url] == []
