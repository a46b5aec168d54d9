"""A client of HTTP/1.1 for a gateway: connections that are used again, bodies that flow through.

A connection that its server has closed is dropped before it is used again. One that the server
closes in the very moment in which a request is sent fails that request, as on the platform, which
is why its pages ask for a keep-alive of 200 s.

By hand: httpcore costs more than ten times the processor and lets no early answer pass, as
benchmarks/libraries.md shows.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any, Final, cast

import httptools

from custom_image.specification import KEEP_ALIVE

Headers = list[tuple[bytes, bytes]]

_LONGEST_IDLE_S: Final = 0.9 * KEEP_ALIVE.value
_LARGEST_BUFFER_BYTES: Final = 1 << 18
_CONNECT_TIMEOUT_S: Final = 5.0
_BODILESS: Final = (204, 304)


class BrokenExchange(Exception):
    """The server closed the connection, or its answer is no HTTP."""


class ConnectTimeout(TimeoutError):
    """A server accepts no connection in time."""


@dataclass(frozen=True)
class Server:
    """Where a request goes. ``key`` tells one server at an address from its successor there."""

    key: str
    host: str
    port: int
    is_tls: bool = False


class Upstream:
    """Connections to servers. To be used in one event loop."""

    def __init__(self) -> None:
        self._idle: dict[Server, deque[_Connection]] = defaultdict(deque)
        self._context = ssl.create_default_context()
        # An image's certificate is its own: the platform's sample has `ssl_context="adhoc"`.
        self._context.check_hostname, self._context.verify_mode = False, ssl.CERT_NONE

    async def send(
        self, server: Server, head: bytes, body: AsyncIterator[bytes], *, is_head: bool = False
    ) -> Exchange:
        """Send a request and return the answer as soon as its head is there.

        Raises:
            ConnectionRefusedError: nobody listens; OSError: or there is no way there.
            ssl.SSLError: it does not speak TLS.
            ConnectTimeout: it accepts no connection in time.
            BrokenExchange: it broke off before it answered.
        """
        connection = self._take(server) or await self._connect(server)
        try:
            await connection.request(head, body)
            status, headers = await connection.answer()
        except BaseException:
            connection.close()
            raise
        return Exchange(status, headers, connection, self, server, is_head)

    def keep(self, servers: Iterable[str]) -> None:
        """Close the idle connections to all servers but these, by key."""
        kept = set(servers)
        for server in [server for server in self._idle if server.key not in kept]:
            for connection in self._idle.pop(server):
                connection.close()

    def give_back(self, server: Server, connection: _Connection) -> None:
        """Keep a connection whose exchange is over, for the next one."""
        if connection.is_reusable:
            self._idle[server].append(connection)
        else:
            connection.close()

    def _take(self, server: Server) -> _Connection | None:
        idle = self._idle[server]
        while idle:
            connection = idle.pop()  # the one used last: the others grow old and are closed
            if connection.is_open and time.monotonic() - connection.used_at < _LONGEST_IDLE_S:
                return connection
            connection.close()
        return None

    async def _connect(self, server: Server) -> _Connection:
        loop = asyncio.get_running_loop()
        connecting = loop.create_connection(
            _Connection, server.host, server.port, ssl=self._context if server.is_tls else None
        )
        try:
            _, protocol = await asyncio.wait_for(connecting, _CONNECT_TIMEOUT_S)
        except TimeoutError as error:
            raise ConnectTimeout from error
        return protocol


class Exchange:
    """An answer whose head is there; its body flows on."""

    def __init__(
        self,
        status: int,
        headers: Headers,
        connection: _Connection,
        upstream: Upstream,
        server: Server,
        is_head: bool,
    ) -> None:
        self.status = status
        self.headers = headers
        self._connection = connection
        self._upstream = upstream
        self._server = server
        self._has_body = not is_head and status not in _BODILESS

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the body.

        Raises:
            BrokenExchange: it broke off.
        """
        is_whole = False
        try:
            while self._has_body and (chunk := await self._connection.read()):
                yield chunk
            is_whole = True
        finally:
            if is_whole:
                self._upstream.give_back(self._server, self._connection)
            else:
                self._connection.close()

    def close(self) -> None:
        """Give the rest of the answer up."""
        self._connection.close()


class _Connection(asyncio.Protocol):
    """One connection: what its parser finds, and whether it may be used again."""

    def __init__(self) -> None:
        self.is_open = True
        self.used_at = time.monotonic()
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._reset()
        self._may_write = asyncio.Event()
        self._may_write.set()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers: Headers = []
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._has_head = self._is_complete = self._is_sent = self._keeps_alive = False
        self._fault = ""
        self._news = asyncio.Event()

    # --- what the gateway asks for ----------------------------------------------------------------

    async def request(self, head: bytes, body: AsyncIterator[bytes]) -> None:
        """Send a request, unless the answer is there before all of it is sent."""
        self._reset()
        assert self._transport is not None
        self._transport.write(head)
        async for chunk in body:
            await self._may_write.wait()
            if not self.is_open or self._has_head:
                return
            self._transport.write(chunk)
        self._is_sent = True

    async def answer(self) -> tuple[int, Headers]:
        """Return status and headers.

        Raises:
            BrokenExchange: there will be none.
        """
        while not self._has_head:
            if self._fault or not self.is_open:
                raise BrokenExchange(self._fault or "the connection was closed")
            await self._wait()
        return self._parser.get_status_code(), self._headers

    async def read(self) -> bytes:
        """Return more of the body; nothing at its end.

        Raises:
            BrokenExchange: it broke off.
        """
        while not self._chunks and not self._is_complete:
            if self._fault or not self.is_open:
                raise BrokenExchange(self._fault or "the connection was closed")
            await self._wait()
        found = b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        if self._transport is not None and self.is_open:
            self._transport.resume_reading()
        return found

    @property
    def is_reusable(self) -> bool:
        """Whether the next request may go the same way."""
        self.used_at = time.monotonic()
        return self.is_open and self._is_complete and self._is_sent and self._keeps_alive

    def close(self) -> None:
        """Close it. Idempotent."""
        self.is_open = False
        if self._transport is not None and self._is_sent:
            self._transport.close()
        elif self._transport is not None:
            self._transport.abort()  # the rest of the request is for nobody

    async def _wait(self) -> None:
        self._news.clear()
        await self._news.wait()

    # --- what the event loop and the parser tell --------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Parse what has come."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fault = f"its answer is no HTTP: {error}"
            self.close()
        if self._buffered > _LARGEST_BUFFER_BYTES and self._transport is not None:
            self._transport.pause_reading()
        self._news.set()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that there will be no more; for some answers that is their end."""
        self.is_open = False
        names = {name.lower() for name, _ in self._headers}
        if self._has_head and not names & {b"content-length", b"transfer-encoding"}:
            self._is_complete = True
        self._may_write.set()
        self._news.set()

    def pause_writing(self) -> None:
        """Send no more for a while."""
        self._may_write.clear()

    def resume_writing(self) -> None:
        """Send again."""
        self._may_write.set()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header."""
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Note that the head is whole; ``100 Continue`` is none."""
        if self._parser.get_status_code() < 200:
            self._headers = []
        else:
            self._has_head = True
            self._may_write.set()  # who answers early may read no more: nothing is left to wait for
            self._keeps_alive = bool(self._parser.should_keep_alive())

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body."""
        self._chunks.append(body)
        self._buffered += len(body)

    def on_message_complete(self) -> None:
        """Note the end."""
        if self._has_head:
            self._is_complete = True
