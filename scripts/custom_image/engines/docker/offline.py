"""A container without any network that can be asked all the same, as ``--network none`` means it.

The engine publishes no port of such a container. A socket belongs to the network namespace of the
thread that makes it, so threads enter the container's namespace: some carry connections there, one
stands on its port 53, writes down which names it asks for, and answers that it cannot tell.

Source: setns(2), https://man7.org/linux/man-pages/man2/setns.2.html
"""

from __future__ import annotations

import ctypes
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from custom_image.engines import Lookup
from custom_image.engines.docker.container import DockerContainer
from custom_image.engines.process import procfs
from custom_image.errors import Unavailable

LOOPBACK: Final = "127.0.0.1"
NAME_PORT: Final = 53
MOST_NAMES: Final = 100
MOST_CONNECTIONS: Final = 512
_CLONE_NEWNET: Final = 0x40000000
_SERVER_FAILURE: Final = 0x8182  # an answer, recursion desired and available, SERVFAIL
_PART_BYTES: Final = 65536


def require_namespaces(reason: str = "") -> None:
    """Make sure that this process may enter the network namespace of a container.

    Raises:
        Unavailable: it may not; ``reason`` is one that the caller knows.
    """
    if not reason and not Path("/proc/self/ns/net").exists():
        reason = "another system than Linux"
    if not reason and os.geteuid() != 0:
        reason = "not root"
    if reason:
        raise Unavailable(
            f"a container without network cannot be asked from here ({reason}).\n"
            "Run this as root on the engine's own machine."
        )


class OfflineContainer(DockerContainer):
    """A container whose only network is its own loopback."""

    def __init__(self, container: Any, port: int) -> None:
        """Stand at its ports; arguments as of :class:`DockerContainer`."""
        self._names = _Names(self._host_pid, lambda: self._container_pids())
        self._relay: _Relay | None = None
        super().__init__(container, port)
        self._names.listen()

    def lookups(self) -> list[Lookup]:
        """Return the names that it asked for in vain, in order of time."""
        return self._names.seen()

    def restart(self) -> None:
        """Kill its first process and start it again: in a namespace that is new, too."""
        super().restart()
        self._names.listen()

    def stop(self) -> None:
        """Kill and remove it, and close what leads there."""
        super().stop()
        self._names.close()
        if self._relay:
            self._relay.close()

    def _published_port(self, port: int) -> int:
        if self._relay is None:
            self._relay = _Relay(self._host_pid, port)
        return self._relay.port

    def _container_pids(self) -> list[int]:
        return [
            entry.host_pid
            for entry in procfs.entries()
            if procfs.contains(entry.host_pid, "cgroup", self.id)
        ]


class _Relay:
    """Carries connections from a port of this machine's loopback to one of the container's."""

    def __init__(self, pid: Callable[[], int], to_port: int) -> None:
        self._pid = pid
        self._to_port = to_port
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._listener = socket.create_server((LOOPBACK, 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._places.acquire(blocking=False):
                threading.Thread(target=self._carry, args=(near,), daemon=True).start()
            else:
                _reset(near)

    def _carry(self, near: socket.socket) -> None:
        try:
            enter(self._pid())
            far = socket.create_connection((LOOPBACK, self._to_port), timeout=10)
        except OSError:
            _reset(near)
            self._places.release()
            return
        far.settimeout(None)
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=_pump, args=(far, near), daemon=True)
        back.start()
        _pump(near, far)
        back.join()
        near.close()
        far.close()
        self._places.release()


class _Names:
    """Answers that no name is known, and keeps which were asked for."""

    def __init__(self, pid: Callable[[], int], pids: Callable[[], list[int]]) -> None:
        self._pid, self._pids = pid, pids
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._seen: dict[str, Lookup] = {}
        self._socket: socket.socket | None = None

    def listen(self) -> None:
        """Stand on port 53 of the namespace that the container lives in now."""
        self.close()
        threading.Thread(target=self._answer, args=(self._pid(),), daemon=True).start()

    def seen(self) -> list[Lookup]:
        with self._lock:
            return sorted(self._seen.values(), key=lambda lookup: lookup.after_s)

    def close(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()

    def _answer(self, pid: int) -> None:
        try:
            enter(pid)
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.bind((LOOPBACK, NAME_PORT))
        except OSError:
            return  # it ended at once, or answers names itself
        while True:
            try:
                question, sender = self._socket.recvfrom(512)
            except OSError:
                return
            if not question:
                return
            name = _name(question)
            if name:
                self._note(name, pid, sender[1])
                flags = struct.pack("!H", _SERVER_FAILURE)
                with suppress(OSError):
                    self._socket.sendto(question[:2] + flags + question[4:], sender)

    def _note(self, name: str, pid: int, port: int) -> None:
        with self._lock:
            known = self._seen.get(name)
            if known is not None:
                now_s = round(time.monotonic() - self._began, 2)
                self._seen[name] = replace(known, times=known.times + 1, last_s=now_s)
                return
            if len(self._seen) >= MOST_NAMES:
                return
        now_s = round(time.monotonic() - self._began, 2)
        lookup = Lookup(name, now_s, 1, self._asker(pid, port), now_s)
        with self._lock:
            self._seen[name] = lookup

    def _asker(self, pid: int, port: int) -> str:
        """Return the command of the process whose socket has a port; empty where none is found."""
        try:
            table = (procfs.PROC / str(pid) / "net" / "udp").read_text()
        except OSError:
            return ""
        rows = [line.split() for line in table.splitlines()[1:]]
        inodes = {int(row[9]) for row in rows if row[1].endswith(f":{port:04X}")}
        for asker in self._pids():
            if inodes & procfs.socket_inodes(asker):
                entry = procfs.read_entry(asker)
                return f"{entry.pid} {entry.command[:80]}" if entry else ""
        return ""


def enter(pid: int) -> None:
    """Let this thread make its sockets in the network namespace of a process, from now on.

    Raises:
        OSError: the process is gone, or this one may not.
    """
    if not pid:
        raise ProcessLookupError("the container has ended")
    namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(namespace, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(namespace)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Carry bytes until the source ends, and pass its end on as it was."""
    try:
        while part := source.recv(_PART_BYTES):
            sink.sendall(part)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _reset(connection: socket.socket) -> None:
    """Close so that the client sees a refusal, as it would without a relay between."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def _name(question: bytes) -> str:
    """Return the name in a DNS question; empty where it is none that a resolver would ask.

    Source: RFC 1035, section 4.1.2
    """
    labels, at = [], 12
    while at < len(question) and question[at]:
        length = question[at]
        if length > 63 or at + 1 + length > len(question):
            return ""
        labels.append(question[at + 1 : at + 1 + length].decode("ascii", "replace"))
        at += 1 + length
    name = ".".join(labels)
    return name if re.fullmatch(r"[A-Za-z0-9_.-]{1,253}", name) else ""
