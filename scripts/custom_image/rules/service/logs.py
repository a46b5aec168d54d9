"""What the service writes, and where."""

from __future__ import annotations

import time

from custom_image.probing.http import ask
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
from custom_image.specification import SPECIFICATIONS

DELAY_S = 2.0
"""How long a line may take: standard output that is not a terminal is buffered by default."""


@rule(
    id="logs.stdout",
    title="The service logs to standard output",
    why="The platform shows and keeps nothing else; a log file in the container is lost with it.",
    severity=Severity.WARNING,
    needs=Needs.SERVICE | Needs.INSTANCE,
    requires=("health.ready",),
    expected="a line a request, or at its start",
    source=SPECIFICATIONS,
    remediation="Log to standard output, at level INFO, unbuffered (PYTHONUNBUFFERED=1).",
    good='print("ready", flush=True)',
    bad="FileHandler('/var/log/app.log') and nothing else",
)
def stdout(context: Context) -> Finding:
    """Ask once and look for a new line; a banner alone is enough."""
    service = context.service
    if service.instance is None:
        return not_checked("nothing here can read its log")
    before = service.instance.logs()
    ask(service.url, service.request)
    deadline = time.monotonic() + DELAY_S
    while (log := service.instance.logs()) == before and time.monotonic() < deadline:
        context.pause(0.1)
    last = "\n".join(log.splitlines()[-3:])
    if log != before:
        return passed("a line a request", last)
    if log.strip():
        return passed(f"{len(log.splitlines())} lines at its start, none for a request", last)
    return failed("nothing", f"{service.request} left no line within {DELAY_S:g} s")
