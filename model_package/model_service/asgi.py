"""Turns ASGI into requests for the application, and its responses into ASGI."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

from model_service.application import Application
from model_service.messages import (
    LINGER_BYTES,
    LINGER_SECONDS,
    Refused,
    Request,
    Response,
    overloaded,
    too_large,
)


class AsgiAdapter:
    """The application as an ASGI callable.

    Attributes:
        connections: those of the server; it sets them.
    """

    def __init__(self, application: Application) -> None:
        self.application = application
        self.connections: set[Any] = set()
        self._settings = application.settings
        self._predict_seconds = application.settings.predict_timeout_seconds or None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        started = time.perf_counter()
        request = _read_head(scope)
        body_read = False
        try:
            if len(self.connections) > self._settings.max_connections:
                raise overloaded("too many connections are open; come back later")
            response = self.application.admit(request)
            if response is None:
                request.body = await self._read_body(receive)
                body_read = True
                response = await self._answer(request)
        except Refused as refused:
            response = refused.response()
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

    async def _read_body(self, receive: Any) -> bytes:
        limit, chunks, size_bytes, more = self._settings.max_body_bytes, [], 0, True
        try:
            async with asyncio.timeout(self._settings.body_seconds):
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
            async with asyncio.timeout(LINGER_SECONDS):
                while left_bytes > 0:
                    message = await receive()
                    if message["type"] == "http.disconnect" or not message["more_body"]:
                        return
                    left_bytes -= len(message["body"])

    async def _answer(self, request: Request) -> Response:
        application, lane = self.application, self.application.lane
        call = partial(application.answer, request)
        if lane.inline(len(request.body)) and (response := lane.run(call)):
            return response
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Response] = loop.create_future()

        def arrive(response: Response) -> None:
            if not answered.done():
                answered.set_result(response)

        def deliver(response: Response) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(arrive, response)

        job = lane.submit(call, deliver)
        try:
            async with asyncio.timeout(self._predict_seconds):
                return await answered
        except TimeoutError:
            raise lane.give_up(job) from None


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
