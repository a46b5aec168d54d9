"""The gaps of uvicorn's HTTP: heads without end, errors in plain text, offers to upgrade."""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from model_service.http.application import Application
from model_service.servers.asgi import CYCLE, OPEN_END

MAX_HEAD_BYTES = 64 * 1024


class Protocol(HttpToolsProtocol):
    """One connection.

    A head is limited in seconds and in bytes, a connection without any request in seconds; a
    half-closed client gets its answer; what is no HTTP is refused in JSON.
    """

    def __init__(
        self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any]
    ) -> None:
        super().__init__(config, server_state, app_state)
        application: Application = config.app.application  # type: ignore[union-attr]
        self._application = application
        self._head_seconds = application.settings.header_seconds
        self._head_timer: asyncio.TimerHandle | None = None
        self._in_head = False
        self._head_bytes = 0

    # --- the connection --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give a client that never asks as long as one that stops asking."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Make room for another."""
        self._head_ended()
        super().connection_lost(exc)
        self._application.board.set_connections(self._application.slot, len(self.connections))

    def data_received(self, data: bytes) -> None:
        """Parse, and start the clock of a head that is not complete yet."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("")
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade(data[upgrade.args[0] :])
        if self._in_head and self._head_timer is None and not self.transport.is_closing():
            self._head_timer = self.loop.call_later(self._head_seconds, self._head_too_slow)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer what a half-closed client asked; return whether to stay open for that.

        While a stream is sent it means that the client left: nothing else tells of that before
        the next part, which may be long in the making.
        """
        if self.cycle is None or self.cycle.response_complete or OPEN_END in self.cycle.scope:
            return False
        self.cycle.keep_alive = False
        if self.cycle.more_body:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        return not self.cycle.more_body

    def shutdown(self) -> None:
        """Close this connection, unless a request has begun to arrive on it."""
        if not self._in_head:
            super().shutdown()

    # --- the head --------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_url(self, url: bytes) -> None:
        """Take a piece of the target."""
        super().on_url(url)
        self._count_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        super().on_header(name, value)
        self._count_head(len(name) + len(value))

    def on_headers_complete(self) -> None:
        """Start the answer, unless the request is to be read again."""
        self._head_ended()
        if not self.parser.should_upgrade():
            super().on_headers_complete()
            self.scope[CYCLE] = self.cycle  # type: ignore[literal-required]

    def on_message_complete(self) -> None:
        """Complete the body, unless the request is to be read again."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _head_ended(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _decline_upgrade(self, rest: bytes) -> None:
        """Read the request again without its offer, which a server may ignore.

        httptools skips the body behind such a head; clients that offer HTTP/2 on their first
        request, Java's among them, send one. Source: RFC 9110, 7.8.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self.send_400_response("")
            return
        lines = [method + b" " + self.url + b" HTTP/1.1"]
        for name, value in self.headers:
            if name == b"connection":
                lines += [b"connection: close"] if b"close" in value.lower() else []
            elif name != b"upgrade":
                lines.append(name + b": " + value)
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.data_received(b"\r\n".join([*lines, b"", rest]))

    # --- refusals --------------------------------------------------------------------------------

    def _head_too_slow(self) -> None:
        sentence = f"the head of the request did not end within {self._head_seconds:g} s"
        self._refuse(408, sentence)

    def _count_head(self, size_bytes: int) -> None:
        self._head_bytes += size_bytes
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(431, f"the head of the request is larger than {MAX_HEAD_BYTES} bytes")

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no request; uvicorn calls this."""
        self._refuse(400, "the request is not HTTP/1.1")

    def _refuse(self, status: int, sentence: str) -> None:
        self._head_ended()
        if not self.transport.is_closing():
            self.transport.write(self._application.refuse_head(status, sentence))
            self.transport.close()
