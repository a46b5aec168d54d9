"""Verdicts and reports: what a verification found. Each form it is shown in has a module here."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from custom_image.errors import VerificationFailed
from custom_image.report.text import plain, printable

if TYPE_CHECKING:
    from rich.console import RenderableType

COLUMNS: Final = ("verdict", "rule", "required", "measured")
WAIVED: Final = "WAIVED"
SCHEMA_VERSION: Final = 2
"""Of the JSON report; raised when a member goes or changes its meaning, not when one is added."""
LAST_REPORT: Final = Path("build/last_report.json")
"""What the command line judged last; the bundle of a failed deployment carries it along."""


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
    """The verdict of one rule on one target; its texts are made printable, whoever wrote them.

    Attributes:
        id: of the rule, for example ``http.keep-alive``.
        required: what the platform asks for, in its own unit.
        measured: what was found, in the same unit; why not, where the verdict is NOT CHECKED.
        evidence: what was sent and what came back, with times; one fact a line.
        fix: what to do about a failure; empty where there is none.
        source: the platform's page.
        duration_s: how long the rule took.
        began_s: when it began, counted from the start of the verification.
        waited_s: how much of that it had to wait by intention; 0 for a rule that waits for nothing.
        requires: the rules that had to be settled before it.
        waived: the reason why a broken rule is accepted; its verdict says that it is broken.
    """

    id: str
    title: str
    severity: Severity
    verdict: Verdict
    required: str
    measured: str
    evidence: str
    remediation: str
    source: str
    duration_s: float
    began_s: float = 0.0
    waited_s: float = 0.0
    requires: tuple[str, ...] = ()
    waived: str = ""

    def __post_init__(self) -> None:
        for member in fields(self):
            value = getattr(self, member.name)
            if type(value) is str:
                object.__setattr__(self, member.name, printable(value))

    @property
    def is_broken(self) -> bool:
        """Whether the rule is broken, waived or not."""
        return self.verdict in (Verdict.FAILED, Verdict.WARNING)

    @property
    def badge(self) -> str:
        """The word that reports show: the verdict, or that it is waived."""
        return WAIVED if self.waived else str(self.verdict)


@dataclass(frozen=True)
class Report:
    """All verdicts on one target.

    Attributes:
        target: as the user named it.
        level: ``static``, ``quick`` or ``full``.
        profile: the kind of deployment that the target was judged for.
        facts: what was measured on the way, JSON-serialisable. ``facts["sigterm"]`` holds the
            timeline of the SIGTERM drill: see :meth:`custom_image.drills.sigterm.Drain.to_fact`.
        duration_s: how long the verification took.
        edition: whose limits hold.
        overrides: what is held otherwise than the platform says: by ``severity``, ``limit`` and
            ``waive`` the rules with their values.
    """

    target: str
    level: str
    profile: str
    checks: tuple[Check, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)
    duration_s: float = 0.0
    edition: str = ""
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "target", printable(self.target).replace("\n", " "))

    @property
    def verdict(self) -> Verdict:
        """The worst verdict that is not waived; NOT CHECKED only where nothing was checked."""
        found = {check.verdict for check in self.checks if not check.waived}
        for verdict in (Verdict.FAILED, Verdict.WARNING, Verdict.PASSED):
            if verdict in found:
                return verdict
        return Verdict.NOT_CHECKED

    def count(self, verdict: Verdict) -> int:
        """Return how many rules have this verdict; those that are waived are not among them."""
        return Counter(check.verdict for check in self.checks if not check.waived)[verdict]

    @property
    def counts(self) -> dict[str, int]:
        """How many rules have each verdict, and how many are waived: together all of them."""
        found = Counter(check.badge for check in self.checks)
        return {name: found[name] for name in (*Verdict, WAIVED)}

    @property
    def remarks(self) -> tuple[str, ...]:
        """What was judged otherwise than it is or than the platform says, a line each."""
        found = {check.id: check for check in self.checks}
        command = self.facts.get("command")
        lines = [f"started with `{command}`, not with its own command"] if command else []
        if options := self.facts.get("start_options"):
            lines.append(f"started with {options}")
        lines += [
            f"{section} of {rule_id} replaced: {value}"
            for section in ("severity", "limit")
            for rule_id, value in self.overrides.get(section, {}).items()
        ]
        for rule_id, reason in self.overrides.get("waive", {}).items():
            if rule_id not in found:
                lines.append(f"waiver of {rule_id} has no effect: no such rule in this profile")
            elif not found[rule_id].waived:
                verdict = found[rule_id].verdict
                lines.append(f"waiver of {rule_id} has no effect, it is {verdict} ({reason})")
        return tuple(printable(line) for line in lines)

    @property
    def summary(self) -> str:
        """One line: the target and how many rules passed, failed and were not checked."""
        counts = [f"{number} {name.lower()}" for name, number in self.counts.items() if number]
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
        failed = [c for c in self.checks if c.verdict is Verdict.FAILED and not c.waived]
        if failed:
            lines = [
                f"{c.id}: required {c.required}, found {c.measured}. {c.remediation}".strip()
                for c in failed
            ]
            raise VerificationFailed("\n".join([self.summary, *lines]), self)

    def to_json(self) -> str:
        """Return the report as a JSON object, the form that tools read.

        Its schema is ``report.schema.json`` beside this module.
        """
        document = {
            "schema_version": SCHEMA_VERSION,
            "target": self.target,
            "level": self.level,
            "profile": self.profile,
            "edition": self.edition,
            "verdict": self.verdict,
            "counts": self.counts,
            "duration_s": self.duration_s,
            "overrides": plain({name: dict(by) for name, by in self.overrides.items()}),
            "checks": [asdict(check) for check in self.checks],
            "facts": plain(dict(self.facts)),
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def __str__(self) -> str:
        from custom_image.report.terminal import to_text

        return to_text(self)

    def __rich__(self) -> RenderableType:
        """Return what is broken with what stands behind it, and the rest in a few lines."""
        from custom_image.report.terminal import to_renderable

        return to_renderable(self)

    def _repr_html_(self) -> str:
        from custom_image.report.html import to_html

        return to_html(self)
