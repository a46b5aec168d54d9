"""Turns WSGI into requests for the application, and its responses into WSGI, under gevent."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import Any

import gevent
import gevent.event
import gevent.pool
import gevent.socket
from gunicorn.http.errors import ParseException

from model_service.http.application import Application
from model_service.http.messages import (
    LINGER_BYTES,
    LINGER_SECONDS,
    REASONS,
    SMALL_BYTES,
    Refused,
    Request,
    Response,
    hold_back_s,
    overloaded,
    too_large,
)
from model_service.http.streams import TICK_SECONDS

READ_BYTES = 64 * 1024


class WsgiAdapter:
    """The application as a WSGI callable.

    The server leaves the request it parsed at the current greenlet, because WSGI has no word for
    closing a connection.
    """

    def __init__(self, application: Application, connections: gevent.pool.Pool) -> None:
        self._application = application
        self._settings = application.settings
        self._connections = connections
        self._held_back = 0

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request."""
        started = time.perf_counter()
        request = _read_head(environ)
        body, body_read = environ["wsgi.input"], False
        stream: _Stream | None = None
        try:
            if len(self._connections) > self._settings.max_connections:
                raise overloaded("too many connections are open; come back later")
            response = self._application.admit(request)
            if response is None:
                request.body = self._read_body(body, request.content_length)
                body_read = True
                response = self._answer(request)
                if response.stream is not None:
                    stream = _Stream(self._application, request, response, started)
                    stream.begin()
        except Refused as refused:
            response, stream = refused.response(), None
        if response.overload:
            self._hold_back()
            body_read = body_read or self._read_if_small(request, body)
        has_body = bool(request.content_length) or "HTTP_TRANSFER_ENCODING" in environ
        unread = has_body and not body_read
        seconds = time.perf_counter() - started
        headers, close = self._application.finish(request, response, seconds)
        if close or unread:
            gevent.getcurrent().request.force_close()
        start_response(
            f"{response.status} {REASONS[response.status]}",
            [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers],
        )
        if stream is not None:
            return stream.parts()
        content = b"" if request.method == "HEAD" else response.body
        return _then_discard(content, body) if unread else (content,)

    def _hold_back(self) -> None:
        """Keep a refusal for a moment: :func:`model_service.http.messages.hold_back_s` says why."""
        self._held_back += 1
        try:
            gevent.sleep(hold_back_s(self._held_back))
        finally:
            self._held_back -= 1

    def _read_if_small(self, request: Request, body: Any) -> bool:
        """Read the body of a refused request where that is cheap; tell whether it was."""
        with contextlib.suppress(Refused, OSError, ParseException):
            if request.content_length is not None and request.content_length <= SMALL_BYTES:
                self._read_body(body, request.content_length)
                return True
        return False

    def _read_body(self, body: Any, content_length: int | None) -> bytes:
        limit = self._settings.max_body_bytes
        content: bytes | None = None
        with gevent.Timeout(self._settings.body_seconds, False):
            content = body.read(limit + 1)
        if content is None:
            sentence = f"the body did not end within {self._settings.body_seconds:g} s"
            raise Refused(408, sentence)
        if len(content) > limit:
            raise too_large(limit)
        if content_length is not None and len(content) < content_length:
            raise Refused(499, "the client left before its body ended")
        return content

    def _answer(self, request: Request) -> Any:
        application, lane = self._application, self._application.lane
        call = partial(application.answer, request)
        response = lane.run(call) if lane.inline(len(request.body)) else None
        if response is not None:
            return response
        answered, deliver = _promise()
        job = lane.submit(call, deliver)
        with gevent.Timeout(self._settings.predict_timeout_seconds or None, False):
            late: Response = answered.get()
            return late
        raise lane.give_up(job)


class _Stream:
    """Sends one stream, a part when the client has taken the one before."""

    def __init__(
        self, application: Application, request: Request, response: Response, started: float
    ) -> None:
        assert response.stream is not None
        self._application = application
        self._request = request
        self._stream = response.stream
        self._started = started
        self._part: bytes | None = None
        self._client = gevent.getcurrent().client
        self._watch = gevent.spawn(_until_closed, self._client)

    def begin(self) -> None:
        """Make the first part, before which nothing is sent.

        Raises:
            Refused: there is none to be had, or the client left.
        """
        try:
            self._part = self._next_part()
            if self._watch.dead:
                raise Refused(499, "the client left before the first part")
        except BaseException:
            self._end()
            raise

    def parts(self) -> Generator[bytes, None, None]:
        """Yield the parts, until the last or until the client leaves; the server sends them."""
        self._client.settimeout(self._application.settings.keep_alive_seconds)
        try:
            while self._part is not None and self._request.method != "HEAD":
                yield self._part
                self._part = self._next_part()
        except GeneratorExit:  # it could not be sent
            self._stream.leave()
            raise
        finally:
            self._end()
            self._client.settimeout(None)
            seconds = time.perf_counter() - self._started
            self._application.finish_stream(self._request, self._stream, seconds)

    def _next_part(self) -> bytes | None:
        stream = self._stream
        if stream.end != "complete":
            return None
        if stream.is_stopped():
            return stream.overdue()
        made, deliver = _promise()
        stream.ask(deliver)
        while not made.wait(TICK_SECONDS) and not made.ready() and not self._watch.dead:
            last = stream.overdue()
            if last:
                return last
        if self._watch.dead:
            stream.leave()
            return None
        return stream.take(made.get())

    def _end(self) -> None:
        self._watch.kill(block=False)
        self._stream.close()


def _until_closed(client: Any) -> None:
    """Return when the client has closed its side; a request that it sends ahead is not read."""
    gevent.socket.wait_read(client.fileno())
    with contextlib.suppress(OSError):
        if client.recv(1, socket.MSG_PEEK):
            gevent.get_hub().wait(gevent.get_hub().loop.async_())  # for ever


def _promise() -> tuple[Any, Callable[[Any], None]]:
    """Return an AsyncResult, and what sets it from any thread."""
    loop, result = gevent.get_hub().loop, gevent.event.AsyncResult()
    return result, lambda value: loop.run_callback_threadsafe(result.set, value)


def _read_head(environ: dict[str, Any]) -> Request:
    request = Request(
        environ["REQUEST_METHOD"],
        environ["PATH_INFO"].encode("latin-1").decode("utf-8", "replace"),
        environ["QUERY_STRING"].encode("latin-1"),
        environ["RAW_URI"],
    )
    names = (
        (b"content-type", "CONTENT_TYPE"),
        (b"content-length", "CONTENT_LENGTH"),
        (b"content-encoding", "HTTP_CONTENT_ENCODING"),
        (b"x-request-id", "HTTP_X_REQUEST_ID"),
    )
    request.read_headers(
        (name, environ[key].encode("latin-1")) for name, key in names if key in environ
    )
    return request


def _then_discard(content: bytes, body: Any) -> Generator[bytes, None, None]:
    """Send the answer, then read on for a while: :mod:`model_service.servers.asgi` says why."""
    yield content
    left_bytes = LINGER_BYTES
    with gevent.Timeout(LINGER_SECONDS, False), contextlib.suppress(OSError, ParseException):
        while left_bytes > 0:
            data = body.read(READ_BYTES)
            if not data:
                break
            left_bytes -= len(data)
