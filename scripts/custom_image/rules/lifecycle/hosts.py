"""Machines that give less than the author's: old ones, closed ones, shared ones with many cores.

A service that works where all of this comes together needs no further instance. Where it does not,
each condition is tried by itself, so that the one at fault is named.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from custom_image.drills.processes import workers
from custom_image.engines import Lookup, StartOptions, Volume
from custom_image.errors import Unavailable
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
from custom_image.specification import MIB, Source

CLONE3: Final = Source(
    "Docker: clone3 and old seccomp", "https://github.com/moby/moby/issues/42680"
)
OFFLINE: Final = Source(
    "FAQ: a service cannot reach the internet",
    "https://support.huaweicloud.com/modelarts_faq/modelarts_05_3158.html",
)
CPUSET: Final = Source(
    "ONNX Runtime: thread affinity in a cpuset",
    "https://github.com/microsoft/onnxruntime/issues/8313",
)
CORES: Final = Source(
    "gunicorn: workers by the cores of the host",
    "https://github.com/benoitc/gunicorn/issues/2028",
)
SHARED_MEMORY: Final = Source(
    "PyTorch: bus error, shared memory of a container",
    "https://github.com/pytorch/pytorch/issues/5040",
)
AFTER: Final = ("health.ready", "api.answers", "http.latency")
# What the engine of an old node does with a call that it does not know.
OLD_SECCOMP: Final = json.dumps(
    {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    }
)
SMALL_SHM_BYTES: Final = 64 * MIB
LARGE_SHM_BYTES: Final = 1024 * MIB
MANY_CORES: Final = 12
BUS_ERROR: Final = re.compile(r"(?i)bus error|SIGBUS|shared memory|/dev/shm|exit code 135")
CORES_FILE: Final = "/sys/devices/system/cpu/online"
PATIENCE_S: Final = 15.0
NOTICEABLE_S: Final = 5.0
"""What is lost in less is lost in every start."""
MARGIN: Final = 2
"""Helpers that come and go, beside the workers."""


@rule(
    id="start.old-host",
    title="The service starts where the engine is older than the image's libc",
    why='Nodes with an old engine refuse clone3, and no thread starts: "can\'t start new thread".',
    severity=Severity.WARNING,
    needs=Needs.CONTAINER,
    requires=AFTER,
    expected="works where clone3 is refused with EPERM",
    source=CLONE3,
    remediation="Take a base image with glibc below 2.34 (Debian 11, Ubuntu 20.04), or install a "
    "seccomp filter that answers ENOSYS, as this project's runtime does.",
    good="FROM debian:11",
    bad="FROM debian:12 and a server with threads",
)
def old_host(context: Context) -> Finding:
    """Start it under such a filter."""
    return _judge(context, "old", "where clone3 is refused")


@rule(
    id="start.offline",
    title="The service starts and answers without a network",
    why="Pools reach no hub: what is fetched at the start or at the first request never comes.",
    severity=Severity.WARNING,
    needs=Needs.CONTAINER,
    requires=AFTER,
    expected="works without a network, and loses no time for it",
    source=OFFLINE,
    remediation="Bring every file along in the image, and say so to the libraries: "
    "HF_HUB_OFFLINE=1, TRANSFORMERS_OFFLINE=1.",
    good="ENV HF_HUB_OFFLINE=1, and the files in the image",
    bad="from_pretrained() of a name at the start",
)
def offline(context: Context) -> Finding:
    """Start it with its own loopback alone; what it asks for is written down."""
    try:
        found = _tried(context, "offline")
    except Unavailable as error:
        return not_checked(str(error).splitlines()[0])
    asked = "\n".join(_shown(lookup) for lookup in found.lookups)
    if found.fault:
        hosts = ", ".join(lookup.name for lookup in found.lookups[:3])
        text = f"{found.fault} without a network{f'; it asks for {hosts}' if hosts else ''}"
        return failed(text, f"{asked}\n{found.evidence}".strip())
    # Not the time of the whole start: the author's machine may have no network either.
    lost_s = max((lookup.last_s - lookup.after_s for lookup in found.lookups), default=0.0)
    if lost_s > NOTICEABLE_S:
        worst = max(found.lookups, key=lambda lookup: lookup.last_s - lookup.after_s)
        return failed(f"it asks for {worst.name} again and again, for {lost_s:.0f} s", asked)
    names = ", ".join(lookup.name for lookup in found.lookups)
    return passed(f"works; asked in vain for {names}" if names else "asks for nothing", asked)


@rule(
    id="start.cpuset",
    title="The service starts where it may use one CPU, and not the first",
    why="Nodes are shared: threads that are pinned to CPUs of others cannot be started.",
    severity=Severity.WARNING,
    needs=Needs.CONTAINER,
    requires=AFTER,
    expected="works on one CPU",
    source=CPUSET,
    remediation="Give the number of threads (intra_op_num_threads, OMP_NUM_THREADS), and pin none.",
    good="SessionOptions.intra_op_num_threads = 1",
    bad="taskset -c 0-3 in the boot file",
)
def cpuset(context: Context) -> Finding:
    """Start it on the last CPU of this machine."""
    return _judge(context, "cpuset", "on one CPU that is not the first")


@rule(
    id="start.cores",
    title="The number of workers does not follow the cores of the host",
    why="A node has 64 cores, the flavor 2: as many workers as the node's cores want its memory.",
    severity=Severity.WARNING,
    needs=Needs.CONTAINER,
    requires=AFTER,
    expected=f"as many processes where the host has {MANY_CORES} cores",
    source=CORES,
    remediation="Take the number from the cgroup's quota (cpu.max), or from an environment "
    "variable; not from os.cpu_count().",
    good="gunicorn --workers ${WORKERS:-2}",
    bad="workers = 2 * multiprocessing.cpu_count() + 1",
)
def cores(context: Context) -> Finding:
    """Count the processes where the kernel's own file tells of more cores than there are."""
    instance = context.service.instance
    assert instance is not None  # CONTAINER is needed, so there is one
    before = len(workers(instance))
    found = _tried(context, "cores")
    if not found.processes:
        return not_checked(f"with {MANY_CORES} cores it was not there to be counted: {found.fault}")
    text = f"{found.processes - 1} workers with {MANY_CORES} cores, {before} with its own"
    return (failed if found.processes - 1 > before + MARGIN else passed)(text, found.evidence)


@rule(
    id="start.shared-memory",
    title="The service works with 64 MB of shared memory",
    why="That is what a container gets by default; processes that share more die of a bus error.",
    severity=Severity.WARNING,
    needs=Needs.CONTAINER,
    expected=f"works with a /dev/shm of {SMALL_SHM_BYTES // MIB} MB",
    source=SHARED_MEMORY,
    remediation="Share less (num_workers=0, file descriptors instead of tensors), or ask for more "
    "shared memory where the service is deployed, and verify with --shm-size.",
    good="predictions in threads of one process",
    bad="a tensor of 100 MB that goes through a multiprocessing queue",
)
def shared_memory(context: Context) -> Finding:
    """Compare with an instance that has more, where an answer of the first is none."""
    start, instance = context.service.start, context.service.instance
    answer, small, large = start.last_answer, SMALL_SHM_BYTES // MIB, LARGE_SHM_BYTES // MIB
    log = instance.logs() if instance else ""
    if not start.is_ready and not BUS_ERROR.search(f"{log}\n{start.end}"):
        return not_checked("it was never ready, for another reason: see health.ready")
    if context.start_options.shm_bytes > SMALL_SHM_BYTES:
        little = _try(context, StartOptions(shm_bytes=SMALL_SHM_BYTES))
        if little.fault:
            return failed(f"{little.fault} with {small} MB", little.evidence)
    elif not answer.is_good and answer.status not in range(400, 500):
        much = _try(context, StartOptions(shm_bytes=LARGE_SHM_BYTES), expected=200)
        if not much.fault:
            return failed(f"answers with {large} MB only; with {small} MB: {answer}", much.evidence)
        return not_checked("it answers neither with much nor with little: see api.answers")
    return passed(f"works with {small} MB")


CONDITIONS: Final[dict[str, StartOptions]] = {
    "old": StartOptions(seccomp=OLD_SECCOMP),
    "offline": StartOptions(is_offline=True),
    "cpuset": StartOptions(cpuset=str(max(os.sched_getaffinity(0), default=0))),
    "cores": StartOptions(),
}
"""By itself each; ``cores`` also needs the file that tells of them."""


@dataclass(frozen=True)
class _Trial:
    """What became of an instance under a condition.

    Attributes:
        fault: why it does not work, as a part of a sentence; empty where it does.
        processes: how many there were when it was ready; 0 where none could be counted.
    """

    fault: str
    evidence: str
    waited_s: float = 0.0
    processes: int = 0
    lookups: tuple[Lookup, ...] = ()


def _judge(context: Context, name: str, condition: str) -> Finding:
    found = _tried(context, name)
    if found.fault:
        return failed(f"{found.fault} {condition}", found.evidence)
    return passed(f"works {condition}", found.evidence)


def _tried(context: Context, name: str) -> _Trial:
    """Return how it fares under one condition, all together being tried first.

    Raises:
        Unavailable: this machine cannot make the condition.
    """
    together = context.once("hosts", lambda: _try_together(context))
    if not together.fault or (name == "cores" and together.processes):
        return together
    return context.once(f"hosts-{name}", lambda: _try_alone(context, name))


def _try_together(context: Context) -> _Trial:
    with tempfile.TemporaryDirectory() as folder:
        options = replace(
            CONDITIONS["offline"],
            seccomp=OLD_SECCOMP,
            cpuset=CONDITIONS["cpuset"].cpuset,
            volumes=_cores_volume(Path(folder)),
        )
        try:
            return _try(context, options)
        except Unavailable:  # no network cannot be made here: each by itself
            return _Trial("cannot be tried together", "")


def _try_alone(context: Context, name: str) -> _Trial:
    with tempfile.TemporaryDirectory() as folder:
        options = CONDITIONS[name]
        if name == "cores":
            options = replace(options, volumes=_cores_volume(Path(folder)))
        return _try(context, options)


def _cores_volume(folder: Path) -> tuple[Volume, ...]:
    file = folder / "online"
    file.write_text(f"0-{MANY_CORES - 1}\n")
    folder.chmod(0o755)
    return (Volume(str(file), CORES_FILE),)


def _try(context: Context, options: StartOptions, expected: int = 0) -> _Trial:
    """Start an instance under a condition, and compare its answer with the shared one's."""
    expected = expected or context.service.start.last_answer.status
    processes = 0
    with context.launch(options) as instance:
        service = context.wait_for(instance)
        answer = ask(service.url, service.request, PATIENCE_S)
        with suppress(Unavailable):
            processes = len(instance.processes())
        log, lookups = instance.logs(), tuple(instance.lookups())
    if not service.start.is_ready:
        shown = f"its log ends:\n{_end(log)}"
        return _Trial("never ready", shown, service.start.waited_s, processes, lookups)
    shown = f"{service.request}: {answer}"
    if answer.status != expected:
        fault, shown = f"answers {answer.status or answer}", f"{shown}\nits log ends:\n{_end(log)}"
        return _Trial(fault, shown, service.start.waited_s, processes, lookups)
    return _Trial("", shown, service.start.waited_s, processes, lookups)


def _end(log: str) -> str:
    return "\n".join(log.splitlines()[-12:])[-2000:]


def _shown(lookup: Lookup) -> str:
    who = f" by {lookup.process}" if lookup.process else ""
    return f"{lookup.name}: asked for {lookup.times} times, first after {lookup.after_s} s{who}"
