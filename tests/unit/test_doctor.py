"""The doctor's findings, as people and as tools read them."""

from __future__ import annotations

import json
import sys

import pytest

from custom_image import cli, doctor
from custom_image.doctor import Diagnosis, Finding, State, diagnose

GOOD = Finding("Python", State.OK, "3.11.7")
LIMITED = Finding("npm", State.LIMITED, "not installed", "Only one of the places MNIST comes from.")
MISSING = Finding("torch", State.MISSING, "not installed", "Needed to train.\nGet it: make install")


@pytest.mark.parametrize(
    ("findings", "able"), [((GOOD,), True), ((GOOD, LIMITED), True), ((GOOD, MISSING), False)]
)
def test_only_what_is_missing_stops_the_main_job(findings, able, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "diagnose", lambda: Diagnosis(findings))
    monkeypatch.setattr(sys, "argv", ["custom-image", "doctor", "--format", "json"])

    with pytest.raises(SystemExit) as left:
        cli.main()

    assert left.value.code == (0 if able else 3)
    assert json.loads(capsys.readouterr().out)["able"] is able


def test_each_line_of_a_remedy_stands_below_its_finding():
    shown = str(Diagnosis((GOOD, MISSING))).splitlines()

    assert [line.split()[0] for line in shown] == ["OK", "MISSING", "->", "->"]
    assert shown[3].endswith("Get it: make install")


def test_what_it_finds_is_escaped_in_html():
    html = Diagnosis((Finding("<b>", State.OK, "a & b"),))._repr_html_()

    assert "&lt;b&gt;" in html
    assert "a &amp; b" in html


def test_a_machine_that_runs_these_tests_is_able():
    assert diagnose().is_able
