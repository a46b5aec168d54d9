"""An upgrade as the platform rolls it out: a second instance, then SIGTERM to the first."""

from __future__ import annotations

import time
from typing import Final

from custom_image.drills.load_balancer import CLIENTS, Gateway, Routed
from custom_image.engines import StartOptions
from custom_image.rules import (
    Finding,
    Needs,
    Severity,
    Subject,
    failed,
    not_waited,
    passed,
    rule,
)
from custom_image.rules.lifecycle.sigterm import UPGRADED
from custom_image.specification import SPECIFICATIONS

WARM_UP_S: Final = 0.5
AFTERWARDS_S: Final = 0.5
LAG_SHARE: Final = 0.95
"""Of the time for which a service has to go on: how long routing lags behind SIGTERM."""


@rule(
    id="hitless.upgrade",
    title="An upgrade loses no request, though routing lags behind SIGTERM",
    why="While one instance replaces another, requests still reach the one that was told to stop.",
    severity=Severity.ERROR,
    profiles=UPGRADED,
    needs=Needs.INSTANCE,
    after=("sigterm.serves", "sigterm.in-flight"),
    required="every request answered, before, during and after",
    source=SPECIFICATIONS,
    lasts=lambda waits: waits.drain_s,
    mend="Go on serving after SIGTERM, as many connections as before; see the requests that were "
    "lost.",
    example="obeys:  requests on 16 connections to both instances, none lost\n"
    "breaks: a server that takes 8 connections and refuses the others",
)
def upgrade(subject: Subject) -> Finding:
    """Replace one instance by another under load, and count what clients miss."""
    options = StartOptions(environment=subject.waits.environment)
    lag_s = subject.waits.drain_s * LAG_SHARE
    expected = subject.service.start.last_answer.status
    gateway = Gateway(subject.service.request, expected)
    with subject.start(options) as old:
        assert old.instance is not None  # INSTANCE is needed, so there is one
        gateway.route_to([old.url])
        with gateway.in_use(), subject.start(options) as new:
            gateway.route_to([old.url, new.url])
            subject.pause(WARM_UP_S)
            told_at = time.monotonic()
            old.instance.send_signal("SIGTERM")
            subject.pause(lag_s)
            gateway.route_to([new.url])
            subject.pause(AFTERWARDS_S)
            routed = gateway.routed()
    lost = [request for request in routed if not request.ok]
    names = {old.url: "the old instance", new.url: "the new instance"}
    subject.facts["hitless"] = {
        "lag_s": round(lag_s, 2),
        "requests": len(routed),
        "lost": len(lost),
        "timeline": [[round(r.sent_at - told_at, 3), names[r.to], r.ok] for r in routed],
    }
    evidence = "\n".join(
        [
            *_counts(routed, names),
            f"routing lags {lag_s:g} s behind SIGTERM; {CLIENTS} connections to each instance",
            *(f"{r.sent_at - told_at:+.2f} s, {names[r.to]}: {r.note}" for r in lost[:5]),
        ]
    )
    if lost:
        return failed(f"{len(lost)} of {len(routed)} requests lost", evidence)
    seen = f"{len(routed)} requests, none lost, routing {lag_s:g} s late"
    if subject.waits.true:
        return passed(seen, evidence)
    return not_waited(subject.edition.sigterm_drain, seen, evidence)


def _counts(routed: list[Routed], names: dict[str, str]) -> list[str]:
    return [
        f"{name}: {sum(r.ok for r in routed if r.to == url)} of "
        f"{sum(r.to == url for r in routed)} requests answered"
        for url, name in names.items()
    ]
