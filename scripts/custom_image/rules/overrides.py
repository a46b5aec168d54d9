"""Overrides of one project: severities, limits, and rules that it waives with a reason.

They come from a file in YAML and from the command line, and every report repeats them::

    severity:
      health.declared: error
    limit:
      image.size: 40
    waive:
      http.keep-alive: the gateway in front keeps its own connections, OPS-12
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from custom_image.errors import UsageError
from custom_image.report import Severity
from custom_image.rules import REGISTRY, catalogue
from custom_image.specification import Edition, Requirement

SECTIONS = ("severity", "limit", "waive")


def one_of(choices: Collection[str], value: str, what: str) -> str:
    """Return a value that is among the choices.

    Raises:
        UsageError: it is not; the near one is suggested.
    """
    if value in choices:
        return value
    near = get_close_matches(value, choices, n=1)
    listed = f"Use one of {', '.join(choices)}." if len(choices) < 12 else "See: custom-image rules"
    hint = f"Did you mean '{near[0]}'?" if near else listed
    raise UsageError(f"{what} is {value!r}, which is not known. {hint}")


@dataclass(frozen=True)
class Overrides:
    """What is held otherwise, each by the id of a rule.

    Attributes:
        limits: in the unit of the rule's own limit.
        waivers: the reason why a broken rule is accepted.
    """

    severities: Mapping[str, Severity] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    waivers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Overrides:
        """Read them from a file.

        Raises:
            UsageError: it cannot be read, or holds something else.
        """
        import yaml  # here: most verifications read no such file

        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise UsageError(f"{path}: cannot be read: {error}".splitlines()[0]) from error
        if not isinstance(document, dict):
            raise UsageError(f"{path}: expected the sections {', '.join(SECTIONS)}.")
        sections: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
        for name, content in document.items():
            section = one_of(SECTIONS, str(name), f"{path}: a section")
            if not isinstance(content, dict):
                raise UsageError(f"{path}: {name} must hold `RULE: value`, one a line.")
            sections[section] = {str(rule_id): value for rule_id, value in content.items()}
        return cls.parse(*(sections[name] for name in SECTIONS), where=f"{path}: ")

    @classmethod
    def parse(
        cls,
        severity: Mapping[str, Any] | Iterable[str] = (),
        limit: Mapping[str, Any] | Iterable[str] = (),
        waive: Mapping[str, Any] | Iterable[str] = (),
        *,
        where: str = "",
    ) -> Overrides:
        """Check them against the catalogue; what is no mapping is a row of ``RULE=value``.

        Raises:
            UsageError: a rule is not known, has no limit, or a value does not fit.
        """
        return cls(
            {
                rule_id: Severity(one_of([*Severity], str(value), f"{where}severity of {rule_id}"))
                for rule_id, value in _by_rule(severity, f"{where}severity").items()
            },
            {
                rule_id: _number(rule_id, value, where)
                for rule_id, value in _by_rule(limit, f"{where}limit").items()
            },
            {
                rule_id: _reason(rule_id, value, where)
                for rule_id, value in _by_rule(waive, f"{where}waive").items()
            },
        )

    def __or__(self, other: Overrides) -> Overrides:
        """Return both; where they differ, the right one holds."""
        return Overrides(
            {**self.severities, **other.severities},
            {**self.limits, **other.limits},
            {**self.waivers, **other.waivers},
        )

    def changed(self, edition: Edition) -> Edition:
        """Return an edition of the platform with these limits.

        A limit that several rules are held to changes for all of them.
        """
        for rule_id, value in self.limits.items():
            name = REGISTRY[rule_id].limit_field
            known: Requirement[Any] = getattr(edition, name)
            number = type(known.value)(value) if float(value).is_integer() else value
            limit = dataclasses.replace(known, value=number, edition="replaced by the user")
            changes: dict[str, Any] = {name: limit}
            edition = dataclasses.replace(edition, **changes)
        return edition

    def to_fact(self) -> dict[str, dict[str, Any]]:
        """Return what a report keeps of them, as the file spells it; without empty sections."""
        sections = zip(SECTIONS, (self.severities, self.limits, self.waivers), strict=True)
        return {name: dict(content) for name, content in sections if content}


def _by_rule(given: Mapping[str, Any] | Iterable[str], what: str) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        pairs = [pair.partition("=") for pair in given]
        for rule_id, sign, _ in pairs:
            if not sign:
                raise UsageError(f"{what} is {rule_id!r}; expected RULE=value.")
        given = {rule_id: value for rule_id, _, value in pairs}
    ids = [rule.id for rule in catalogue()]
    return {one_of(ids, rule_id, f"{what}: the rule"): value for rule_id, value in given.items()}


def _number(rule_id: str, value: Any, where: str) -> float:
    if not REGISTRY[rule_id].limit_field:
        held = ", ".join(rule.id for rule in catalogue() if rule.limit_field)
        raise UsageError(f"{where}{rule_id} has no limit to replace.\nThese have one: {held}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number < float("inf") or isinstance(value, bool):
        raise UsageError(f"{where}limit of {rule_id} is {value!r}; expected a number above 0.")
    return int(number) if number.is_integer() else number


def _reason(rule_id: str, value: Any, where: str) -> str:
    reason = value.strip() if isinstance(value, str) else ""
    if not reason:
        raise UsageError(
            f"{where}waiver of {rule_id} gives no reason; expected a sentence for the report."
        )
    return reason
