"""Processes of an instance, as drills need them."""

from __future__ import annotations

import re
import time
from collections import Counter
from signal import SIGTERM
from typing import Final

from custom_image.engines import Instance, Process
from custom_image.errors import Unavailable

# The sockets, then a record for each process: its id, the signals it ignores, its open files.
_LISTENERS_SCRIPT: Final = r"""
cat /proc/net/tcp /proc/net/tcp6 2>/dev/null
for folder in /proc/[0-9]*; do
  printf '\036%s\037' "${folder#/proc/}"
  while read -r name value; do [ "$name" = SigIgn: ] && printf '%s' "$value"; done <"$folder/status"
  printf '\037'
  ls -l "$folder/fd" 2>/dev/null
done 2>/dev/null; :
"""


def catches_sigterm(instance: Instance) -> bool | None:
    """Tell whether the first process has a handler for SIGTERM; None where nothing tells.

    The kernel drops a signal for which process 1 of a container has no handler: a shell that waits
    for its child, or a launcher that forgot, is then deaf to ``docker stop``.

    Source: pid_namespaces(7), https://man7.org/linux/man-pages/man7/pid_namespaces.7.html
    """
    first = first_process(instance)
    if first is None:
        return None
    code, status = instance.execute(["cat", f"/proc/{first.pid}/status"])
    caught = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    if code or not caught:
        return None
    return bool(int(caught.group(1), 16) >> (SIGTERM - 1) & 1)


def ignore_sigterm(instance: Instance) -> list[str]:
    """Return the processes that listen on a port and ignore SIGTERM, as ``pid command``.

    A shell before them may catch the signal: it is then passed on, and heard by nobody.
    """
    try:
        commands = {process.pid: process.command for process in instance.processes()}
    except Unavailable:
        return []
    code, output = instance.execute(["sh", "-c", _LISTENERS_SCRIPT])
    if code:
        return []
    sockets, *rest = output.split("\x1e")
    listening = {row.split()[9] for row in sockets.splitlines() if " 0A " in row}
    found = []
    for part in rest:
        pid, ignored, inodes = (*part.split("\x1f"), "", "")[:3]
        is_deaf = bool(int(ignored.strip() or "0", 16) >> (SIGTERM - 1) & 1)
        if is_deaf and listening & {*re.findall(r"socket:\[(\d+)\]", inodes)}:
            found.append(f"{pid} {commands.get(int(pid), '')[:80]}".rstrip())
    return found


def first_process(instance: Instance) -> Process | None:
    """Return the process that the instance was started with; None where nothing can look inside."""
    try:
        found = instance.processes()
    except Unavailable:
        return None
    inside = {process.pid for process in found}
    return next((process for process in found if process.parent_pid not in inside), None)


def workers(instance: Instance) -> dict[int, Process]:
    """Return the processes beside the first one, by their ids.

    What a shell runs in order to wait is none, and what has ended already (``[python3]``) neither.

    Raises:
        Unavailable: nothing here can look inside.
    """
    found = instance.processes()
    inside = {process.pid for process in found}
    return {
        process.pid: process
        for process in found
        if process.parent_pid in inside and not re.match(r"\[|(\S*/)?sleep\b", process.command)
    }


class Family:
    """Who is whose child in an instance, and who lost its parent.

    A container's own end takes every process in it along, so that an orphan can only be seen
    before: it lives on as a child of process 1. Without a container it simply stays behind.
    """

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._parents: dict[int, int] = {}
        self._adopted: Counter[str] = Counter()
        self._looked_at = 0.0

    def look(self, at_most_every_s: float = 0.0) -> None:
        """Look at who is there."""
        if time.monotonic() - self._looked_at < at_most_every_s:
            return
        self._looked_at = time.monotonic()
        for process in self._processes():
            parent = self._parents.setdefault(process.pid, process.parent_pid)
            if parent != process.parent_pid and not process.command.startswith("["):
                self._adopted[f"{process.pid} {process.command[:80]}"] += 1

    def orphans(self, *, is_over: bool) -> list[str]:
        """Return the processes without a parent, as ``pid command``.

        Args:
            is_over: whether the first process has ended, so that anything alive was left behind.
        """
        # Once is no proof: children often end just after the parent that told them to.
        found = [name for name, times in self._adopted.items() if times > 1]
        if is_over:
            found += [f"{p.pid} {p.command[:80]}" for p in self._processes()]
        return found

    def _processes(self) -> list[Process]:
        try:
            return self._instance.processes()
        except Unavailable:
            return []
