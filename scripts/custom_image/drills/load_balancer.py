"""A gateway in small: connections that it keeps, two instances behind it, routing that lags.

Each client is a thread with a connection of its own to each instance, as the connections of a
gateway are: used again and again, opened anew where the server closed one that rested.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from threading import Event as Flag
from threading import Lock
from typing import Final

from custom_image.probing.http import Request, ask_on, connect, is_closed_by_server

CLIENTS: Final = 16
INTERVAL_S: Final = 0.2
PATIENCE_S: Final = 10.0
SERVED_BY: Final = "x-served-by"
"""In this header the local ModelArts names the instance behind an answer."""


@dataclass(frozen=True)
class Routed:
    """A request that the gateway passed on.

    Attributes:
        sent_at: a monotonic time.
        to: the base URL of the instance.
        by: who answered, where the answer says so.
        timed_out: whether the gateway's patience ended before an answer came.
    """

    sent_at: float
    to: str
    ok: bool
    note: str
    by: str = ""
    timed_out: bool = False


class Gateway:
    """Passes requests on to the instances that it knows of, in turn."""

    def __init__(
        self,
        request: Request,
        expected_status: int,
        *,
        clients: int = CLIENTS,
        interval_s: float = INTERVAL_S,
    ) -> None:
        self._request = request
        self._expected = expected_status
        self._clients = clients
        self._interval_s = interval_s
        self._targets: tuple[str, ...] = ()
        self._routed: list[Routed] = []
        self._lock = Lock()
        self._over = Flag()

    def route_to(self, urls: Sequence[str]) -> None:
        """Send requests to these instances from now on."""
        self._targets = tuple(urls)

    def send(self, request: Request) -> None:
        """Send this request from now on: a signature does not hold for ever."""
        self._request = request

    def routed(self) -> list[Routed]:
        """Return every request so far, in order of time."""
        with self._lock:
            return sorted(self._routed, key=lambda routed: routed.sent_at)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let clients come, until the end of the block."""
        with ThreadPoolExecutor(self._clients, thread_name_prefix="gateway") as pool:
            try:
                for number in range(self._clients):
                    pool.submit(self._come, number)
                yield
            finally:
                self._over.set()

    def _come(self, number: int) -> None:
        connections: dict[str, HTTPConnection] = {}
        turn = number
        # Spread over the interval, so that requests do not come in step.
        self._over.wait(self._interval_s * number / self._clients)
        while not self._over.is_set():
            due_at = time.monotonic() + self._interval_s
            targets = self._targets
            turn += 1
            url = targets[turn % len(targets)]
            connection = connections.setdefault(url, connect(url, PATIENCE_S))
            if is_closed_by_server(connection):
                connection.close()  # the next request opens it again
            sent_at = time.monotonic()
            answer = ask_on(connection, self._request)
            if answer.closes:
                connection.close()
            is_good = answer.status == self._expected
            by = answer.headers.get(SERVED_BY, "")
            routed = Routed(sent_at, url, is_good, str(answer), by, answer.timed_out)
            with self._lock:
                self._routed.append(routed)
            self._over.wait(max(0.0, due_at - time.monotonic()))
        for connection in connections.values():
            connection.close()
