"""Rules on scarce resources: a read-only file system, little memory, a full disk."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from custom_image.engines import Instance, StartOptions
from custom_image.errors import ServiceNotReady
from custom_image.probing.http import Answer, ask, ask_on, connect
from custom_image.rules import (
    Context,
    Finding,
    Needs,
    Service,
    Severity,
    failed,
    not_checked,
    passed,
    rule,
)
from custom_image.specification import CUSTOM_ENGINE, DEPLOYMENT_TIMEOUT, GB, MIB

AFTER: Final = ("health.ready", "api.answers", "http.latency")
REQUESTS: Final = 20
PATIENCE_S: Final = 15.0
SMALL_TMP_BYTES: Final = 4 * MIB
# Control groups of version 1 and 2, as a container sees its own.
# Sources: https://docs.kernel.org/admin-guide/cgroup-v1/memory.html
# and https://docs.kernel.org/admin-guide/cgroup-v2.html
PEAK_FILES: Final = ("memory/memory.max_usage_in_bytes", "memory.peak")
KILL_FILES: Final = ("memory/memory.oom_control", "memory.events")


@rule(
    id="confinement.read-only",
    title="The service works where only /tmp can be written",
    why="A pool may forbid the rest; and what is written into a container is gone with it.",
    severity=Severity.WARNING,
    needs=Needs.CONTAINER,
    requires=AFTER,
    expected="works with --read-only",
    source=CUSTOM_ENGINE,
    remediation="Write below /tmp alone, compile bytecode while the image is built, log to stdout.",
    good="docker run --read-only --tmpfs /tmp IMAGE",
    bad="a log file, a cache or a pid file beside the code",
)
def read_only(context: Context) -> Finding:
    """Start an instance whose root file system is closed, and ask it."""
    return _compare(context, StartOptions(read_only=True), "with a closed root file system")


@rule(
    id="confinement.memory",
    title="The service works within the memory of the smallest public flavor",
    why="A process that needs more is killed, and the platform starts it over and over.",
    severity=Severity.WARNING,
    needs=Needs.CONTAINER,
    requires=AFTER,
    limit_field="memory",
    remediation="Load the model once, with fewer workers, or choose a flavor with more memory "
    "and raise "
    "the limit: --limit confinement.memory=16",
    good="a peak of 0.3 GB",
    bad="a worker for each CPU, each with 6 GB of weights",
)
def memory(context: Context) -> Finding:
    """Start an instance with that ceiling, ask it a number of times, and read its peak."""
    ceiling = context.edition.memory
    options = StartOptions(memory_bytes=int(ceiling.value * GB))
    try:
        with context.start(options) as service:
            assert service.instance is not None  # CONTAINER is needed, so there is one
            answers = _ask_often(service)
            use = _memory_use(service.instance)
            is_running = service.instance.is_running()
    except ServiceNotReady as error:
        return failed(f"never ready with {ceiling}", str(error))
    if use.peak_bytes is not None:
        context.facts["memory"] = {"peak_mb": round(use.peak_bytes / 1e6, 1)}
    shown = "peak unknown" if use.peak_bytes is None else f"peak {use.peak_bytes / GB:.2f} GB"
    evidence = f"{len(answers)} times {service.request}; the last: {answers[-1]}\n{shown}"
    expected = context.service.start.last_answer.status
    wrong = [answer for answer in answers if answer.status != expected]
    if use.kills:
        return failed(f"{use.kills} processes killed for want of memory", evidence)
    if wrong or not is_running:
        return failed(f"with {ceiling}: {wrong[0] if wrong else 'it ended'}", evidence)
    return passed(f"{shown} of {ceiling}", evidence)


@rule(
    id="confinement.full-disk",
    title="The service goes on answering when /tmp is full",
    why="Uploads and caches fill a disk unseen; one that is full must not end the service.",
    severity=Severity.WARNING,
    needs=Needs.CONTAINER,
    requires=AFTER,
    expected="answers as before",
    source=DEPLOYMENT_TIMEOUT,
    remediation="Keep small uploads in memory, and remove temporary files, also after an error.",
    good="the body is read into memory",
    bad="each upload becomes a file in /tmp",
)
def full_disk(context: Context) -> Finding:
    """Fill a small /tmp of an instance that is ready, and ask it again."""
    expected = context.service.start.last_answer.status
    try:
        with context.start(StartOptions(tmp_bytes=SMALL_TMP_BYTES)) as service:
            assert service.instance is not None  # CONTAINER is needed, so there is one
            fill = "cat /dev/zero >/tmp/filling 2>/dev/null; echo 1 >/tmp/another"
            code, output = service.instance.execute(["sh", "-c", fill])
            if not code or code in (126, 127):
                return not_checked("nothing in the image can fill /tmp", output[:200])
            answers = [ask(service.url, service.request, PATIENCE_S) for _ in range(3)]
            is_running = service.instance.is_running()
    except ServiceNotReady as error:
        return failed(f"never ready with a /tmp of {SMALL_TMP_BYTES // MIB} MiB", str(error))
    evidence = "\n".join(f"{service.request}: {answer}" for answer in answers)
    wrong = next((answer for answer in answers if answer.status != expected), None)
    if not is_running:
        return failed("it ended when /tmp was full", evidence)
    if wrong is not None:
        return failed(f"with a full /tmp: {wrong}", evidence)
    return passed(f"{len(answers)} requests answered with a full /tmp", evidence)


def _compare(context: Context, options: StartOptions, condition: str) -> Finding:
    """Start an instance under a condition, and compare its answer with that of the shared one."""
    expected = context.service.start.last_answer.status
    try:
        with context.start(options) as service:
            answer = ask(service.url, service.request, PATIENCE_S)
    except ServiceNotReady as error:
        return failed(f"never ready {condition}", f"{error}\n{_complaint(error.log)}".rstrip())
    shown = f"{service.request}: {answer}"
    if answer.status != expected:
        return failed(f"answers {answer.status} {condition}, {expected} without", shown)
    return passed(f"works {condition}", shown)


def _complaint(log: str) -> str:
    """Return the line of a log that tells which path could not be written."""
    lines = [line for line in log.splitlines() if "Read-only file system" in line]
    return lines[0][:300] if lines else ""


def _ask_often(service: Service) -> list[Answer]:
    connection = connect(service.url, PATIENCE_S)
    answers = [ask_on(connection, service.request) for _ in range(REQUESTS)]
    connection.close()
    return answers


@dataclass(frozen=True)
class _MemoryUse:
    """What the kernel counted; ``peak_bytes`` None where the container cannot read it."""

    peak_bytes: int | None
    kills: int


def _memory_use(instance: Instance) -> _MemoryUse:
    peak = _read_counter(instance, PEAK_FILES)
    kills = re.search(r"^oom_kill (\d+)$", _read_counter(instance, KILL_FILES), re.MULTILINE)
    return _MemoryUse(int(peak) if peak.strip().isdigit() else None, int(kills[1]) if kills else 0)


def _read_counter(instance: Instance, names: tuple[str, ...]) -> str:
    for name in names:
        code, output = instance.execute(["cat", f"/sys/fs/cgroup/{name}"])
        if not code:
            return output
    return ""
