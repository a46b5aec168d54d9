"""``rules``: listed, explained, written as a page."""

from __future__ import annotations

import json

import pytest


def test_rules_are_listed_and_explained(custom_image):
    listed = custom_image("rules", "--format", "json")
    rules = json.loads(listed.stdout)

    assert listed.returncode == 0
    assert len(rules) > 20
    for rule in rules:
        assert all(
            rule[name] for name in ("id", "title", "why", "required", "remediation", "source")
        )
        assert "https://" in rule["source"]
    explained = custom_image("rules", "image.size")
    told = json.loads(custom_image("rules", "image.size", "--format", "json").stdout)
    assert told in rules
    for name in ("title", "why", "remediation", "source"):
        assert told[name] in explained.stdout
    assert told["good"] in explained.stdout
    assert told["bad"] in explained.stdout
    assert "otc: 30 GB" in explained.stdout
    assert "R-60" in explained.stdout


@pytest.mark.parametrize(
    ("release", "is_listed"),
    [(("0.1.0", "2026-09-07"), True), (("0.2.0", "2026-09-08"), False)],
    ids=["its page is newer", "its page is as old"],
)
def test_changed_rules_rest_on_a_page_newer_than_the_last_release(
    release, is_listed, monkeypatch, custom_image
):
    monkeypatch.setattr("custom_image.cli.rules.LAST_RELEASE", release)

    found = custom_image("rules", "--changed")

    listed = [line.split()[0] for line in found.stdout.splitlines()]
    assert ("body.size" in listed) == is_listed  # of the page of 2026-09-08
    assert "http.keep-alive" not in listed  # of that of 2024
    assert f"newer than our release {release[0]} of {release[1]}" in found.stderr


def test_rules_are_written_as_the_page_of_the_catalogue(tmp_path, custom_image):
    page = tmp_path / "CATALOGUE.md"

    written = custom_image("rules", "--format", "markdown", "--output", str(page))
    one = custom_image("rules", "http.keep-alive", "--format", "markdown")

    assert (written.returncode, written.stdout) == (0, "")
    assert page.read_text().startswith("# Catalogue")
    assert one.stdout.startswith("### http.keep-alive")
    assert one.stdout.strip() in page.read_text()


def test_a_misspelt_rule_suggests_the_near_one(custom_image):
    failed = custom_image("rules", "http.keep-alvie")

    assert failed.returncode == 2
    assert "Did you mean http.keep-alive?" in failed.stderr
    assert failed.stdout == ""
