"""A request to a service as the gateway takes it apart, and as an instance is sent it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from starlette.types import Receive, Scope

from local_modelarts.gateway.refusals import body_too_large

PREFIXES: Final = {1: "/v1/infers/", 2: "/v2/infers/"}
"""Below which the services of a generation are called: clients copy the URL, never build it.

Source of v2's: https://support.huaweicloud.com/modelarts_faq/modelarts_05_0023.html (2026-02-05)
"""
HOP_BY_HOP: Final = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization trailer transfer-encoding "
    b"upgrade te".split()  # codespell:ignore te
)
_REPLACED: Final = frozenset([b"host", b"content-length", b"x-auth-token", b"expect"])
_WITHOUT_BODY: Final = ("GET", "HEAD")


class ClientGone(Exception):
    """The client closed its connection before its request was whole."""


class Request:
    """A request, taken apart; its body may be read once."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.scope, self.receive = scope, receive
        self.method: str = scope["method"]
        self.raw_path = scope["raw_path"].decode("ascii", "replace").partition("?")[0]
        self.query = scope["query_string"].decode("ascii", "replace")
        self.headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        self.generation, prefix = next(
            (pair for pair in PREFIXES.items() if self.raw_path.startswith(pair[1])), (0, "")
        )
        self.service_id, slash, rest = self.raw_path.removeprefix(prefix).partition("/")
        self.rest = slash + rest or "/"
        self._hidden: set[bytes] = set(_REPLACED)

    def hide(self, header: str) -> None:
        """Keep a header, by its lower-case name, from the instance: it proves who calls."""
        self._hidden.add(header.encode())

    @property
    def path_and_query(self) -> str:
        """What an instance is asked for."""
        return f"{self.rest}?{self.query}" if self.query else self.rest

    @property
    def declared_bytes(self) -> int:
        """How long the body is said to be; 0 where nothing is said."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isdecimal() else 0

    def head(self, host: str, length: int | None) -> bytes:
        """Return the head that an instance is sent. ``length``: of a body that has been read."""
        lines = [
            f"{self.method} {self.path_and_query} HTTP/1.1\r\nHost: {host}\r\n".encode("latin-1")
        ]
        lines += [
            name + b": " + value + b"\r\n"
            for name, value in self.scope["headers"]
            if name not in HOP_BY_HOP and name not in self._hidden
        ]
        if length is not None:
            lines.append(f"Content-Length: {length}\r\n".encode())
        elif "content-length" in self.headers:
            lines.append(f"Content-Length: {self.headers['content-length']}\r\n".encode("latin-1"))
        elif "transfer-encoding" in self.headers:
            lines.append(b"Transfer-Encoding: chunked\r\n")
        elif self.method not in _WITHOUT_BODY:
            lines.append(b"Content-Length: 0\r\n")
        return b"".join([*lines, b"\r\n"])

    def upgrade_head(self, host: str) -> bytes:
        """Return the head of a request to upgrade to WebSocket, as an instance is sent it."""
        lines = [
            f"{self.method} {self.path_and_query} HTTP/1.1\r\nHost: {host}\r\n".encode("latin-1")
        ]
        lines += [
            name + b": " + value + b"\r\n"
            for name, value in self.scope["headers"]
            if name not in self._hidden
        ]
        return b"".join([*lines, b"\r\n"])

    async def left(self) -> None:
        """Return when the client has gone; for after its request was read."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    async def read(self, limit_bytes: int) -> bytes:
        """Return the whole body.

        Raises:
            ApiError: 413.
        """
        parts, size = [], 0
        async for part in self._parts():
            size += len(part)
            if size > limit_bytes:
                raise body_too_large(self.generation)
            parts.append(part)
        return b"".join(parts)

    async def stream(self, limit_bytes: int) -> AsyncIterator[bytes]:
        """Yield the body as it is sent on: in chunks where its length is not known.

        Raises:
            ApiError: 413.
        """
        is_chunked = "content-length" not in self.headers and "transfer-encoding" in self.headers
        size = 0
        async for part in self._parts():
            size += len(part)
            if size > limit_bytes:
                raise body_too_large(self.generation)
            yield b"%x\r\n%b\r\n" % (len(part), part) if is_chunked else part
        if is_chunked:
            yield b"0\r\n\r\n"

    async def _parts(self) -> AsyncIterator[bytes]:
        has_more = True
        while has_more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            if part := message.get("body", b""):
                yield part
            has_more = message.get("more_body", False)
