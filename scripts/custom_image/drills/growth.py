"""Growth with each request: samples of an instance in use, and the line through them."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from custom_image.drills.usage import Usage, usage_of
from custom_image.engines import Instance
from custom_image.errors import Unavailable
from custom_image.probing.http import Request, ask_on, connect

WARM_UP_REQUESTS: Final = 200
ROUNDS: Final = 20
REQUESTS_A_ROUND: Final = 100
LONGEST_S: Final = 60.0
LEAST_ROUNDS: Final = 8
"""Fewer say nothing: the interval is wider than what is looked for."""
_Z: Final = 1.96  # of 95 % on either side


@dataclass(frozen=True)
class Slope:
    """Growth per thousand requests, with its confidence interval of 95 %."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Growth:
    """What was seen.

    Attributes:
        requests: how many had been sent at each sample.
        samples: of the instance, one a round.
    """

    requests: tuple[int, ...]
    samples: tuple[Usage, ...]

    def slope(self, read: Callable[[Usage], float]) -> Slope:
        """Return the growth of one number."""
        return fit(self.requests, [read(sample) for sample in self.samples])

    def late(self) -> Growth:
        """Return the second half: what was still being filled at first, as caches, is full."""
        half = len(self.samples) // 2
        return Growth(self.requests[half:], self.samples[half:])


def fit(requests: Sequence[float], values: Sequence[float]) -> Slope:
    """Return the least squares line's slope, per thousand requests.

    The interval is Student's, its quantile by the first terms of Cornish and Fisher.
    """
    slope, start = statistics.linear_regression(requests, values)
    mean = statistics.fmean(requests)
    spread = sum((x - mean) ** 2 for x in requests)
    rest = sum((y - start - slope * x) ** 2 for x, y in zip(requests, values, strict=True))
    freedom = len(requests) - 2
    quantile = _Z + (_Z**3 + _Z) / (4 * freedom)
    error = quantile * math.sqrt(rest / freedom / spread)
    return Slope(1000 * slope, 1000 * (slope - error), 1000 * (slope + error))


def drill_growth(
    instance: Instance,
    url: str,
    request: Request,
    pause: Callable[[float], None] = time.sleep,
) -> Growth:
    """Send the same request over and over, and look at the instance after each round.

    Args:
        instance: one of one's own, ready.
        url: where it answers.
        request: one that it answers.
        pause: waits, and may raise to call the drill off.

    Raises:
        Unavailable: nothing here can look inside, or too few rounds fit into the time.
    """
    connection = connect(url)
    sent, requests, samples = 0, [], []
    began = time.monotonic()
    try:
        for round_number in range(ROUNDS + 1):
            wanted = REQUESTS_A_ROUND if round_number else WARM_UP_REQUESTS
            for _ in range(wanted):
                if time.monotonic() - began > LONGEST_S:
                    break
                pause(0)
                answer = ask_on(connection, request)
                sent += 1
                if answer.closes:
                    connection.close()
            if time.monotonic() - began > LONGEST_S:
                break
            requests.append(sent)
            samples.append(usage_of(instance))
    finally:
        connection.close()
    if len(samples) < LEAST_ROUNDS:
        raise Unavailable(f"{sent} requests in {LONGEST_S:g} s are too few to tell")
    return Growth(tuple(requests), tuple(samples))
