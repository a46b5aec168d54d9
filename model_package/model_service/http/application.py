"""From a request to a response: routes, health, limits, refusals. No input or output of its own.

:meth:`Application.admit` answers what needs no body; :meth:`Application.answer` what does. Neither
raises, and neither answers 500 to anything a client can send.
"""

from __future__ import annotations

import itertools
import logging
import os
import socket
import time
from functools import partial
from pathlib import Path
from typing import Any, Callable, Optional, Union

from model_service.http.messages import (
    REASONS,
    Headers,
    Refused,
    Request,
    Response,
    to_json,
    too_large,
)
from model_service.http.metrics import Metrics, count_cells
from model_service.http.streams import EVENT_STREAM, Stream
from model_service.http.streams import HEADERS as STREAM_HEADERS
from model_service.http.surface import Api, Surface
from model_service.inference.lane import Lane
from model_service.inference.model import Model
from model_service.processes.board import Board, State
from model_service.processes.logs import AccessLog
from model_service.settings import Settings

log = logging.getLogger("model_service")

METRICS_URL = "/metrics"
Target = Union[Api, Callable[[], Optional[Response]]]


def list_paths(surface: Surface) -> tuple[str, ...]:
    """Return every path that is served, each once."""
    paths = [*(api.url for api in surface.apis), surface.health_url, METRICS_URL]
    return tuple(dict.fromkeys(paths))


def make_board(settings: Settings, surface: Surface) -> Board:
    """Return a board with a slot for each worker and counters for each path."""
    cells = count_cells(list_paths(surface))
    return Board(settings.workers, cells, settings.model_processes)


class Application:
    """One worker's answers.

    Attributes:
        model: loads in the thread of predictions.
        lane: says where predictions run; the server runs them there.
    """

    def __init__(
        self,
        settings: Settings,
        surface: Surface,
        board: Board,
        slot: int,
        root: Path | None = None,
        models: list[socket.socket] | None = None,
    ) -> None:
        def publish(state: State) -> None:
            board.set_state(slot, state)

        self.board = board
        self.slot = slot
        self.settings = settings
        self.lane = Lane(settings)
        self.model = Model(settings, surface, publish, self.lane, root, slot, models)
        self.metrics = Metrics(board, slot, list_paths(surface))
        self._access_log = AccessLog(slot)
        self._ids = (b"%s-%x" % (os.urandom(4).hex().encode(), n) for n in itertools.count(1))
        self._targets: dict[str, dict[str, Target]] = {METRICS_URL: {"GET": self.metrics.response}}
        self._targets[surface.health_url] = {"GET": self._health}
        for api in surface.apis:
            self._targets.setdefault(api.url, {})[api.method] = api
        for methods in self._targets.values():
            if "GET" in methods:
                methods["HEAD"] = methods["GET"]

    def admit(self, request: Request) -> Response | None:
        """Answer from the head of a request, or return None where its body is needed."""
        target = self._targets.get(request.path, {}).get(request.method)
        if target is None:
            return self._without_target(request)
        if not isinstance(target, Api):
            return target()
        if request.content_length and request.content_length > self.settings.max_body_bytes:
            return too_large(self.settings.max_body_bytes).response()
        if not self.model.admits:
            headers = ((b"retry-after", b"1"),)
            return Refused(503, self.model.reason, headers).response()
        refused = self.lane.refusal(request.content_length or 0)
        return None if refused is None else refused.response()

    def answer(self, request: Request) -> Response:
        """Answer a request that was admitted and has its body; the lane learns how long it took."""
        started = time.perf_counter()
        response = self._answer(request)
        self.lane.took(time.perf_counter() - started, len(request.body))
        return response

    def _answer(self, request: Request) -> Response:
        target = self._targets[request.path][request.method]
        try:
            if not isinstance(target, Api):
                self.model.check()
                return self._report_health()
            answer = self.model.predict(target, request)
            if isinstance(answer, bytes):
                return Response(200, answer)
            return self._open_stream(request, answer)
        except Refused as refused:
            return refused.response()
        except Exception:
            log.exception("the runtime failed")
            return Refused(500, "the service failed; its log says why").response()

    def _open_stream(self, request: Request, iterator: Any) -> Response:
        stream = Stream(
            iterator,
            self.lane,
            self.model.coroutines,
            patience_s=self.settings.predict_timeout_seconds,
            stopped=self.board.streams_over,
            failed=self.model.failed,
            made=partial(self._count_part, request.path),
        )
        return Response(200, content_type=EVENT_STREAM, headers=STREAM_HEADERS, stream=stream)

    def _count_part(self, path: str, seconds: float, first: bool) -> None:
        self.metrics.count_part(path, seconds, first=first)
        self.model.has_answered()

    def dispatch(self, request: Request) -> Response:
        """Answer a whole request."""
        return self.admit(request) or self.answer(request)

    def finish(self, request: Request, response: Response, seconds: float) -> tuple[Headers, bool]:
        """Log and count an answered request; return its headers, and whether to close.

        A stream is logged and counted by :meth:`finish_stream`.
        """
        request.request_id = request.request_id or next(self._ids)
        headers = ((b"x-request-id", request.request_id), *response.headers)
        if response.stream is not None:
            self.board.count_streams(self.slot, 1)
            return ((b"content-type", response.content_type), *headers), self.board.farewell()
        size_bytes = len(response.body)
        self._record(request, response.status, seconds, size_bytes, response.note)
        if response.status != 204:  # RFC 9110, 8.6: no Content-Length there
            kind = (b"content-type", response.content_type)
            headers = (kind, (b"content-length", b"%d" % size_bytes), *headers)
        return headers, self.board.farewell()

    def finish_stream(self, request: Request, stream: Stream, seconds: float) -> None:
        """Log and count a stream whose last part was sent, or whose client left."""
        self.board.count_streams(self.slot, -1)
        self.metrics.count_stream(request.path, stream.end)
        note = stream.note or f"a stream of {stream.parts} parts"
        self._record(request, 200, seconds, stream.size_bytes, note)

    def _record(
        self, request: Request, status: int, seconds: float, size_bytes: int, note: str
    ) -> None:
        self.metrics.count(request.path, status, seconds)
        self._access_log.write(
            request.method, request.target, status, seconds, size_bytes, request.request_id, note
        )

    def refuse_head(self, status: int, sentence: str) -> bytes:
        """Return all the bytes that answer what is no request; logged and counted like one."""
        request = Request("-", "-", b"", "-")
        response = Refused(status, sentence).response()
        headers, _ = self.finish(request, response, 0.0)
        reason = REASONS[status].encode()
        head = [b"HTTP/1.1 %d %s" % (status, reason), b"connection: close"]
        head += [name + b": " + value for name, value in headers]
        return b"\r\n".join([*head, b"", response.body])

    def _health(self) -> Response | None:
        """Report, or return None where the model is to be asked first."""
        if self.model.unseen and not self.lane.in_flight:
            return None
        return self._report_health()

    def _report_health(self) -> Response:
        reason = "" if self.model.ready else self.model.reason
        if self.lane.blocked:
            reason = f"{self.lane.stuck} predictions ran past their time and still run"
        if self.board.draining and self.settings.health_while_draining == 503:
            reason = "the service is about to stop"
        if reason:
            return Response(503, to_json({"health": "false", "error": reason}), note=reason)
        return Response(200, b'{"health": "true"}')

    def _without_target(self, request: Request) -> Response:
        if request.path == "*":
            methods = {method for found in self._targets.values() for method in found}
        else:
            methods = set(self._targets.get(request.path, ()))
        if not methods:
            served = ", ".join(self._targets)
            sentence = f"nothing is served at {request.path[:200]}; served are {served}"
            return Refused(404, sentence).response()
        allow = ", ".join(sorted({*methods, "OPTIONS"}))
        headers = ((b"allow", allow.encode("latin-1", "replace")),)
        if request.method == "OPTIONS":
            return Response(204, headers=headers)
        sentence = f"{request.path} is asked by {allow}, not by {request.method}"
        return Refused(405, sentence, headers).response()
