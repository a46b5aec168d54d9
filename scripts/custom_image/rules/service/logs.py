"""Rules on logs: what the service writes, and where."""

from __future__ import annotations

import time

from custom_image.engines import Instance
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


REQUESTS = 3
# Files of the last minutes, each with its size; `-prune` keeps what is no disk out.
CHANGED_SCRIPT = r"""
find / -xdev \( -path /proc -o -path /sys -o -path /dev \) -prune -o \
  -type f -mmin -10 -exec stat -c '%s %n' {} + 2>/dev/null
find /tmp /run /var/log -xdev -type f -mmin -10 -exec stat -c '%s %n' {} + 2>/dev/null
command -v find >/dev/null && command -v stat >/dev/null
"""


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


@rule(
    id="logs.files",
    title="What is logged of a request goes to standard output",
    why="The platform shows nothing of a file; it fills the disk, and is lost with the container.",
    severity=Severity.WARNING,
    needs=Needs.SERVICE | Needs.CONTAINER,
    requires=("api.answers",),
    expected="no file that grows by a line a request, while standard output is silent",
    source=SPECIFICATIONS,
    remediation="Log to standard output, or link the file to it: ln -sf /dev/stdout "
    "/var/log/nginx/access.log.",
    good="StreamHandler(sys.stdout)",
    bad="a banner on standard output, each request in /var/log/app.log",
)
def files(context: Context) -> Finding:
    """Compare the sizes of text files that change while requests come."""
    service = context.service
    assert service.instance is not None  # CONTAINER is needed, so there is one
    log = service.instance.logs()
    if not log.strip():
        return not_checked("nothing is on standard output: see logs.stdout")
    before = _sizes(service.instance)
    if before is None:
        return not_checked("the image has nothing that can list its files")
    for _ in range(REQUESTS):
        ask(service.url, service.request)
    deadline = time.monotonic() + DELAY_S
    while service.instance.logs() == log and time.monotonic() < deadline:
        context.pause(0.1)
    if service.instance.logs() != log:
        return passed("requests are seen on standard output")
    after = _sizes(service.instance) or {}
    grown = [
        f"{path}: {before.get(path, 0):,} -> {size:,} bytes after {REQUESTS} requests"
        for path, size in after.items()
        if size > before.get(path, 0) and _is_text(service.instance, path)
    ]
    if grown:
        return failed(grown[0], "\n".join(grown[:10]))
    return passed("no file grows with requests")


def _sizes(instance: Instance) -> dict[str, int] | None:
    """Return the files of the image that were written lately; None where none can be listed."""
    code, output = instance.execute(["sh", "-c", CHANGED_SCRIPT])
    if code:
        return None
    rows = (line.split(" ", 1) for line in output.splitlines())
    return {row[1]: int(row[0]) for row in rows if len(row) == 2 and row[0].isdigit()}


def _is_text(instance: Instance, path: str) -> bool:
    code, output = instance.execute(["tail", "-c", "200", path])
    return not code and "\n" in output and all(c.isprintable() or c in "\n\t\r" for c in output)
