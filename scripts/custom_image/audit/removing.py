"""Removing what is safe to remove."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

from custom_image.audit.findings import Finding


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
