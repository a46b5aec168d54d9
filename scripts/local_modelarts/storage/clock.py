"""The time, as the platform counts it."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Return this moment: UTC, milliseconds, as the platform counts."""
    return time.time_ns() // 1_000_000
