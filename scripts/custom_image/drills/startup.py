"""Watching a service start: what it said of its health, and what it could do at that moment."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from custom_image.engines import Instance, Socket
from custom_image.errors import CustomImageError
from custom_image.model_config import Health
from custom_image.probing.http import Answer, Request, ask
from custom_image.specification import (
    BIND_ADDRESS,
    GATEWAY_LATENCY,
    HEALTH_FAILURES,
    HEALTH_INITIAL_DELAY,
    HEALTH_METHODS,
    HEALTH_PERIOD,
)

POLL_S: Final = 0.05
LOOK_INSIDE_S: Final = 1.0
"""How often the sockets are looked at; that costs more than a request."""
SETTLE_S: Final = 5.0
"""How long predictions may work before a health check that refuses them is taken at its word."""
SLOWEST_ANSWER_S: Final = GATEWAY_LATENCY.value + 25.0
"""How long a healthy service may take to answer, so that its time is known; the gateway cuts."""
IN_A_ROW: Final = 10
"""Good answers that end the watch: one worker may be ready while another still loads the model."""
LOOPBACK_S: Final = 2.0
"""How long a service may listen on loopback alone before that is taken for its last word."""
EVERY_ADDRESS: Final = (BIND_ADDRESS.value, "::")


@dataclass(frozen=True)
class Start:
    """What was seen of a service between its start and its first good answer.

    Attributes:
        is_ready: whether it became ready at all.
        waited_s: how long it was watched.
        healthy_s: when its health check first succeeded; None where it never did.
        answered_s: when it first answered a request, or refused it; None where never.
        false_healthy: (time, answer) of requests that failed right after a good health check.
        last_health: the last answer of its health check.
        last_answer: its last answer to the request.
        sockets: on which it listens; None where nothing can look inside.
        has_ended: whether its first process ended, or never began.
        end: how, as a part of a sentence.
    """

    is_ready: bool
    waited_s: float
    healthy_s: float | None
    answered_s: float | None
    false_healthy: tuple[tuple[float, str], ...]
    last_health: Answer | None
    last_answer: Answer
    sockets: tuple[Socket, ...] | None
    has_ended: bool = False
    end: str = ""


def never_started(reason: str) -> Start:
    """Return what is seen of a service whose first process could not even be started."""
    silence = Answer(0, error="it was never started")
    return Start(False, 0.0, None, None, (), None, silence, None, True, reason)


def ask_health(url: str, instance: Instance | None, health: Health, timeout_s: float) -> Answer:
    """Ask as the platform does: a GET, or a command inside the container."""
    if health.check_method == HEALTH_METHODS[0]:
        return ask(url, Request("GET", health.url or "/"), timeout_s)
    if instance is None:
        return Answer(0, error="a command can only be run inside a container")
    began = time.monotonic()
    code, output = instance.execute((health.command or "").split())
    seconds = time.monotonic() - began
    if code:
        return Answer(0, error=f"the command exits {code}: {output[:200]}", seconds=seconds)
    return Answer(200, output.encode(), seconds=seconds)


def health_budget_s(health: Health) -> float:
    """Return how long the platform goes on asking a starting instance.

    Source: the console's defaults where config.json says nothing; the formula is inferred from
    them, ``initial delay + failures x period``.
    """
    delay = health.initial_delay_seconds
    period = health.period_seconds or HEALTH_PERIOD.value
    failures = health.failure_threshold or HEALTH_FAILURES.value
    return (HEALTH_INITIAL_DELAY.value if delay is None else delay) + failures * period


def watch_start(
    url: str,
    port: int,
    request: Request,
    *,
    health: Health | None,
    instance: Instance | None,
    timeout_s: float,
    settle_s: float = SETTLE_S,
    pause: Callable[[float], None] = time.sleep,
) -> Start:
    """Ask for health and for a prediction in turn, until both go on working or there is no hope.

    A service is ready when its health check succeeds or a request is answered; the watch goes on
    for the other of the two, because which came first is what rules want to know.

    Args:
        url: base URL, no trailing slash.
        port: on which the service has to listen, as it sees itself.
        request: one that it should answer.
        health: as declared; None where nothing is.
        instance: what runs the service; None where only its URL is known.
        timeout_s: how long to wait for it.
        settle_s: how long to wait for the other of the two.
        pause: waits between two looks, and may raise to call the watch off.
    """
    watch = _Watch(url, request, health, instance, settle_s)
    while watch.now() < timeout_s:
        watch.ask(patience_s=max(1.0, min(10.0, timeout_s - watch.now())))
        if watch.is_settled():
            break
        if watch.in_a_row:
            continue
        if instance is not None and (not instance.is_running() or watch.is_deaf(instance, port)):
            break
        pause(POLL_S)
    return watch.to_start()


class _Watch:
    """What was seen so far."""

    def __init__(
        self,
        url: str,
        request: Request,
        health: Health | None,
        instance: Instance | None,
        settle_s: float,
    ) -> None:
        self._url, self._request, self._health = url, request, health
        self._instance, self._settle_s = instance, settle_s
        self._began = time.monotonic()
        self._healthy_s: float | None = None
        self._answered_s: float | None = None
        self._false_healthy: list[tuple[float, str]] = []
        self._check: Answer | None = None
        self._answer = Answer(0, error="not asked yet")
        self._looked_s = -math.inf
        self._loopback_s = math.inf
        self.in_a_row = 0

    def now(self) -> float:
        """Return the seconds since the start."""
        return time.monotonic() - self._began

    def ask(self, patience_s: float) -> None:
        """Ask for health, then for a prediction, and note what that says."""
        if self._health is not None:
            self._check = ask_health(self._url, self._instance, self._health, patience_s)
        is_healthy = self._check is not None and self._check.is_good
        asked_s = self.now()
        if is_healthy and self._healthy_s is None:
            self._healthy_s = asked_s
        self._answer = ask(self._url, self._request, patience_s)
        if self._answer.timed_out and is_healthy:  # slow perhaps, which is no lie
            self._answer = ask(self._url, self._request, SLOWEST_ANSWER_S)
        if self._answer.is_answer:
            self._answered_s = self._answered_s or self.now()
        elif is_healthy and not self._answer.timed_out:
            self._false_healthy.append((round(asked_s, 2), str(self._answer)))
        is_well = self._answer.is_answer and (is_healthy or self._health is None)
        self.in_a_row = self.in_a_row + 1 if is_well else 0

    def is_settled(self) -> bool:
        """Tell whether there is nothing more to wait for."""
        if self.in_a_row >= IN_A_ROW:
            return True
        if self._answer.is_answer and self._answer.seconds > self._settle_s:
            return True
        is_long_ago = (
            self._answered_s is not None and self.now() > self._answered_s + self._settle_s
        )
        return self._answer.is_answer and is_long_ago

    def is_deaf(self, instance: Instance, port: int) -> bool:
        """Tell whether the service has been listening on loopback alone for too long to hope."""
        if self._answered_s is not None or self.now() < self._looked_s + LOOK_INSIDE_S:
            return False
        self._looked_s = self.now()
        if not _is_on_loopback_only(look_inside(instance), port):
            self._loopback_s = math.inf
        elif not math.isfinite(self._loopback_s):
            self._loopback_s = self.now()
        return self.now() > self._loopback_s + LOOPBACK_S

    def to_start(self) -> Start:
        """Return what was seen."""
        waited_s, instance = self.now(), self._instance
        running = instance is None or instance.is_running()
        return Start(
            is_ready=running and (self._healthy_s is not None or self._answered_s is not None),
            waited_s=waited_s,
            healthy_s=self._healthy_s,
            answered_s=self._answered_s,
            false_healthy=tuple(self._false_healthy),
            last_health=self._check,
            last_answer=self._answer,
            sockets=look_inside(instance) if instance and running else None,
            has_ended=not running,
            end="" if running or instance is None else f"ended with exit code {instance.wait(1)}",
        )


def look_inside(instance: Instance) -> tuple[Socket, ...] | None:
    """Return the sockets an instance listens on, or None where nothing can tell."""
    try:
        return tuple(instance.listening())
    except CustomImageError:
        return None


def _is_on_loopback_only(sockets: tuple[Socket, ...] | None, port: int) -> bool:
    addresses = [socket.address for socket in sockets or () if socket.port == port]
    return bool(addresses) and all(a.startswith("127.") or a == "::1" for a in addresses)
