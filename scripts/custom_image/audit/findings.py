"""Findings of an audit, and their display."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass, field, replace
from html import escape
from typing import Final

from custom_image.report import Verdict
from custom_image.specification import NOTEBOOK_LAYERS

_MOST_SHOWN: Final = 40
_MB: Final = 10**6


@dataclass(frozen=True)
class Finding:
    """One thing to know before saving.

    Attributes:
        kind: such as ``caches``; one word, the same for all findings of a kind.
        path: fit to be printed, whatever characters the name has; empty where it is no file.
        size_bytes: what it takes, with all that is below it; 0 where it is no file.
        what: it is, as a phrase.
        fix: what to do, as a sentence.
        is_safe: whether ``--fix`` may remove it: nothing of it is the user's own work.
        is_removed: whether it was.
        raw: the path as the file system has it.
    """

    kind: str
    path: str
    size_bytes: int
    what: str
    remediation: str
    is_safe: bool = False
    is_removed: bool = False
    raw: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class NotAudited:
    """Something that could not be looked at; never a pass."""

    kind: str
    reason: str


@dataclass(frozen=True)
class Audit:
    """What an audit found in a folder.

    Attributes:
        layers: of the instance's image so far; 0 where they cannot be counted.
    """

    folder: str
    findings: tuple[Finding, ...]
    not_audited: tuple[NotAudited, ...] = ()
    layers: int = 0

    @property
    def open(self) -> tuple[Finding, ...]:
        """What still stands: all but what was removed."""
        return tuple(finding for finding in self.findings if not finding.is_removed)

    @property
    def summary(self) -> str:
        """One line: how much there is, and how much of it can be removed."""
        parts = [f"{self.folder}: {_count(len(self.open), 'finding')}"]
        if removed := [finding for finding in self.findings if finding.is_removed]:
            parts.append(f"{len(removed)} removed ({_size(sum(f.size_bytes for f in removed))})")
        if safe := [finding for finding in self.open if finding.is_safe]:
            size = _size(sum(finding.size_bytes for finding in safe))
            parts.append(f"{len(safe)} of them ({size}) can be removed by --fix")
        if self.layers:
            parts.append(f"{self.layers} of {NOTEBOOK_LAYERS} so far")
        if self.not_audited:
            parts.append(f"{len(self.not_audited)} {Verdict.NOT_CHECKED}")
        return ", ".join(parts)

    @classmethod
    def from_json(cls, text: str) -> Audit:
        """Return the audit that :meth:`to_json` wrote; nothing can be removed by it any more.

        Raises:
            ValueError: it is no such text.
        """
        document = json.loads(text)
        try:
            return cls(
                document["folder"],
                tuple(Finding(**finding) for finding in document["findings"]),
                tuple(NotAudited(**one) for one in document["not_checked"]),
                document["layers"],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"expected the JSON of an audit, found another: {error}") from error

    def to_json(self) -> str:
        """Return the form that tools read."""
        document = {
            "folder": self.folder,
            "layers": self.layers,
            "findings": [{k: v for k, v in asdict(f).items() if k != "raw"} for f in self.findings],
            "not_checked": [asdict(one) for one in self.not_audited],
        }
        return json.dumps(document, indent=2, ensure_ascii=False)

    def __str__(self) -> str:
        lines = [self.summary]
        for finding in self.findings[:_MOST_SHOWN]:
            head = f"  {finding.kind:<12} {_size(finding.size_bytes):>9}  "
            if finding.path:
                lines.append(f"{head}{finding.path}")
                head = " " * len(head)
            lines.append(f"{head}{_explained(finding)}")
        if left := len(self.findings) - _MOST_SHOWN:
            lines += [f"  ... and {left} more: --format json"] if left > 0 else []
        lines += [f"  {n.kind:<12} {Verdict.NOT_CHECKED}: {n.reason}" for n in self.not_audited]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        left = "style='text-align:left'"
        rows = "".join(
            f"<tr><td {left}>{escape(f.kind)}</td><td>{_size(f.size_bytes)}</td>"
            f"<td {left}><code>{escape(f.path)}</code></td>"
            f"<td {left}>{escape(_explained(f))}</td></tr>"
            for f in self.findings[:_MOST_SHOWN]
        )
        rows += "".join(
            f"<tr><td {left}>{escape(n.kind)}</td><td></td><td {left}>{Verdict.NOT_CHECKED}</td>"
            f"<td {left}>{escape(n.reason)}</td></tr>"
            for n in self.not_audited
        )
        return f"<p><b>{escape(self.summary)}</b></p><table>{rows}</table>"


def remove(finding: Finding) -> Finding:
    """Remove what was found, and return the finding with what became of it.

    Nothing is followed out of it: links are removed, not what they lead to.
    """
    try:
        if os.path.isdir(finding.raw) and not os.path.islink(finding.raw):  # noqa: PTH112, PTH114
            shutil.rmtree(finding.raw)
        else:
            os.unlink(finding.raw)  # noqa: PTH108 - a path in bytes
    except OSError as error:
        return replace(
            finding,
            remediation=f"It could not be removed ({error.strerror}). {finding.remediation}",
        )
    return replace(finding, is_removed=True)


def _explained(finding: Finding) -> str:
    if finding.is_removed:
        return f"{finding.what}; removed."
    return f"{finding.what}. {finding.remediation}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _size(size_bytes: int) -> str:
    if not size_bytes:
        return ""
    return f"{size_bytes / _MB:.1f} MB" if size_bytes >= _MB / 10 else f"{size_bytes:,} B"
