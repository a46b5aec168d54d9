"""Rules on what has to be the same the second time: an answer, and a start."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from custom_image.model_config.remarks import EVENT_STREAM
from custom_image.probing.expected_answers import difference
from custom_image.probing.http import ANSWER_TIMEOUT_S, Answer, ask, ask_on, connect
from custom_image.rules import (
    Context,
    Finding,
    Needs,
    Severity,
    failed,
    not_checked,
    passed,
    rule,
)
from custom_image.specification import RESTARTS, SPECIFICATIONS

CLIENTS: Final = 2
REQUESTS: Final = 10
"""Of each client: enough to meet every worker, few enough for a model that takes its time."""
PATIENCE_S: Final = ANSWER_TIMEOUT_S
MARKS: Final = ("id", "created", "request_id", "timestamp")
"""As OpenAI's chat completions have them."""
TOLERANCE: Final = 1e-4
"""Of numbers in an answer: sums of floats differ by the order in which threads add them."""


@rule(
    id="repeated.answers",
    title="A request that is repeated gets the same answer",
    why="Clients retry, instances share the load; who asks must not decide what is answered.",
    severity=Severity.WARNING,
    needs=Needs.SERVICE,
    requires=("api.answers", "http.latency"),
    expected="the same status and JSON, every time",
    source=SPECIFICATIONS,
    remediation="Put the model into evaluation mode, seed what is random, keep no state "
    "between requests.",
    good="model.eval()",
    bad="dropout that is still on, or one list for all requests",
)
def answers(context: Context) -> Finding:
    """Send one request again and again, from two clients at the same time."""
    service = context.service

    def ask_often() -> list[Answer]:
        connection = connect(service.url, PATIENCE_S)
        found = [ask_on(connection, service.request) for _ in range(REQUESTS)]
        connection.close()
        return found

    with ThreadPoolExecutor(CLIENTS) as pool:
        asked = [pool.submit(ask_often) for _ in range(CLIENTS)]
        found = [answer for client in asked for answer in client.result()]
    first, *others = found
    evidence = f"{len(found)} times {service.request}; the first: {first}"
    if late := sum(answer.timed_out for answer in found):
        return not_checked(f"{late} of {len(found)} not answered in time, which is no other answer")
    for number, answer in enumerate(others, 2):
        if fault := _difference(first, answer):
            return failed(f"answer {number}: {fault}", f"{evidence}\nanswer {number}: {answer}")
    return passed(f"{len(found)} times the same", evidence)


@rule(
    id="repeated.restart",
    title="The service starts again on what it left behind",
    why="The platform restarts what ends; a start that fails the second time never ends failing.",
    severity=Severity.WARNING,
    needs=Needs.INSTANCE,
    requires=("health.ready", "api.answers", "http.latency"),
    expected="ready again after SIGKILL",
    source=RESTARTS,
    remediation="Remove stale pid files, sockets and half-written files at the start.",
    good="rm -f /tmp/app.pid; exec python3 app.py",
    bad="`mkdir /tmp/cache` under `set -e`",
)
def restart(context: Context) -> Finding:
    """Kill the first process, start it again, and ask as soon as anything answers."""
    expected = context.service.start.last_answer.status
    with context.start() as service:
        instance = service.instance
        assert instance is not None  # INSTANCE is needed, so there is one
        first = ask(service.url, service.request)
        if first.status != expected:
            return not_checked(f"an instance of its own answers otherwise: {first}")
        instance.restart()
        again = context.wait_for(instance)
    evidence = f"before SIGKILL: {first}\nafter the second start: {again.start.last_answer}"
    if not again.start.is_ready:
        log = "\n".join(instance.logs().splitlines()[-10:])
        seen = again.start.end or f"not ready after {again.start.waited_s:.0f} s"
        return failed(f"the second time it {seen}", f"{evidence}\nits log ends:\n{log}")
    if again.start.last_answer.status != expected:
        return failed(f"the second time it answers {again.start.last_answer}", evidence)
    return passed(f"ready again after {again.start.waited_s:.1f} s", evidence)


def _difference(first: Answer, second: Answer) -> str:
    """Return how two answers differ, or an empty string."""
    if second.status != first.status:
        return f"{second.status or second}, the first was {first.status or first}"
    is_stream = first.headers.get("content-type", "").startswith(EVENT_STREAM)
    if second.body == first.body or is_stream:  # the parts of a stream bring times and ids
        return ""
    try:
        documents = json.loads(first.body), json.loads(second.body)
    except ValueError:
        return "another body"
    return difference(*(_without_marks(d) for d in documents), tolerance=TOLERANCE)


def _without_marks(document: Any) -> Any:
    """Return an answer without what names this one answer: an id, the time when it was made."""
    if not isinstance(document, dict):
        return document
    return {name: value for name, value in document.items() if name not in MARKS}
