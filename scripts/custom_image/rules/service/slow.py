"""Predictions that the gateway does not wait for: how long we wait for them, and the way out.

In asynchronous mode a request becomes a task, and its answer is fetched when it is there.
"""

from __future__ import annotations

from typing import Final

from custom_image.specification import GATEWAY_LATENCY

PATIENCE_S: Final = GATEWAY_LATENCY.value + 5.0
"""An answer that takes longer is none to any client of the platform."""

_ASYNCHRONOUS: Final = (
    f"A prediction that takes longer than {GATEWAY_LATENCY} is answered ModelArts.4503 by the "
    "gateway: deploy it as an asynchronous service (custom-image deploy --asynchronous), or make "
    "the model faster."
)


def propose(slowest_s: float) -> str:
    """Return what to do about the slowest prediction; empty where the gateway waits for it."""
    return _ASYNCHRONOUS if slowest_s > GATEWAY_LATENCY.value else ""
