"""``from metric.metrics_manager import MetricsManager``, as inference code asks it for timers."""

from __future__ import annotations

from typing import Any


class MetricsManager:
    """Holds the platform's timers; here there are none, so that code which looks finds none.

    Attributes:
        metrics: name -> timer. Code updates a timer only where it is there; what this service
            measures is at ``/metrics``.
    """

    metrics: dict[str, Any] = {}  # noqa: RUF012 - the platform's name, in its place
