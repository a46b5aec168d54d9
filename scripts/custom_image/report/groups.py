"""The order in which people read a report: what is broken, what was not checked and why, the rest.

Terminal, notebook, page and Markdown share it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from custom_image.report import WAIVED, Check, Report, Verdict

MOST_GROUPS: Final = 6
MOST_IDS: Final = 4
BROKE: Final = "the rule itself broke"


@dataclass(frozen=True)
class Group:
    """Rules that were not checked for one reason."""

    reason: str
    ids: tuple[str, ...]

    def __str__(self) -> str:
        more = f" and {len(self.ids) - MOST_IDS} more" if len(self.ids) > MOST_IDS else ""
        return f"{len(self.ids)} {self.reason} ({', '.join(self.ids[:MOST_IDS])}{more})"


def broken(report: Report) -> list[Check]:
    """Return what failed, then what was warned about, then what is waived."""
    wanted = (Verdict.FAILED, Verdict.WARNING, WAIVED)
    return [check for badge in wanted for check in report.checks if check.badge == badge]


def passed(report: Report) -> list[Check]:
    """Return what passed."""
    return [check for check in report.checks if check.badge == Verdict.PASSED]


def not_checked(report: Report) -> list[Group]:
    """Return what was not checked by its reason: rules that broke first, then the largest."""
    groups: dict[str, list[str]] = {}
    for check in report.checks:
        if check.badge == Verdict.NOT_CHECKED:
            groups.setdefault(_reason(check.measured), []).append(check.id)
    found = [Group(reason, tuple(ids)) for reason, ids in groups.items()]
    return sorted(found, key=lambda g: (not g.reason.startswith(BROKE), -len(g.ids)))


def not_checked_text(report: Report) -> str:
    """Return these groups as one sentence, its count first; empty where all was checked."""
    groups = not_checked(report)
    if not groups:
        return ""
    shown = [str(group) for group in groups[:MOST_GROUPS]]
    if rest := groups[MOST_GROUPS:]:
        shown.append(f"{sum(len(g.ids) for g in rest)} for {len(rest)} other reasons")
    return f"{sum(len(group.ids) for group in groups)}: {'; '.join(shown)}"


def _reason(measured: str) -> str:
    """Return a reason without what differs from rule to rule: the duration, what was seen."""
    line = measured.splitlines()[0] if measured else "no reason was given"
    reason = re.sub(r"^[\d.]+ \w+ not waited; use --level full\b.*", "not waited in full", line)
    reason = reason.replace("not waited in full", "true durations not waited, use --level full")
    return re.sub(r"^(\S+) (FAILED|NOT CHECKED)$", r"after \1, \2", reason)
