"""Rules on HTTP: with many, with patient and with clumsy clients."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from custom_image.probing.bad_requests import TOO_LARGE_BYTES, bad_requests
from custom_image.probing.http import Answer, ask, ask_on, connect, is_closed_by_server
from custom_image.rules import (
    Context,
    Finding,
    Level,
    Needs,
    Service,
    Severity,
    failed,
    not_checked,
    not_waited,
    passed,
    rule,
)
from custom_image.specification import (
    GATEWAY_LATENCY,
    SERVICE_OVERLOADED,
    SYNCHRONOUS_LATENCY,
    Requirement,
)

LOOK_S = 0.2
"""How often an idle connection is looked at; the time of its end is known this exactly."""
WARM_UP_REQUESTS = 3
PATIENCE_S = GATEWAY_LATENCY.value + 25.0
"""Longer than the gateway's: a slow answer is told from none, and its time is known."""

_ASYNCHRONOUS = (
    f"A prediction that takes longer than {GATEWAY_LATENCY} is cut off by the "
    "gateway: deploy it as an asynchronous service (custom-image deploy --asynchronous), or make "
    "the model faster."
)


@rule(
    id="http.latency",
    title="Predictions are faster than the gateway's patience",
    why="The gateway answers ModelArts.4205, in v2 CF2.E00003, instead of a slower service.",
    severity=Severity.ERROR,
    needs=Needs.SERVICE,
    requires=("api.answers",),
    exclusive=True,
    limit_field="latency",
    remediation="Make the model faster, or create the model in asynchronous mode.",
    good="p99 0.2 s",
    bad="45 s for the first request, because the model is loaded by it",
)
def latency(context: Context) -> Finding:
    """Time requests, one after the other, on one connection."""
    service, limit = context.service, context.edition.latency
    asked: list[tuple[Any, Answer]] = context.once("apis", list)
    waited_s = max((first.seconds for _, first in asked), default=0.0)
    if slow := propose(waited_s):  # the first answer says it; minutes would be lost for another
        context.facts["latency"] = {"requests": 1, "slowest_ms": round(waited_s * 1000)}
        evidence = (
            f"the first answer\nspecified: {SYNCHRONOUS_LATENCY}; the gateway cuts at {limit}"
        )
        return judge_times(waited_s * 1000, limit, f"{waited_s:.1f} s", f"{evidence}\n{slow}")
    most, for_s = (300, 10.0) if context.level is Level.FULL else (100, 2.0)
    connection = connect(service.url, timeout_s=max(limit.value, SYNCHRONOUS_LATENCY.value) + 5)
    times_ms: list[float] = []  # and not the answers: a hundred large ones are hundreds of MB
    lost: list[Answer] = []
    for _ in range(WARM_UP_REQUESTS):
        answer = ask_on(connection, service.request)
        if propose(answer.seconds):  # it says all there is to say, and minutes would be lost
            times_ms.append(answer.seconds * 1000)
            break
    began = time.monotonic()
    while len(times_ms) < most and (not times_ms or time.monotonic() - began < for_s):
        if times_ms and propose(times_ms[-1] / 1000):
            break
        context.pause(0)
        answer = ask_on(connection, service.request)
        times_ms.append(answer.seconds * 1000)
        if not answer.is_answer:
            lost.append(answer)
    connection.close()

    times_ms.sort()
    p50, p99 = (times_ms[int(len(times_ms) * share)] for share in (0.5, 0.99))
    context.facts["latency"] = {
        "requests": len(times_ms),
        "p50_ms": round(p50, 2),
        "p99_ms": round(p99, 2),
        "slowest_ms": round(times_ms[-1], 2),
    }
    shown = f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, slowest {times_ms[-1]:.1f} ms"
    evidence = (
        f"{len(times_ms)} times {service.request}, one after the other, on one connection\n"
        f"specified: {SYNCHRONOUS_LATENCY}; the gateway cuts at {limit}"
    )
    if lost:
        evidence = f"{lost[0]}\n{evidence}"
        shown = f"{len(lost)} of {len(times_ms)} got no answer"
    return judge_times(times_ms[-1], limit, shown, evidence, is_lost=bool(lost))


def judge_times(
    slowest_ms: float,
    limit: Requirement[int] | Requirement[float],
    shown: str,
    evidence: str,
    *,
    is_lost: bool = False,
) -> Finding:
    """Return the verdict on the slowest of some predictions; too slow a one gets a way out."""
    proposal = propose(slowest_ms / 1000)
    if is_lost or slowest_ms > limit.value * 1000:
        return failed(shown, evidence, proposal)
    return passed(shown, evidence if proposal in evidence else f"{evidence}\n{proposal}".strip())


@rule(
    id="http.bad-input",
    title="Bad input is refused, and never breaks the service",
    why="Errors of the server trip the gateway's protection: ModelArts.4302 to every client.",
    severity=Severity.ERROR,
    needs=Needs.SERVICE | Needs.CONFIG,
    requires=("api.answers", "http.latency"),
    expected="4xx, and a good request answered after it",
    source=SERVICE_OVERLOADED,
    remediation="Check the input before the model sees it; answer 400, 413, 415 or 422 with a "
    "sentence.",
    good='400 {"error": "no JPEG"}',
    bad="500, or an exit, for a body that is no picture",
)
def bad_input(context: Context) -> Finding:
    """Send what clients get wrong, each followed by a good request."""
    requests = bad_requests(context.config.apis[0]) if context.config.apis else {}
    if not requests:
        return not_checked("the first api takes no body")
    expected = context.service.start.last_answer.status
    evidence, faults = [], []
    with context.borrow() as service:
        for name, request in requests.items():
            context.pause(0)
            answer = ask(service.url, request, context.waits.bad_input_s)
            after = ask(service.url, service.request)
            evidence.append(f"{name}: {answer}; a good request after it: {after.status}")
            # A server may hang up on a body that is too large before the answer can be read.
            may_hang_up = len(request.body) >= TOO_LARGE_BYTES and not answer.status
            if not answer.is_answer and not may_hang_up:
                faults.append(f"{name}: {answer}")
            if after.status != expected:
                faults.append(f"after {name}, a good request: {after}")
            if faults and not (answer.status and after.status):
                break  # the others would take as long to say the same
        if service.instance and not service.instance.is_running():
            faults.append(f"the service ended with exit code {service.instance.wait(1)}")
    shown = "\n".join(evidence)
    if faults:
        return failed(faults[0], shown)
    return passed(f"{len(requests)} kinds refused, good requests answered after each", shown)


@rule(
    id="http.keep-alive",
    title="An idle connection is kept open",
    why="The gateway reuses its connections; a request on one that is being closed is lost.",
    severity=Severity.ERROR,
    needs=Needs.SERVICE,
    requires=("api.answers", "http.latency"),
    limit_field="keep_alive",
    wait_seconds=lambda waits: waits.keep_alive_s,
    remediation="Set the server's keep-alive: uvicorn --timeout-keep-alive 200, gunicorn "
    "--keep-alive 200 "
    "-k gevent, nginx keepalive_timeout 200s.",
    good="uvicorn --timeout-keep-alive 200",
    bad="uvicorn without it: 5 s",
)
def keep_alive(context: Context) -> Finding:
    """Leave two connections idle: one is used again just before the end, one is held to it.

    A server that is set to exactly the required time may close in the second in which a client
    would try that time out, so the reuse comes a second earlier.
    """
    wait_s = context.waits.keep_alive_s
    held = _hold(context, context.service, wait_s)
    context.facts["keep_alive"] = {"idle_s": wait_s, "closed_after_s": held.closed_after_s}
    evidence = f"first request: {held.first}"
    if not held.first.status:
        return failed(str(held.first), evidence)
    if held.first.closes:
        return failed("closed right after the answer", f"{evidence}\n{dict(held.first.headers)}")
    if held.closed_after_s is not None:
        return failed(f"closed after {held.closed_after_s:.1f} s idle", evidence)
    evidence += f"\nsecond request, on the same connection, {wait_s - 1:g} s later: {held.reused}"
    if held.reused is None or not held.reused.is_answer:
        return failed(f"the second request got {held.reused}", evidence)
    seen = f"open and usable after {wait_s:g} s idle"
    if context.waits.true:
        return passed(seen, evidence)
    return not_waited(context.edition.keep_alive, seen, evidence)


@dataclass(frozen=True)
class _Held:
    """What happened to the two idle connections; ``reused`` is None where they were closed."""

    first: Answer
    closed_after_s: float | None = None
    reused: Answer | None = None


def _hold(context: Context, service: Service, wait_s: float) -> _Held:
    reuse_s = wait_s - 1
    connections = [connect(service.url) for _ in range(2)]
    try:
        first, _ = [ask_on(connection, service.request) for connection in connections]
        began = time.monotonic()
        if first.closes or not first.status:
            return _Held(first)
        reused: Answer | None = None
        while (idle_s := time.monotonic() - began) < wait_s:
            if reused is None and idle_s >= reuse_s:
                reused = ask_on(connections[0], service.request)
            for connection in connections[1:] if reused else connections:
                if is_closed_by_server(connection):
                    return _Held(first, closed_after_s=idle_s)
            context.pause(min(LOOK_S, max(0.01, (wait_s if reused else reuse_s) - idle_s)))
        return _Held(first, reused=reused)
    finally:
        for connection in connections:
            connection.close()


def propose(slowest_s: float) -> str:
    """Return what to do about the slowest prediction; empty where the gateway waits for it."""
    return _ASYNCHRONOUS if slowest_s > GATEWAY_LATENCY.value else ""
