"""Usage of an instance at a moment: memory, open files, threads, temporary files."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from custom_image.engines import Instance
from custom_image.errors import Unavailable

TICKS_PER_S: Final = 100
"""USER_HZ of every Linux on amd64 and arm64. Source: time(7)"""
# A line for each fact, summed up here. Pages that processes share count once, as shares (Pss);
# an older kernel tells the resident ones alone.
# Source: proc(5), https://man7.org/linux/man-pages/man5/proc_pid_smaps.5.html
_SCRIPT: Final = r"""
for pid in "$@"; do
  [ -r "/proc/$pid/status" ] || continue
  while read -r name value _; do
    case $name in Pss:|VmRSS:|Threads:) echo "$name $value" ;; esac
  done <<END
$(cat "/proc/$pid/smaps_rollup" "/proc/$pid/status" 2>/dev/null)
END
  for file in "/proc/$pid/fd/"*; do [ -L "$file" ] && echo "fd 1"; done
done
# Only a container, which has a process 1, has folders of its own.
case " $* " in *" 1 "*) folders="/tmp /dev/shm" ;; *) folders= ;; esac
for folder in $folders; do
  read -r size _ <<END
$(du -sk "$folder" 2>/dev/null)
END
  echo "$folder ${size:-0}"
done
:
"""


@dataclass(frozen=True)
class Usage:
    """What all processes of an instance hold together.

    Attributes:
        memory_bytes: resident, shared pages counted once.
        descriptors: open files and sockets.
        tmp_bytes: below ``/tmp``.
        shm_bytes: below ``/dev/shm``.
    """

    memory_bytes: int
    descriptors: int
    threads: int
    tmp_bytes: int
    shm_bytes: int


def usage_of(instance: Instance) -> Usage:
    """Return what an instance holds now.

    Raises:
        Unavailable: nothing here can look inside.
    """
    pids = [str(process.pid) for process in instance.processes()]
    code, output = instance.execute(["sh", "-c", _SCRIPT, "sh", *pids])
    found: Counter[str] = Counter()
    for line in output.splitlines():
        name, _, value = line.partition(" ")
        if value.isdigit():
            found[name] += int(value)
    if code or not found["Threads:"]:
        raise Unavailable(f"the image has nothing that can read /proc ({output[:120].strip()})")
    return Usage(
        memory_bytes=1024 * (found["Pss:"] or found["VmRSS:"]),
        descriptors=found["fd"],
        threads=found["Threads:"],
        tmp_bytes=1024 * found["/tmp"],
        shm_bytes=1024 * found["/dev/shm"],
    )


def cpu_share(
    instance: Instance, for_s: float = 1.0, *, pause: Callable[[float], None] = time.sleep
) -> float | None:
    """Return how much of one CPU an instance uses now; None where that cannot be seen."""
    before, began = _ticks(instance), time.monotonic()
    pause(for_s)
    after, ended = _ticks(instance), time.monotonic()
    if before is None or after is None:
        return None
    return (after - before) / TICKS_PER_S / (ended - began)


def _ticks(instance: Instance) -> int | None:
    """Return what its processes have used of CPUs; None where that cannot be seen."""
    try:
        pids = [process.pid for process in instance.processes()]
    except Unavailable:
        return None
    code, text = instance.execute(["cat", *(f"/proc/{pid}/stat" for pid in pids)])
    rows = [line.rpartition(")")[2].split() for line in text.splitlines() if ")" in line]
    ticks = sum(int(row[11]) + int(row[12]) for row in rows if len(row) > 12)
    return ticks if rows and code in (0, 1) else None
