"""Clients of a service that is told to stop, each in a thread of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event as Flag
from threading import Lock
from typing import Any, Final

from custom_image.probing.http import (
    Request,
    SlowRequest,
    ask,
    ask_on,
    connect,
    is_closed_by_server,
)

MOST_CLIENTS: Final = 10


@dataclass(frozen=True)
class Event:
    """Something that happened to a client.

    Attributes:
        t_s: seconds after SIGTERM; negative before it. Of a request: when it was sent.
        kind: ``new``, ``kept-alive``, ``slow``, ``health``, ``idle``, ``signal`` or ``exit``.
        note: what came back.
    """

    t_s: float
    kind: str
    ok: bool
    note: str = ""

    def __str__(self) -> str:
        return f"{self.t_s:+7.2f} s  {self.kind}: {self.note}"


class Clients:
    """The clients of one drill, each in a thread of its own, and their common diary."""

    def __init__(self, url: str, request: Request, expected_status: int, interval_s: float) -> None:
        self.url = url
        self.request = request
        self.expected_status = expected_status
        self.interval_s = interval_s
        self.over = Flag()
        self.service_left = Flag()
        self._events: list[Event] = []
        self._lock = Lock()
        self._signal_at: float | None = None
        self._began = time.monotonic()

    def signal(self, send: Callable[[], None]) -> None:
        """Send the signal and set the clock to zero."""
        self._signal_at = time.monotonic()
        send()
        self.note("signal", True, self._signal_at, "SIGTERM")

    def since_signal_s(self) -> float:
        """Return the seconds since SIGTERM."""
        return time.monotonic() - (self._signal_at or time.monotonic())

    def note(self, kind: str, ok: bool, at: float, note: str = "") -> None:
        """Write an event down; ``at`` is a monotonic time."""
        with self._lock:
            self._events.append(Event(at, kind, ok, note))

    def events(self) -> tuple[Event, ...]:
        """Return the diary, its times counted from the signal."""
        zero = self._signal_at or self._began
        with self._lock:
            events = [Event(e.t_s - zero, e.kind, e.ok, e.note) for e in self._events]
        return tuple(sorted(events, key=lambda event: event.t_s))

    def come_new(self) -> None:
        """Send a request on a connection of its own, again and again."""
        while not self.over.wait(self.interval_s):
            sent = time.monotonic()
            answer = ask(self.url, self.request)
            self.note("new", answer.status == self.expected_status, sent, str(answer))

    def stay(self) -> None:
        """Send requests on one connection; open another only when the server announced its end.

        A connection that was closed while idle is opened again too, as any gateway does.
        """
        connection = connect(self.url)
        while not self.over.wait(self.interval_s):
            if is_closed_by_server(connection):
                connection.close()
            sent = time.monotonic()
            answer = ask_on(connection, self.request)
            self.note("kept-alive", answer.status == self.expected_status, sent, str(answer))
            if answer.closes:
                connection.close()
        connection.close()

    def ask_health(self, path: str) -> None:
        """Ask for health, as the platform does during the drain.

        Where that is not even accepted, no new client is: those may still wait for an answer.
        """
        while not self.over.wait(self.interval_s):
            sent = time.monotonic()
            answer = ask(self.url, Request("GET", path))
            kind = "health" if answer.status or answer.timed_out else "new"
            self.note(kind, answer.is_good, sent, str(answer))

    def idle(self, number: int) -> None:
        """Open a connection, use it once, and leave it open until the server closes it."""
        connection = connect(self.url)
        ask_on(connection, self.request)
        while connection.sock is not None and not self.over.is_set():
            if is_closed_by_server(connection, timeout_s=0.1):
                note = f"idle connection {number} closed by the server"
                self.note("idle", True, time.monotonic(), note)
                break
        connection.close()

    def send_slowly(self, begin_s: float, hold_s: float) -> None:
        """Send requests whose second half comes later, one after the other, to the very end.

        One that the service accepted has to be answered, whenever the service leaves.
        """
        self.over.wait(begin_s)
        while not self.over.is_set():
            began = time.monotonic()
            slow = SlowRequest(self.url, self.request)
            if not slow.begin():  # it was never accepted: the clients that come new tell of that
                self.over.wait(self.interval_s)
                continue
            self.over.wait(hold_s)
            if self._is_called_off():
                slow.abandon()
                return
            answer = slow.complete()
            if self._signal_at is not None and not self._is_called_off():
                note = f"its second half {hold_s:g} s later: {answer}"
                self.note("slow", answer.status == self.expected_status, began, note)

    def _is_called_off(self) -> bool:
        """Whether the drill cuts requests off, and not a service that left by itself."""
        return self.over.is_set() and not self.service_left.is_set()


@contextmanager
def running(clients: Clients) -> Iterator[Callable[..., Any]]:
    """Lend the function that starts a client; the end of the block is the end of them all."""
    with ThreadPoolExecutor(MOST_CLIENTS, thread_name_prefix="client") as pool:
        try:
            yield pool.submit
        finally:
            clients.over.set()
