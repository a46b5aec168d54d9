"""The profile ``gunicorn-gevent``: the platform's documented recipe, fixed.

gunicorn's gevent worker and its HTTP are the recipe's; the arbiter is this package's supervisor, so
that both profiles drain, replace workers and end in the same way. Fixed are: predictions of CPU
work leave the event loop (they starved every other connection), idle kept-alive connections are
closed at the end (one of them alone held the exit up for the whole graceful time-out:
https://github.com/benoitc/gunicorn/issues/1236), and errors are JSON.

Nothing is monkey-patched: the user's threads stay threads.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Generator
from functools import partial
from types import SimpleNamespace
from typing import Any

import gevent
import gevent.pool
import gevent.server
import gevent.socket
from gunicorn.config import Config
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, NoMoreData, ParseException
from gunicorn.workers.ggevent import GeventWorker

from model_service.http.application import Application
from model_service.servers.turns import Turns
from model_service.servers.wsgi import WsgiAdapter

TICK_SECONDS = 0.1
SHARED_MEMORY = "/dev/shm"

log = logging.getLogger("model_service")


def serve(application: Application, listener: socket.socket) -> None:
    """Serve until the board says stop, and the open requests are answered."""
    settings, config = application.settings, Config()
    config.set("keepalive", int(settings.keep_alive_seconds) + 2)
    config.set("graceful_timeout", int(settings.finish_seconds))
    # A full pool would leave further connections unanswered; the adapter refuses them instead.
    config.set("worker_connections", settings.max_connections + 100)
    config.set("pre_request", _remember_request)
    if os.access(SHARED_MEMORY, os.W_OK):  # its sign of life is a file; / may be read-only
        config.set("worker_tmp_dir", SHARED_MEMORY)
    sockets = [gevent.socket.socket(listener.family, fileno=listener.detach())]
    worker = _Worker(
        1, os.getppid(), sockets, None, settings.predict_timeout_seconds, config, _Log()
    )
    adapter = WsgiAdapter(application, worker.connections)
    worker.app = SimpleNamespace(wsgi=lambda: adapter)
    worker.application = application
    worker.init_process()


def _remember_request(worker: Any, request: Any) -> None:
    """Leave the parsed request where the adapter finds it: WSGI has no word for closing.

    A client that waits for ``100 Continue`` with a body too large is not told to send it.
    """
    gevent.getcurrent().request = request
    for name, value in request.headers:
        if name == "CONTENT-LENGTH" and int(value) > worker.application.settings.max_body_bytes:
            request._expected_100_continue = False


class _Log:
    """What gunicorn asks of its logger, led to the root logger."""

    def __init__(self) -> None:
        self._log = logging.getLogger("gunicorn")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def access(self, *_: object) -> None:
        """Nothing: the application writes the line of a request."""

    def close_on_exec(self) -> None:
        """Nothing: there is no file."""


class _Server(gevent.server.StreamServer):  # type: ignore[misc]
    """Accepts in turn with the other workers."""

    turns: Turns

    def _do_read(self) -> None:
        self.max_accept, pause_s = self.turns.take(len(self.pool))
        if not pause_s:
            super()._do_read()
            self.turns.hold(len(self.pool))
            return
        self.stop_accepting()
        self._timer = self.loop.timer(pause_s)
        self._timer.start(self._start_accepting_if_started)

    def accept_the_rest(self) -> None:
        """Accept what waits, out of turn.

        Whoever closes the listener last resets what nobody has accepted: the supervisor lets no
        more in, and one that was half-way in is there after a moment.
        """
        self.stop_accepting()
        for pause_s in (0, TICK_SECONDS / 2, TICK_SECONDS / 2):
            gevent.sleep(pause_s)
            for accepted in iter(self.do_read, None):
                self.do_handle(*accepted)


class _Worker(GeventWorker):  # type: ignore[misc]
    """Obeys the board instead of signals, and shows it signs of life.

    Attributes:
        connections: a greenlet each.
    """

    application: Application

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.connections = gevent.pool.Pool(self.worker_connections)
        self._idle: set[Any] = set()

    def patch(self) -> None:
        """Patch nothing; the sockets are gevent's already."""

    def init_signals(self) -> None:
        """Leave signals to the supervisor."""

    def run(self) -> None:
        application, board = self.application, self.application.board
        (listener,) = self.sockets
        server = _Server(listener, handle=partial(self.handle, listener), spawn=self.connections)
        server.turns = Turns(board, application.slot)
        server.start()
        while not board.stopping:
            board.beat(application.slot)
            gevent.sleep(TICK_SECONDS)
        server.accept_the_rest()
        server.close()
        self.alive = False  # from now on every response closes its connection
        # A connection that was accepted a moment ago has its request still on the way.
        self.connections.join(timeout=application.settings.linger_seconds)
        for client in self._idle:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RD)
        self.connections.join(timeout=application.settings.finish_seconds)

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        gevent.getcurrent().client = client
        try:
            super().handle(listener, client, addr)
        finally:
            board, slot = self.application.board, self.application.slot
            board.set_connections(slot, len(self.connections) - 1)

    @contextlib.contextmanager
    def timeout_ctx(self) -> Generator[None, None, None]:
        """Limit the wait for a request, then for the rest of its head; note who is idle."""
        connection, seconds = gevent.getcurrent(), self.application.settings.header_seconds
        client, request = connection.client, getattr(connection, "request", None)
        if request is None or not request.unreader.buf.tell():  # nothing pipelined behind it
            self._idle.add(client)
            try:
                gevent.socket.wait_read(client.fileno(), self.cfg.keepalive, NoMoreData())
            finally:
                self._idle.discard(client)
        timer = gevent.Timeout(seconds)
        try:
            with timer:
                yield
        except gevent.Timeout as timeout:
            if timeout is not timer:
                raise
            sentence = f"the head of the request did not end within {seconds:g} s"
            self._refuse(client, 408, sentence)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        status, sentence = 400, "the request is not HTTP/1.1"
        if isinstance(exc, (LimitRequestLine, LimitRequestHeaders)):
            status, sentence = 431, "the head of the request is too large"
        elif not isinstance(exc, ParseException):
            log.error("the server failed", exc_info=exc)
            status, sentence = 500, "the service failed; its log says why"
        self._refuse(client, status, sentence)

    def _refuse(self, client: Any, status: int, sentence: str) -> None:
        with contextlib.suppress(OSError):
            client.sendall(self.application.refuse_head(status, sentence))
