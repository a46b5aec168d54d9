"""Memory, and what a worker takes of it: of the cgroup, the machine, the GPUs.

Sources: https://docs.kernel.org/admin-guide/cgroup-v2.html and cgroup-v1/memory.html,
https://docs.kernel.org/filesystems/proc.html (``smaps_rollup``, ``status``, ``meminfo``).
"""

from __future__ import annotations

import contextlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from model_service.processes.cpus import CGROUP_ROOT

_KIB = 1024
_QUERY_SECONDS = 10.0


@dataclass(frozen=True)
class Room:
    """Memory that may be used, in bytes.

    Attributes:
        free_bytes: of the limit; file pages that the kernel gives back count as free.
    """

    limit_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class Gpu:
    """One GPU; its memory in bytes."""

    name: str
    used_bytes: int
    free_bytes: int


def read_room(cgroup_root: Path = CGROUP_ROOT, proc: Path = Path("/proc")) -> Room:
    """Return the room within the cgroup's limit, or the machine's where that has less."""
    machine = _read_fields(proc / "meminfo")
    room = Room(machine.get("MemTotal", 0) * _KIB, machine.get("MemAvailable", 0) * _KIB)
    for folder, names in (
        (cgroup_root, ("memory.max", "memory.current", "inactive_file")),
        (
            cgroup_root / "memory",
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ),
    ):
        with contextlib.suppress(OSError, ValueError):  # "max"
            limit_bytes = int((folder / names[0]).read_text())
            used_bytes = int((folder / names[1]).read_text())
            used_bytes -= _read_fields(folder / "memory.stat").get(names[2], 0)
            if limit_bytes < room.limit_bytes:
                free_bytes = max(0, min(room.free_bytes, limit_bytes - used_bytes))
                return Room(limit_bytes, free_bytes)
    return room


def count_kills(cgroup_root: Path = CGROUP_ROOT) -> int:
    """Return how many processes of this cgroup the kernel has killed for want of memory."""
    for path in (cgroup_root / "memory.events", cgroup_root / "memory" / "memory.oom_control"):
        with contextlib.suppress(OSError):
            return _read_fields(path).get("oom_kill", 0)
    return 0


def read_worker_bytes(pid: int, proc: Path = Path("/proc")) -> int:
    """Return what one more worker like this one takes while it loads.

    Its private pages, and what it had in use at its peak beyond what it has now. Pages that it
    shares (libraries, weights that are mapped) exist already.
    """
    with contextlib.suppress(OSError):
        pages = _read_fields(proc / str(pid) / "smaps_rollup")
        status = _read_fields(proc / str(pid) / "status")
        private = pages.get("Private_Dirty", 0) + pages.get("Swap", 0)
        peak = max(0, status.get("VmHWM", 0) - status.get("VmRSS", 0))
        return (private + peak) * _KIB
    return 0


def read_gpus() -> list[Gpu]:
    """Return the GPUs that ``nvidia-smi`` shows; none where there is no such program."""
    command = ["nvidia-smi", "--query-gpu=index,memory.used,memory.free"]
    try:
        done = subprocess.run(
            [*command, "--format=csv,noheader,nounits"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_QUERY_SECONDS,
        )
        rows = [line.split(",") for line in done.stdout.decode().splitlines()]
        return [Gpu(i.strip(), int(used) * _KIB**2, int(free) * _KIB**2) for i, used, free in rows]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


def _read_fields(path: Path) -> dict[str, int]:
    """Return the numbers of a file of lines ``name value`` or ``name: value kB``."""
    fields = {}
    for line in path.read_text().splitlines():
        words = line.split()
        if len(words) >= 2 and words[1].isdigit():
            fields[words[0].rstrip(":")] = int(words[1])
    return fields
