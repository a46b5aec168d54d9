"""Turns ASGI into requests for the application, and its responses into ASGI."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from model_service.http.application import Application
from model_service.http.messages import (
    LINGER_BYTES,
    LINGER_SECONDS,
    SMALL_BYTES,
    Refused,
    Request,
    Response,
    hold_back_s,
    overloaded,
    too_large,
)
from model_service.http.streams import TICK_SECONDS
from model_service.servers.timeouts import timeout

CYCLE = "model_service.cycle"
"""Where the server leaves its half of an exchange, for what ASGI has no word for."""
OPEN_END = "model_service.stream"
"""Set while a stream is sent."""


class AsgiAdapter:
    """The application as an ASGI callable.

    Attributes:
        connections: those of the server; it sets them.
    """

    def __init__(self, application: Application) -> None:
        self.application = application
        self.connections: set[Any] = set()
        self._settings = application.settings
        self._held_back = 0
        self._predict_seconds = application.settings.predict_timeout_seconds or None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        started = time.perf_counter()
        request = _read_head(scope)
        body_read = False
        stream: _Stream | None = None
        try:
            if len(self.connections) > self._settings.max_connections:
                raise overloaded("too many connections are open; come back later")
            response = self.application.admit(request)
            if response is None:
                request.body = await self._read_body(receive)
                body_read = True
                response = await self._answer(request)
                if response.stream is not None:
                    stream = _Stream(self.application, request, response, scope, receive)
                    await stream.begin()
        except Refused as refused:
            response, stream = refused.response(), None
        if stream is not None:
            await stream.send(send, time.perf_counter() - started)
            return
        if response.overload:
            await self._hold_back()
            body_read = body_read or await self._read_if_small(request, receive)
        unread = not body_read and _has_body(scope["headers"])
        seconds = time.perf_counter() - started
        headers, close = self.application.finish(request, response, seconds)
        if response.status == 499:
            return
        if close or unread:
            headers = (*headers, (b"connection", b"close"))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": response.body, "more_body": unread})
        if unread:
            await self._discard_body(receive)
            await send({"type": "http.response.body"})

    async def _hold_back(self) -> None:
        """Keep a refusal for a moment: :func:`model_service.http.messages.hold_back_s` says why."""
        self._held_back += 1
        try:
            await asyncio.sleep(hold_back_s(self._held_back))
        finally:
            self._held_back -= 1

    async def _read_if_small(self, request: Request, receive: Any) -> bool:
        """Read the body of a refused request where that is cheap; tell whether it was."""
        with contextlib.suppress(Refused):
            if request.content_length is not None and request.content_length <= SMALL_BYTES:
                await self._read_body(receive)
                return True
        return False

    async def _read_body(self, receive: Any) -> bytes:
        limit, chunks, size_bytes, more = self._settings.max_body_bytes, [], 0, True
        try:
            async with timeout(self._settings.body_seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refused(499, "the client left before its body ended")
                    chunks.append(message["body"])
                    size_bytes += len(message["body"])
                    if size_bytes > limit:
                        raise too_large(limit)
                    more = message["more_body"]
        except TimeoutError:
            sentence = f"the body did not end within {self._settings.body_seconds:g} s"
            raise Refused(408, sentence) from None
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _discard_body(self, receive: Any) -> None:
        """Read on for a while: closing under a client that sends would destroy the answer unread.

        Source: RFC 9112, 9.6: the reset that follows a close may erase what was not yet read.
        """
        left_bytes = LINGER_BYTES
        with contextlib.suppress(TimeoutError):
            async with timeout(LINGER_SECONDS):
                while left_bytes > 0:
                    message = await receive()
                    if message["type"] == "http.disconnect" or not message["more_body"]:
                        return
                    left_bytes -= len(message["body"])

    async def _answer(self, request: Request) -> Any:
        application, lane = self.application, self.application.lane
        call = partial(application.answer, request)
        response = lane.run(call) if lane.inline(len(request.body)) else None
        if response is not None:
            return response
        answered, deliver = _promise()
        job = lane.submit(call, deliver)
        try:
            async with timeout(self._predict_seconds):
                return await answered
        except TimeoutError:
            raise lane.give_up(job) from None


class _Stream:
    """Sends one stream, a part when the client has taken the one before."""

    def __init__(
        self,
        application: Application,
        request: Request,
        response: Response,
        scope: Any,
        receive: Any,
    ) -> None:
        assert response.stream is not None
        self._application = application
        self._request = request
        self._response = response
        self._stream = response.stream
        self._cycle = scope[CYCLE]
        self._has_chunks = scope["http_version"] != "1.0"
        self._begun = time.perf_counter()
        self._part: bytes | None = None
        scope[OPEN_END] = True
        self._left = asyncio.ensure_future(_until_disconnected(receive))

    async def begin(self) -> None:
        """Make the first part, before which nothing is sent.

        Raises:
            Refused: there is none to be had, or the client left.
        """
        try:
            self._part = await self._next_part()
            if self._left.done():
                raise Refused(499, "the client left before the first part")
        except BaseException:
            self._end()
            raise

    async def send(self, send: Any, seconds: float) -> None:
        """Send head and parts, until the last or until the client leaves."""
        headers, close = self._application.finish(self._request, self._response, seconds)
        if close:
            headers = (*headers, (b"connection", b"close"))
        if self._request.method == "HEAD":
            self._part = None
        try:
            if not self._has_chunks:  # what ends the answer is the end of the connection
                self._cycle.chunked_encoding = False
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            while self._part is not None:
                if not self._has_chunks:
                    self._cycle.expected_content_length = len(self._part)
                await send({"type": "http.response.body", "body": self._part, "more_body": True})
                self._part = None
                await self._until_read()
                self._part = await self._next_part()
            await send({"type": "http.response.body"})
        finally:
            self._end()
            seconds += time.perf_counter() - self._begun
            self._application.finish_stream(self._request, self._stream, seconds)

    async def _next_part(self) -> bytes | None:
        stream = self._stream
        if stream.end != "complete":
            return None
        if stream.is_stopped():
            return stream.overdue()
        made, deliver = _promise()
        stream.ask(deliver)
        while not made.done():
            await asyncio.wait(
                {made, self._left}, timeout=TICK_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if self._left.done():
                break
            last = None if made.done() else stream.overdue()
            if last:
                return last
        if self._left.done():
            stream.leave()
            return None
        return stream.take(made.result())

    async def _until_read(self) -> None:
        """Wait for a client that reads more slowly than parts are made."""
        flow, began = self._cycle.flow, time.monotonic()
        while flow.write_paused and not self._left.done():
            idle_s = time.monotonic() - began
            if self._stream.is_stopped() or idle_s > self._application.settings.keep_alive_seconds:
                self._cycle.transport.abort()
            drained = asyncio.ensure_future(flow.drain())
            await asyncio.wait(
                {drained, self._left}, timeout=TICK_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            drained.cancel()

    def _end(self) -> None:
        self._left.cancel()
        self._stream.close()


async def _until_disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _promise() -> tuple[Any, Callable[[Any], None]]:
    """Return a future, and what sets it from any thread."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def arrive(value: Any) -> None:
        if not future.done():
            future.set_result(value)

    def deliver(value: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
            loop.call_soon_threadsafe(arrive, value)

    return future, deliver


def _read_head(scope: Any) -> Request:
    target, query = scope["raw_path"], scope["query_string"]
    if query:
        target += b"?" + query
    request = Request(scope["method"], scope["path"], query, target.decode("ascii", "replace"))
    request.read_headers(scope["headers"])
    return request


def _has_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0"))
        for name, value in headers
    )
