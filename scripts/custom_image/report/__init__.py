"""Verdicts and reports: what a verification found. Each form it is shown in has a module here."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from custom_image.errors import VerificationFailed

if TYPE_CHECKING:
    from rich.console import RenderableType

COLUMNS: Final = ("verdict", "rule", "required", "measured")


class Severity(StrEnum):
    """How much a broken rule matters to the platform."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Verdict(StrEnum):
    """What a rule says of a target. What was not checked never looks like a pass."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    WARNING = "WARNING"
    NOT_CHECKED = "NOT CHECKED"


@dataclass(frozen=True)
class Check:
    """The verdict of one rule on one target.

    Attributes:
        id: of the rule, for example ``http.keep-alive``.
        required: what the platform asks for, in its own unit.
        measured: what was found, in the same unit; why not, where the verdict is NOT CHECKED.
        evidence: what was sent and what came back, with times; one fact a line.
        mend: what to do about a failure; empty where there is none.
        source: the platform's page.
        duration_s: how long the rule took.
    """

    id: str
    title: str
    severity: Severity
    verdict: Verdict
    required: str
    measured: str
    evidence: str
    mend: str
    source: str
    duration_s: float


@dataclass(frozen=True)
class Report:
    """All verdicts on one target.

    Attributes:
        target: as the user named it.
        level: ``static``, ``quick`` or ``full``.
        profile: the kind of deployment that the target was judged for.
        facts: what was measured on the way, JSON-serialisable. ``facts["sigterm"]`` holds the
            timeline of the SIGTERM drill: see :meth:`custom_image.rules.drain.Drain.to_fact`.
        duration_s: how long the verification took.
    """

    target: str
    level: str
    profile: str
    checks: tuple[Check, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    duration_s: float = 0.0

    @property
    def verdict(self) -> Verdict:
        """The worst verdict; NOT CHECKED only where nothing at all was checked."""
        found = {check.verdict for check in self.checks}
        for verdict in (Verdict.FAILED, Verdict.WARNING, Verdict.PASSED):
            if verdict in found:
                return verdict
        return Verdict.NOT_CHECKED

    def count(self, verdict: Verdict) -> int:
        """Return how many rules have this verdict."""
        return Counter(check.verdict for check in self.checks)[verdict]

    @property
    def summary(self) -> str:
        """One line: the target and how many rules passed, failed and were not checked."""
        counts = [f"{self.count(v)} {v.lower()}" for v in Verdict if self.count(v)]
        found = ", ".join(counts) or "no rule applies"
        took = f", in {self.duration_s:.1f} s" if self.duration_s else ""
        return f"{self.target} ({self.profile}, {self.level}): {found}{took}"

    def check(self, rule_id: str) -> Check:
        """Return the check of one rule.

        Raises:
            KeyError: no rule of that id was run.
        """
        for check in self.checks:
            if check.id == rule_id:
                return check
        raise KeyError(rule_id)

    def raise_for_failures(self) -> None:
        """Raise :class:`VerificationFailed`, naming each broken rule, if any rule failed."""
        failed = [check for check in self.checks if check.verdict is Verdict.FAILED]
        if failed:
            lines = [
                f"{c.id}: required {c.required}, found {c.measured}. {c.mend}".strip()
                for c in failed
            ]
            raise VerificationFailed("\n".join([self.summary, *lines]), self)

    def to_json(self) -> str:
        """Return the report as a JSON object, the form that tools read."""
        document = {
            "target": self.target,
            "level": self.level,
            "profile": self.profile,
            "verdict": self.verdict,
            "duration_s": self.duration_s,
            "checks": [asdict(check) for check in self.checks],
            "facts": dict(self.facts),
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def __str__(self) -> str:
        from custom_image.report.terminal import to_text

        return to_text(self)

    def __rich__(self) -> RenderableType:
        """Return the table, and below it what stands behind each verdict that is no pass."""
        from custom_image.report.terminal import to_renderable

        return to_renderable(self)

    def _repr_html_(self) -> str:
        from custom_image.report.html import to_html

        return to_html(self)
