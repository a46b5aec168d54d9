"""Receipts of pushes: the digest under each name, kept between two commands.

A tag may be moved by anybody who pushes. Who publishes it later in another process learns from the
receipt what it was when it was pushed.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Final

from custom_image.cloud.images import PublishedImage
from custom_image.files import write_whole

RECEIPTS: Final = Path("build/pushed.json")


def keep(published: PublishedImage) -> None:
    """Keep the receipt of a push."""
    known = _read() | {published.reference: published.digest}
    write_whole(RECEIPTS, json.dumps(known, indent=1) + "\n")


def as_pushed(found: PublishedImage) -> PublishedImage:
    """Return an image with the digest of its receipt, or as it is where there is none."""
    return replace(found, digest=_read().get(found.reference, found.digest))


def _read() -> dict[str, str]:
    try:
        found = json.loads(RECEIPTS.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
