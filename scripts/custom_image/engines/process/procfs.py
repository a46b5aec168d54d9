"""Processes and listening sockets, as Linux tells them below ``/proc``.

Source: proc(5), https://man7.org/linux/man-pages/man5/proc.5.html
"""

from __future__ import annotations

import ipaddress
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from custom_image.engines import Socket

PROC = Path("/proc")
_TCP_LISTEN = "0A"


@dataclass(frozen=True)
class Entry:
    """One directory of ``/proc``.

    Attributes:
        pid: as the process itself sees it: the id in its innermost pid namespace.
        host_pid: as this machine sees it.
        parent_host_pid: likewise, of its parent.
        session: the session id, on this machine.
        command: the arguments joined by blanks; ``[name]`` where there are none (a zombie).
    """

    pid: int
    host_pid: int
    parent_host_pid: int
    session: int
    command: str


def entries(proc: Path = PROC) -> list[Entry]:
    """Return every process that can be read, lowest id first."""
    pids = sorted(int(name) for name in _names(proc) if name.isdigit())
    return [entry for pid in pids if (entry := read_entry(pid, proc))]


def read_entry(host_pid: int, proc: Path = PROC) -> Entry | None:
    """Return one process, or None where it is gone."""
    folder = proc / str(host_pid)
    try:
        stat = (folder / "stat").read_text(errors="replace")
        status = (folder / "status").read_text(errors="replace")
        arguments = (folder / "cmdline").read_bytes()
    except OSError:
        return None
    # The name stands in parentheses and may hold blanks and parentheses itself.
    name, _, rest = stat.partition("(")[2].rpartition(")")
    fields = rest.split()
    inner = re.search(r"^NSpid:.*?(\d+)$", status, re.MULTILINE)
    return Entry(
        pid=int(inner.group(1)) if inner else host_pid,
        host_pid=host_pid,
        parent_host_pid=int(fields[1]),
        session=int(fields[3]),
        command=arguments.replace(b"\0", b" ").decode(errors="replace").strip() or f"[{name}]",
    )


def state(host_pid: int, proc: Path = PROC) -> str:
    """Return the letter of a process state (``R``, ``S``, ``D``, ``Z``), empty where it is gone."""
    try:
        stat = (proc / str(host_pid) / "stat").read_text(errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[0]


def started_at(host_pid: int, proc: Path = PROC) -> float:
    """Return when a process began, UTC in seconds, to about one; 0 where that cannot be told."""
    try:
        stat = (proc / str(host_pid) / "stat").read_text(errors="replace")
        boot = re.search(r"^btime (\d+)$", (proc / "stat").read_text(), re.MULTILINE)
    except OSError:
        return 0
    ticks = int(stat.rpartition(")")[2].split()[19])
    return int(boot[1]) + ticks / os.sysconf("SC_CLK_TCK") if boot else 0


def contains(host_pid: int, file: str, needle: str, proc: Path = PROC) -> bool:
    """Tell whether ``/proc/<pid>/<file>`` can be read and holds ``needle``."""
    try:
        return needle.encode() in (proc / str(host_pid) / file).read_bytes()
    except OSError:
        return False


def socket_inodes(host_pid: int, proc: Path = PROC) -> set[int]:
    """Return the inodes of the sockets that a process holds open; none where it cannot be read."""
    folder = proc / str(host_pid) / "fd"
    inodes = set()
    for name in _names(folder):
        try:
            target = str((folder / name).readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(int(target[len("socket:[") : -1]))
    return inodes


def read_tcp_tables(host_pid: int, proc: Path = PROC) -> str:
    """Return the TCP tables of the network namespace that a process lives in.

    Raises:
        OSError: they cannot be read, or the process is gone.
    """
    folder = proc / str(host_pid) / "net"
    ipv6 = folder / "tcp6"  # missing where the kernel has no IPv6
    return (folder / "tcp").read_text() + (ipv6.read_text() if ipv6.exists() else "")


def parse_listening(tables: str) -> dict[int, Socket]:
    """Return the listening sockets, by inode, of the text of ``/proc/net/tcp`` and ``tcp6``."""
    sockets = {}
    for line in tables.splitlines():
        fields = line.split()
        if len(fields) > 9 and fields[3] == _TCP_LISTEN:
            address, _, port = fields[1].partition(":")
            sockets[int(fields[9])] = Socket(_address(address), int(port, 16))
    return sockets


def _address(digits: str) -> str:
    # The kernel prints each 32-bit word in the machine's byte order.
    words = [bytes.fromhex(digits[i : i + 8]) for i in range(0, len(digits), 8)]
    if sys.byteorder == "little":
        words = [word[::-1] for word in words]
    return str(ipaddress.ip_address(b"".join(words)))


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names only, no Path for each
    except OSError:
        return []
