"""Rules on growth: what a service holds after many requests, and when that is too much."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from custom_image.drills.growth import REQUESTS_A_ROUND, ROUNDS, Growth, drill_growth
from custom_image.drills.usage import Usage
from custom_image.errors import Unavailable
from custom_image.rules import (
    Context,
    Finding,
    Level,
    Needs,
    Severity,
    failed,
    not_checked,
    passed,
    rule,
)
from custom_image.specification import DEPLOYMENT_TIMEOUT, GB, Source

AFTER: Final = ("health.ready", "api.answers", "http.latency")
HORIZON_REQUESTS: Final = 1_000_000
"""A day of ten requests a second."""
MB: Final = 10**6
MOST_DESCRIPTORS: Final = 10_000
MOST_THREADS: Final = 1_000
MOST_DISK_BYTES: Final = GB
LEAK: Final = Source(
    "FastAPI: memory piles up over time",
    "https://github.com/fastapi/fastapi/issues/1624",
)
EXPECTED: Final = f"within its limit after {HORIZON_REQUESTS:,} requests"


@rule(
    id="growth.memory",
    title="Memory does not grow with each request",
    why="The process is killed when the flavor's memory is full, in the middle of requests.",
    severity=Severity.WARNING,
    needs=Needs.INSTANCE,
    requires=AFTER,
    expected=f"below the flavor's memory after {HORIZON_REQUESTS:,} requests",
    source=DEPLOYMENT_TIMEOUT,
    remediation="Keep nothing of a request: no list of results, no unbounded cache, no tensors "
    "with their graph (torch.no_grad).",
    good="0.00 MB a thousand requests",
    bad="a list that keeps each picture",
)
def memory(context: Context) -> Finding:
    """Project the growth to the flavor's memory."""
    limit = context.start_options.memory_bytes or context.edition.memory.value * GB
    return _judge(context, "memory", lambda u: u.memory_bytes / MB, limit / MB, "MB")


@rule(
    id="growth.descriptors",
    title="Open files do not grow with each request",
    why="`Too many open files` ends every request, and the health check with them.",
    severity=Severity.WARNING,
    needs=Needs.INSTANCE,
    requires=AFTER,
    expected=EXPECTED,
    source=LEAK,
    remediation="Close files, sessions and connections: with open(...), one client for all.",
    good="0 a thousand requests",
    bad="open(path).read() of a kept object, a new session for each request",
)
def descriptors(context: Context) -> Finding:
    """Project the growth to ten thousand."""
    return _judge(context, "descriptors", lambda u: u.descriptors, MOST_DESCRIPTORS, "files")


@rule(
    id="growth.threads",
    title="Threads do not grow with each request",
    why="A node limits the processes of a container; then no thread starts any more.",
    severity=Severity.WARNING,
    needs=Needs.INSTANCE,
    requires=AFTER,
    expected=EXPECTED,
    source=LEAK,
    remediation="Use one pool for all requests, and shut down what is made for one.",
    good="the same threads after a thousand requests",
    bad="ThreadPoolExecutor() in the handler, never shut down",
)
def threads(context: Context) -> Finding:
    """Project the growth to a thousand."""
    return _judge(context, "threads", lambda u: u.threads, MOST_THREADS, "threads")


@rule(
    id="growth.disk",
    title="/tmp and /dev/shm do not grow with each request",
    why="The disk of a container, and its shared memory, are small; what fills them ends it.",
    severity=Severity.WARNING,
    needs=Needs.CONTAINER,
    requires=AFTER,
    expected=EXPECTED,
    source=DEPLOYMENT_TIMEOUT,
    remediation="Remove temporary files, also after an error: tempfile.TemporaryDirectory.",
    good="with tempfile.NamedTemporaryFile() as upload",
    bad="each upload stays in /tmp",
)
def disk(context: Context) -> Finding:
    """Project the growth to a gigabyte."""
    limit = MOST_DISK_BYTES / MB
    return _judge(context, "disk", lambda u: (u.tmp_bytes + u.shm_bytes) / MB, limit, "MB")


def _judge(
    context: Context, name: str, read: Callable[[Usage], float], limit: float, unit: str
) -> Finding:
    """Judge the lower end of the interval, so that chance alone fails nobody.

    It has to grow in the second half as well: caches that fill up are none of this.
    """
    if not context.level.reaches(Level.FULL):
        wanted = ROUNDS * REQUESTS_A_ROUND
        return not_checked(f"{wanted} requests not waited; use --level full (none was sent)")
    try:
        growth = context.once("growth", lambda: _grow(context))
    except Unavailable as error:
        return not_checked(str(error).splitlines()[0])
    slope, late = growth.slope(read), growth.late().slope(read)
    now, surely = read(growth.samples[-1]), min(slope.low, late.low)
    context.facts.setdefault("growth", {})[name] = {
        "per_1000_requests": round(slope.value, 3),
        "interval": [round(slope.low, 3), round(slope.high, 3)],
        "unit": unit,
    }
    shown = (
        f"{slope.value:+.2f} {unit} a thousand requests (95 %: {slope.low:+.2f} to "
        f"{slope.high:+.2f})"
    )
    seen = ", ".join(f"{read(sample):.1f}" for sample in growth.samples)
    evidence = f"{unit} after {growth.requests[0]} to {growth.requests[-1]} requests: {seen}"
    if surely > 0 and now + surely * HORIZON_REQUESTS / 1000 > limit:
        left = (limit - now) / slope.value * 1000
        return failed(f"{shown}: {limit:,.0f} {unit} after {max(left, 0):,.0f} more", evidence)
    return passed(shown, evidence)


def _grow(context: Context) -> Growth:
    with context.start() as service:
        assert service.instance is not None  # INSTANCE is needed, so there is one
        return drill_growth(service.instance, service.url, service.request, context.pause)
