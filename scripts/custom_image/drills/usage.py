"""What an instance holds at a moment: memory, open files, threads, temporary files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from custom_image.engines import Instance
from custom_image.errors import Unavailable

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
