"""An upgrade as the platform rolls it out: a second instance, then SIGTERM to the first."""

from __future__ import annotations

import time
from typing import Final

from custom_image.drills.load_balancer import CLIENTS, PATIENCE_S, Gateway, Routed
from custom_image.engines import StartOptions
from custom_image.rules import (
    Context,
    Finding,
    Needs,
    Severity,
    failed,
    not_checked,
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
    requires=("sigterm.serves", "sigterm.in-flight"),
    expected="every request answered, before, during and after",
    source=SPECIFICATIONS,
    wait_seconds=lambda waits: waits.drain_s,
    remediation="Go on serving after SIGTERM, as many connections as before; see the requests "
    "that were "
    "lost.",
    good="requests on 16 connections to both instances, none lost",
    bad="a server that takes 8 connections and refuses the others",
)
def upgrade(context: Context) -> Finding:
    """Replace one instance by another under load, and count what clients miss."""
    options = StartOptions(environment=context.waits.environment)
    lag_s = context.waits.drain_s * LAG_SHARE
    expected = context.service.start.last_answer.status
    gateway = Gateway(context.service.request, expected)
    with context.start(options) as old:
        assert old.instance is not None  # INSTANCE is needed, so there is one
        gateway.route_to([old.url])
        with gateway.in_use(), context.start(options) as new:
            gateway.route_to([old.url, new.url])
            context.pause(WARM_UP_S)
            told_at = time.monotonic()
            old.instance.send_signal("SIGTERM")
            context.pause(lag_s)
            gateway.route_to([new.url])
            context.pause(AFTERWARDS_S)
            routed = gateway.routed()
    lost = [request for request in routed if not request.ok]
    names = {old.url: "the old instance", new.url: "the new instance"}
    context.facts["hitless"] = {
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
    slow = [r for r in lost if r.timed_out and r.sent_at < told_at - PATIENCE_S]
    if slow:  # that is the model's pace, which no drain changes
        text = f"{CLIENTS} clients wait too long before the upgrade already: {slow[0].note}"
        return not_checked(text, evidence)
    if lost:
        return failed(f"{len(lost)} of {len(routed)} requests lost", evidence)
    seen = f"{len(routed)} requests, none lost, routing {lag_s:g} s late"
    if context.waits.true:
        return passed(seen, evidence)
    return not_waited(context.edition.sigterm_drain, seen, evidence)


def _counts(routed: list[Routed], names: dict[str, str]) -> list[str]:
    return [
        f"{name}: {sum(r.ok for r in routed if r.to == url)} of "
        f"{sum(r.to == url for r in routed)} requests answered"
        for url, name in names.items()
    ]
