"""Rate limits: a bucket of permits for each service, refilled as time goes by."""

from __future__ import annotations

import time

from local_modelarts.errors import too_many_requests
from local_modelarts.storage.resources import Service


class Traffic:
    """Counts the requests of every service. To be used in one event loop."""

    def __init__(self, requests_per_s: int) -> None:
        self._default = float(requests_per_s)
        self._permits: dict[str, tuple[float, float]] = {}

    def admit(self, row: Service) -> None:
        """Count a request to a service.

        Raises:
            ApiError: 429; it has had its share of this second.
        """
        now = time.monotonic()
        rate = float(row.limit.get("requests_per_s") or self._default)
        most = max(1.0, rate)
        left, then = self._permits.get(row.id, (most, now))
        left = min(most, left + (now - then) * rate)
        if left < 1:
            raise too_many_requests()
        self._permits[row.id] = (left - 1, now)
