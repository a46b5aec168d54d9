"""Owners of containers, so that those of a Python that was killed can be told from live ones."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Final

OWNER_LABEL: Final = "custom-image.owner"
_PROC: Final = Path("/proc")
_START_FIELD: Final = 19
"""Of /proc/<pid>/stat behind the name in brackets: field 22, start time in clock ticks.

Source: proc(5), https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
"""


def this_process() -> str:
    """Return what names this process alone: machine, pid namespace, pid and time of its start.

    Empty on a system without ``/proc``, where nothing could tell whether it has ended.
    """
    here = _here()
    return f"{here}/{os.getpid()}/{_started(os.getpid())}" if here else ""


def is_gone(owner: str) -> bool:
    """Tell whether the process that a label names has ended; false where that cannot be known."""
    here, _, process = owner.partition("/")
    pid, _, started = process.partition("/")
    return bool(here) and here == _here() and _started(int(pid)) != started


@cache
def _here() -> str:
    """Return this boot of this machine and this pid namespace; elsewhere a pid means another."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """Return when a process started; empty where there is none, so that a reused pid is another."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[_START_FIELD]
