"""Folders of foreign packages: config.json is read with patience, the other rules are judged."""

from __future__ import annotations

from pathlib import Path

import pytest
from judging import judge

from custom_image.report import Verdict

CORPUS = Path(__file__).parents[2] / "corpus"


@pytest.mark.parametrize("slug", ["gbk-csv", "apis-array", "key-twice-video", "contest-template"])
def test_one_rule_fails_with_the_way_on_and_the_others_are_judged(slug: str):
    report = judge(CORPUS / slug / "package", level="static")

    valid = report.check("config.valid")
    assert valid.verdict is Verdict.FAILED
    assert "custom-image package FOLDER" in valid.remediation
    assert "model_type" in valid.evidence
    assert report.check("port.default").verdict is Verdict.PASSED
    assert "no health" in report.check("health.declared").measured, "nothing is made up here"
    assert not [check.id for check in report.checks if check.measured == "config.valid FAILED"]


def test_what_would_have_no_effect_is_still_a_remark():
    remarks = judge(CORPUS / "bom-and-argv/package", level="static").check("config.meant").evidence

    assert "apis[0].procotol" in remarks
    assert "MIoU" in remarks


def test_a_file_that_cannot_be_read_fails_with_its_line(tmp_path: Path):
    (tmp_path / "config.json").write_text('{\n  "apis": [\n    {"url" "/"}\n  ]\n}\n')

    report = judge(tmp_path, level="static")

    assert "line 3" in report.check("config.valid").evidence
    assert report.check("config.meant").measured == "config.valid FAILED"


def test_a_package_without_one_is_told_what_makes_one():
    report = judge(CORPUS / "no-config/package", level="static")

    assert "custom-image package FOLDER" in report.check("config.valid").measured
