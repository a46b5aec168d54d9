"""The Dockerfile of a build context."""

from __future__ import annotations

from typing import Final

from custom_image.rules import (
    ALL_PROFILES,
    Context,
    Finding,
    Needs,
    Severity,
    failed,
    not_checked,
    passed,
    rule,
)
from custom_image.scanners.linters import MOST_FINDINGS, NotLinted, Remark, hadolint
from custom_image.specification import Source

HADOLINT: Final = Source("hadolint: rules", "https://github.com/hadolint/hadolint#rules")


@rule(
    id="dockerfile.lint",
    title="hadolint has no remark on the Dockerfile",
    why="Its remarks are mistakes that many made: they surface late, in an image hard to fix.",
    severity=Severity.WARNING,
    profiles=ALL_PROFILES,
    needs=Needs.DOCKERFILE,
    expected="no remark",
    source=HADOLINT,
    remediation="Change the lines, or write why not above them: # hadolint ignore=DL3008",
    good='CMD ["sh", "/home/run.sh"]',
    bad="MAINTAINER somebody",
)
def lint(context: Context) -> Finding:
    """Give the Dockerfile to hadolint."""
    try:
        return judged(hadolint(context.dockerfile))
    except NotLinted as error:
        return not_checked(str(error))


def judged(remarks: list[Remark]) -> Finding:
    """Return the finding for what a linter said."""
    if not remarks:
        return passed("no remark")
    lines = [str(remark) for remark in remarks]
    more = f" and {len(lines) - 1} more" if lines[1:] else ""
    return failed(lines[0] + more, "\n".join(lines[:MOST_FINDINGS]))
