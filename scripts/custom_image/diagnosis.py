"""A diagnosis of a machine: the nouns of every doctor."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from html import escape


class State(StrEnum):
    """Whether something is there, and how much is lost without it."""

    OK = "OK"
    LIMITED = "LIMITED"
    MISSING = "MISSING"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        state: LIMITED where the main job goes on without it.
        found: what is there.
        remediation: what is lost and how to get it; empty where nothing is.
    """

    name: str
    state: State
    found: str
    remediation: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All findings on a machine."""

    findings: tuple[Finding, ...]

    @property
    def is_able(self) -> bool:
        """Whether the main job can be done there, perhaps with limits."""
        return all(finding.state is not State.MISSING for finding in self.findings)

    def to_json(self) -> str:
        """Return the findings as a JSON object, the form that tools read."""
        document = {"able": self.is_able, "findings": [asdict(f) for f in self.findings]}
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def __str__(self) -> str:
        name = max(len(f.name) for f in self.findings)
        lines = []
        for f in self.findings:
            lines.append(f"{f.state:<8} {f.name:<{name}}  {f.found}")
            lines += [f"{'':<8} {'':<{name}}  -> {line}" for line in f.remediation.splitlines()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            "<tr>"
            + "".join(
                f"<td style='text-align:left'>{escape(text)}</td>"
                for text in (f.state, f.name, f.found, f.remediation)
            )
            + "</tr>"
            for f in self.findings
        )
        return f"<table>{rows}</table>"
