"""WebSocket through the gateway: the upgrade is checked, then frames flow through as they come.

Frames of a client are passed on as they are. Those of an instance are split at 64 KB, as the page
says: a message of 200 KB reaches the client as four frames. The time-out begins anew with each
transfer of data, in either direction.

Source: https://support.huaweicloud.com/inference-modelarts/inference2.0-modelarts-0013.html
"""

from __future__ import annotations

import asyncio
import json
import ssl
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from custom_image.specification import WEBSOCKET_FRAME
from local_modelarts import errors
from local_modelarts.errors import ApiError
from local_modelarts.gateway.refusals import not_reached
from local_modelarts.gateway.request import Request
from local_modelarts.runtime.routing import Target

Admit = Callable[[Request], Awaitable[tuple[Target, int, float]]]
"""Of an upgrade: where it goes, the generation of the service, the time-out in s."""

_END_OF_HEAD: Final = b"\r\n\r\n"
_LARGEST_FRAME_BYTES: Final = WEBSOCKET_FRAME.value * 1024
_CONNECT_TIMEOUT_S: Final = 5.0
_GOING_AWAY: Final = b"\x88\x02\x03\xe9"  # a close frame with the code 1001


class WebSocketRelay(asyncio.Protocol):
    """One client's connection, from its request to upgrade on; uvicorn hands it over."""

    def __init__(self, admit: Admit, connections: set[Any]) -> None:
        self._admit = admit
        self._connections = connections
        self._client: asyncio.Transport | None = None
        self._upstream: asyncio.Transport | None = None
        self._received = bytearray()
        self._opening: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._idle_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._client = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Take in the request, then frames."""
        if self._upstream is not None:
            self._renew()
            self._upstream.write(data)
            return
        self._received += data
        if self._opening is None and _END_OF_HEAD in self._received:
            self._opening = asyncio.ensure_future(self._open())

    def eof_received(self) -> bool:
        """The client will send no more; the rest is over too."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other side as well."""
        self._connections.discard(self)
        self._end()

    def pause_writing(self) -> None:
        """The client reads slowly: read no more from the instance."""
        if self._upstream is not None:
            self._upstream.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        if self._upstream is not None:
            self._upstream.resume_reading()

    def shutdown(self) -> None:
        """The platform ends; called by uvicorn."""
        self._close(_GOING_AWAY)

    def passed_back(self, data: bytes) -> None:
        """Send the client what an instance said."""
        self._renew()
        if self._client is not None and data:
            self._client.write(data)

    def upstream_lost(self) -> None:
        """The instance has hung up."""
        self._upstream = None
        self._close(b"")

    async def _open(self) -> None:
        head, _, rest = bytes(self._received).partition(_END_OF_HEAD)
        try:
            request = _read(head)
            target, generation, self._idle_s = await self._admit(request)
            context = ssl.create_default_context() if target.protocol == "https" else None
            if context:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            loop = asyncio.get_running_loop()
            try:
                async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                    upstream, _ = await loop.create_connection(
                        lambda: _Upstream(self), target.host, target.port, ssl=context
                    )
            except (TimeoutError, OSError) as error:
                raise not_reached(generation, error) from error
        except ApiError as error:
            self._refuse(error)
            return
        self._upstream = upstream
        upstream.write(request.upgrade_head(f"{target.host}:{target.port}") + rest)
        self._renew()

    def _refuse(self, error: ApiError) -> None:
        request_id = uuid.uuid4().hex
        body = json.dumps(error.body(request_id)).encode()
        lines = [
            f"HTTP/1.1 {error.status} Refused",
            f"X-Request-Id: {request_id}",
            "Server: ModelArts",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
            "Connection: close",
        ]
        self._close("\r\n".join(lines).encode("latin-1") + _END_OF_HEAD + body)

    def _renew(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._idle_s, self._close, _GOING_AWAY)

    def _close(self, last: bytes) -> None:
        if self._client is not None and not self._client.is_closing():
            self._client.write(last)
            self._client.close()
        self._end()

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._opening is not None and not self._opening.done():
            self._opening.cancel()
        if self._upstream is not None:
            self._upstream.close()
            self._upstream = None


class _Upstream(asyncio.Protocol):
    """The instance's side: its answer to the upgrade, then its frames, none too long."""

    def __init__(self, relay: WebSocketRelay) -> None:
        self._relay = relay
        self._head: bytearray | None = bytearray()
        self._splitter = FrameSplitter()

    def data_received(self, data: bytes) -> None:
        """Pass on what has come."""
        if self._head is not None:
            self._head += data
            head, end, data = bytes(self._head).partition(_END_OF_HEAD)
            if not end:
                return
            self._head = None
            self._relay.passed_back(head + end)
        self._relay.passed_back(self._splitter.feed(data))

    def connection_lost(self, exc: Exception | None) -> None:
        """End the client's side."""
        self._relay.upstream_lost()


class FrameSplitter:
    """Splits the frames of a server at a number of bytes, without waiting for their ends.

    Frames of a server are not masked (RFC 6455, 5.1), so that a piece of one can be passed on as
    a frame of its own: https://www.rfc-editor.org/rfc/rfc6455#section-5.4
    """

    def __init__(self, largest_bytes: int = _LARGEST_FRAME_BYTES) -> None:
        self._largest = largest_bytes
        self._head = bytearray()
        self._left = 0  # of the frame that is passed on
        self._after = 0  # of the same message, in frames that follow
        self._last = 0  # FIN of the frame that was split

    def feed(self, data: bytes) -> bytes:
        """Return what is to be sent on for what has come."""
        out, position = bytearray(), 0
        while position < len(data) or (self._after and not self._left):
            if self._left:
                piece = data[position : position + self._left]
                if not piece:
                    break
                out += piece
                position += len(piece)
                self._left -= len(piece)
            elif self._after:
                out += self._next(0, self._after)
            else:
                self._head += data[position : position + 1]
                position += 1
                if (length := _length(self._head)) is not None:
                    first = self._head[0]
                    self._head.clear()
                    self._last = first & 0x80
                    out += self._next(first & 0x7F, length)
        return bytes(out)

    def _next(self, opcode: int, length: int) -> bytes:
        """Return the head of a frame with as much of ``length`` as one may hold."""
        self._left = min(length, self._largest)
        self._after = length - self._left
        first = opcode | (0 if self._after else self._last)
        if self._left < 126:
            return bytes([first, self._left])
        if self._left < 1 << 16:
            return bytes([first, 126]) + self._left.to_bytes(2, "big")
        return bytes([first, 127]) + self._left.to_bytes(8, "big")


def _length(head: bytearray) -> int | None:
    """Return the length that the head of a frame tells; None where more of the head is needed."""
    if len(head) < 2:
        return None
    short = head[1] & 0x7F
    more = {126: 2, 127: 8}.get(short, 0)
    if len(head) < 2 + more:
        return None
    return int.from_bytes(head[2 : 2 + more], "big") if more else short


def _read(head: bytes) -> Request:
    """Return a request whose head was read here.

    Raises:
        ApiError: it is no head of HTTP.
    """
    line, *lines = head.split(b"\r\n")
    try:
        method, target, _ = line.split(b" ")
    except ValueError as error:
        raise errors.no_service_id() from error
    path, _, query = target.partition(b"?")
    headers = [
        (name.strip().lower(), value.strip())
        for name, _, value in (entry.partition(b":") for entry in lines)
    ]
    scope = {
        "type": "http",
        "method": method.decode("latin-1"),
        "raw_path": path,
        "query_string": query,
        "headers": headers,
    }
    return Request(scope, _nothing)


async def _nothing() -> Any:
    return {"type": "http.disconnect"}
