"""Probes: what the platform asks an instance, when, and what follows from the answers.

:class:`Vitals` is the state machine, without clock, network or container; :func:`ask` asks.

Source: https://support.huaweicloud.com/inference-modelarts/inference2.0-modelarts-0095.html (2.0)
and config.json's ``health`` (classic); the differences are listed in README.md.
"""

from __future__ import annotations

import http.client
import math
import socket
import ssl
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from custom_image.specification import (
    HEALTH_FAILURES,
    HEALTH_FAILURES_2_0,
    HEALTH_INITIAL_DELAY,
    HEALTH_INITIAL_DELAY_2_0,
    HEALTH_PERIOD,
    HEALTH_PERIOD_2_0,
    HEALTH_TIMEOUT_2_0,
)

HTTP: Final = "HTTP"
EXEC: Final = "EXEC"
CONNECT: Final = "CONNECT"
ROLES: Final = ("startup", "readiness", "liveness")
_PORT_PERIOD_S: Final = 1
_FOREVER: Final = 2**31 - 1


@dataclass(frozen=True)
class Probe:
    """One probe of an instance.

    Attributes:
        method: HTTP, EXEC, or CONNECT: whether the port accepts a connection.
        good: the answers to HTTP that count as success, first and last.
        failures: how many in a row until it has failed.
    """

    method: str
    url: str = ""
    command: str = ""
    protocol: str = "http"
    delay_s: float = 0
    period_s: float = HEALTH_PERIOD.value
    timeout_s: float = HEALTH_PERIOD.value
    failures: int = HEALTH_FAILURES.value
    good: tuple[int, int] = (200, 200)

    def to_json(self) -> dict[str, Any]:
        """Return what :func:`from_json` reads."""
        return asdict(self)


def from_json(document: Mapping[str, Any] | None) -> Probe | None:
    """Read a probe that was written with :meth:`Probe.to_json`."""
    return Probe(**{**document, "good": tuple(document["good"])}) if document else None


def classic(health: Mapping[str, Any] | None) -> Probe | None:
    """Return the probe that a ``health`` of config.json means; its numbers may be strings."""
    if not health:
        return None
    period_s = _number(health, "period_seconds", HEALTH_PERIOD.value)
    return Probe(
        method=str(health.get("check_method") or HTTP),
        url=str(health.get("url") or ""),
        command=str(health.get("command") or ""),
        delay_s=_number(health, "initial_delay_seconds", HEALTH_INITIAL_DELAY.value),
        period_s=period_s,
        timeout_s=_number(health, "timeout_seconds", period_s),
        failures=_number(health, "failure_threshold", HEALTH_FAILURES.value),
    )


def inference_2_0(health: Mapping[str, Any] | None) -> Probe | None:
    """Return the probe that a ``Health`` of Inference 2.0 means."""
    if not health:
        return None
    return Probe(
        method=str(health.get("check_method") or HTTP),
        url=str(health.get("url") or ""),
        command=str(health.get("cmd") or ""),
        protocol=str(health.get("protocol") or "http").lower(),
        delay_s=_number(health, "initial_delay_seconds", HEALTH_INITIAL_DELAY_2_0.value),
        period_s=_number(health, "period_seconds", HEALTH_PERIOD_2_0.value),
        timeout_s=_number(health, "timeout_seconds", HEALTH_TIMEOUT_2_0.value),
        failures=_number(health, "failure_threshold", HEALTH_FAILURES_2_0.value),
        good=(200, 399),
    )


def port_opens() -> Probe:
    """Return the probe of a classic model without health check: its port accepts connections."""
    return Probe(method=CONNECT, period_s=_PORT_PERIOD_S, timeout_s=1, failures=_FOREVER)


@dataclass
class Vitals:
    """What the answers so far say of an instance.

    The startup probe comes first and alone; where it fails, the instance has failed. Then readiness
    says whether requests may be sent to it, and liveness whether it has failed. What follows from
    a failure is for others to decide.

    Attributes:
        probes: by role; without ``startup`` the instance has started, without ``readiness`` it is
            ready as soon as it has started.
        failed: the role whose probe has failed; empty where none has.
    """

    probes: Mapping[str, Probe]
    has_started: bool = False
    is_ready: bool = False
    failed: str = ""
    _in_a_row: dict[str, int] = field(default_factory=dict)
    _due_at: dict[str, float] = field(default_factory=dict)

    def begin(self, now: float, *, has_started: bool = False) -> None:
        """Begin to count. ``has_started``: it has proved itself to a platform that is gone."""
        self.has_started = has_started or "startup" not in self.probes
        self.is_ready = self.has_started and (has_started or "readiness" not in self.probes)
        for role, probe in self.probes.items():
            self._due_at[role] = now if has_started else now + probe.delay_s

    def due_at(self, role: str) -> float:
        """Return when a probe is to be asked; infinity where it is not its turn, or never is."""
        is_its_turn = self.has_started != (role == "startup")
        return self._due_at.get(role, math.inf) if is_its_turn else math.inf

    def postpone(self, role: str, now: float) -> None:
        """Forget an answer that says nothing of the instance: its turn comes again."""
        self._due_at[role] = now + self.probes[role].period_s

    def record(self, role: str, now: float, *, ok: bool) -> None:
        """Take in the answer of a probe."""
        probe = self.probes[role]
        self.postpone(role, now)
        self._in_a_row[role] = 0 if ok else self._in_a_row.get(role, 0) + 1
        has_failed = self._in_a_row[role] >= probe.failures
        if role == "readiness":
            self.is_ready = ok or (self.is_ready and not has_failed)
            return
        if has_failed:
            self.failed = role
        elif ok and self.failed == role:
            self.failed = ""
        if role == "startup" and ok:
            self.has_started = True
            self.is_ready = "readiness" not in self.probes


def ask(probe: Probe, address: str, port: int) -> str:
    """Ask over the network; return an empty string, or what was wrong. EXEC is not asked here."""
    try:
        if probe.method == CONNECT:
            socket.create_connection((address, port), probe.timeout_s).close()
            return ""
        return _get(probe, address, port)
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"{type(error).__name__}: {error}"[:200]


def _get(probe: Probe, address: str, port: int) -> str:
    connection: http.client.HTTPConnection
    if probe.protocol in ("https", "wss"):
        # Its certificate is its own: the platform's sample has `ssl_context="adhoc"`.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(
            address, port, timeout=probe.timeout_s, context=context
        )
    else:
        connection = http.client.HTTPConnection(address, port, timeout=probe.timeout_s)
    try:
        connection.request("GET", probe.url, headers={"Connection": "close"})
        status = connection.getresponse().status
    finally:
        connection.close()
    return "" if probe.good[0] <= status <= probe.good[1] else f"GET {probe.url} answered {status}"


def _number(health: Mapping[str, Any], name: str, default: int) -> int:
    value = health.get(name)
    return default if value in (None, "") else int(value)
