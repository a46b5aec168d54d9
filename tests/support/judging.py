"""What the tests of the verifier share: a service to break, and a short way to judge it."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest

from custom_image.report import Report, Verdict
from custom_image.rules import Waits
from custom_image.verification import verify

GOOD_SERVICE = Path(__file__).parent / "good_service"
SHORT = Waits(true=False, keep_alive_s=1.5, drain_s=1, exit_s=4)
HURRIED = dataclasses.replace(SHORT, overtime_s=0.5, settle_s=1, bad_input_s=1)
"""For a service that is broken: what never ends is not watched for long."""
BROKEN = (Verdict.FAILED, Verdict.WARNING)
EVERY_RULE = pytest.param((), marks=pytest.mark.true_time, id="every-rule")
"""Beside the few rules that a test names: that no other one fails with them."""


class Diary:
    """A watcher that writes down what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def began(self, rule: Any) -> None:
        self.lines.append(f"began {rule.id}")

    def ended(self, check: Any) -> None:
        self.lines.append(f"ended {check.id}")


def copy_good_service(folder: Path) -> Path:
    """Return a copy of the good service, to be broken."""
    shutil.copytree(GOOD_SERVICE, folder / "home")
    return folder / "home"


def judge(target: Any, **settings: Any) -> Report:
    """Verify with short waits and nobody watching."""
    known = {"waits": SHORT, "progress": Diary(), "ready_timeout_s": 10}
    return verify(target, **known | settings)


def replace(path: Path, old: str, new: str) -> None:
    """Replace text of a file once; it has to be there."""
    text = path.read_text()
    assert old in text, f"{path.name} has no {old!r}"
    path.write_text(text.replace(old, new, 1))


def verdicts(report: Report, *wanted: Verdict) -> list[str]:
    """Return the ids of the rules with one of these verdicts."""
    return [check.id for check in report.checks if check.verdict in wanted]
