"""Text of strangers, services and images, made harmless: it is shown and never obeyed."""

from __future__ import annotations

import math
from typing import Any, Final

MOST_CHARACTERS: Final = 20_000
"""Of one text of a check, however much a service has to say."""
REPLACEMENT: Final = "\ufffd"


def printable(text: str) -> str:
    """Return text without what would steer a terminal, reorder a line or break XML."""
    kept = (c if c.isprintable() or c == "\n" else REPLACEMENT for c in _lines(text).expandtabs(4))
    return "".join(kept)[:MOST_CHARACTERS]


def plain(value: Any) -> Any:
    """Return data as JSON knows it, its texts printable, whatever was put in."""
    if isinstance(value, dict):
        return {printable(str(name)): plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no word for it
    return value


def _lines(text: str) -> str:
    return text[: 2 * MOST_CHARACTERS].replace("\r\n", "\n")
