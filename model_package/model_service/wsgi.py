"""Turns WSGI into requests for the application, and its responses into WSGI, under gevent."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import Any

import gevent
import gevent.event
import gevent.pool
from gunicorn.http.errors import ParseException

from model_service.application import Application
from model_service.messages import (
    LINGER_BYTES,
    LINGER_SECONDS,
    REASONS,
    Refused,
    Request,
    Response,
    overloaded,
    too_large,
)

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

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request."""
        started = time.perf_counter()
        request = _read_head(environ)
        body, body_read = environ["wsgi.input"], False
        try:
            if len(self._connections) > self._settings.max_connections:
                raise overloaded("too many connections are open; come back later")
            response = self._application.admit(request)
            if response is None:
                request.body = self._read_body(body, request.content_length)
                body_read = True
                response = self._answer(request)
        except Refused as refused:
            response = refused.response()
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
        content = b"" if request.method == "HEAD" else response.body
        return _then_discard(content, body) if unread else (content,)

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

    def _answer(self, request: Request) -> Response:
        application, lane = self._application, self._application.lane
        call = partial(application.answer, request)
        if lane.inline(len(request.body)) and (response := lane.run(call)):
            return response
        loop, answered = gevent.get_hub().loop, gevent.event.AsyncResult()

        def deliver(response: Response) -> None:
            loop.run_callback_threadsafe(answered.set, response)

        job = lane.submit(call, deliver)
        with gevent.Timeout(self._settings.predict_timeout_seconds or None, False):
            late: Response = answered.get()
            return late
        raise lane.give_up(job)


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
    """Send the answer, then read on for a while: :mod:`model_service.asgi` says why."""
    yield content
    left_bytes = LINGER_BYTES
    with gevent.Timeout(LINGER_SECONDS, False), contextlib.suppress(OSError, ParseException):
        while left_bytes > 0 and (data := body.read(READ_BYTES)):
            left_bytes -= len(data)
