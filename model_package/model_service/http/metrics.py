"""Counters of all workers, in the text format that Prometheus reads.

By hand: prometheus_client shares counters between processes by files, which a read-only root file
system has no place for; these are in the memory that workers share anyway.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from model_service.http.messages import REASONS, Response
from model_service.processes.board import Board, State

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
OTHER = "other"
CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

_STATUSES = tuple(REASONS)
STREAM_ENDS = ("complete", "error", "timeout", "client", "stopped")

_HISTOGRAM_CELLS = len(BUCKETS_S) + 2
_SUM = len(BUCKETS_S) + 1
_DURATION = len(_STATUSES)
_FIRST_PART = _DURATION + _HISTOGRAM_CELLS
_GAP = _FIRST_PART + _HISTOGRAM_CELLS
_STREAM_ENDS = _GAP + _HISTOGRAM_CELLS
_CELLS = _STREAM_ENDS + len(STREAM_ENDS)


def count_cells(paths: tuple[str, ...]) -> int:
    """Return how many counters one worker needs for these paths."""
    return _CELLS * (len(paths) + 1)


class Metrics:
    """Counts requests of one worker, and shows those of all.

    Per path: one counter a status, one a way that streams end, and histograms of the duration, of
    a stream's first part and of the gaps between its parts: one counter a bucket, and the sum.
    """

    def __init__(self, board: Board, slot: int, paths: tuple[str, ...]) -> None:
        self._board = board
        self._own = board.own_counters(slot)
        self._paths = (*paths, OTHER)
        self._first = {path: index * _CELLS for index, path in enumerate(self._paths)}
        self._other = self._first[OTHER]
        self._status = {status: index for index, status in enumerate(_STATUSES)}

    def count(self, path: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        first = self._first.get(path, self._other)
        self._own[first + self._status[status]] += 1
        self._observe(first + _DURATION, seconds)

    def count_part(self, path: str, seconds: float, *, first: bool) -> None:
        """Count one part of a stream."""
        cell = self._first.get(path, self._other)
        self._observe(cell + (_FIRST_PART if first else _GAP), seconds)

    def count_stream(self, path: str, end: str) -> None:
        """Count one stream that ended."""
        cell = self._first.get(path, self._other) + _STREAM_ENDS
        self._own[cell + STREAM_ENDS.index(end)] += 1

    def _observe(self, histogram: int, seconds: float) -> None:
        self._own[histogram + bisect_left(BUCKETS_S, seconds)] += 1
        self._own[histogram + _SUM] += seconds

    def response(self) -> Response:
        """Return everything counted by every worker."""
        return Response(200, self.to_text().encode(), content_type=CONTENT_TYPE)

    def to_text(self) -> str:
        """Return everything counted by every worker, one sample a line."""
        total = self._board.total
        lines = _head("model_service_requests_total", "counter", "Requests answered.")
        for path, first in self._first.items():
            for index, status in enumerate(_STATUSES):
                count = total(first + index)
                if count:
                    labels = f'path="{_escape(path)}",status="{status}"'
                    lines.append(f"model_service_requests_total{{{labels}}} {count:.0f}")
        name = "model_service_request_seconds"
        lines += _head(name, "histogram", "From the request's head to its answer.")
        for path, first in self._first.items():
            lines += self._histogram(name, _escape(path), first + _DURATION)
        lines += self._streams()
        states = Counter(self._board.states())
        lines += _head("model_service_workers", "gauge", "Workers by the state of their model.")
        for state in (State.LOADING, State.READY, State.FAILED):
            labels = f'state="{state.name.lower()}"'
            lines.append(f"model_service_workers{{{labels}}} {states[state]}")
        if self._board.models:
            lines += self._models()
        workers, limit, worker_bytes = self._board.decision()
        text = "Workers that are to run, and what decided that."
        lines += _head("model_service_workers_decided", "gauge", text)
        lines.append(f'model_service_workers_decided{{by="{limit.name.lower()}"}} {workers}')
        if worker_bytes:
            lines += _head("model_service_worker_bytes", "gauge", "What one more would take.")
            lines.append(f"model_service_worker_bytes {worker_bytes}")
        lines += _head("model_service_connections", "gauge", "Open connections.")
        lines.append(f"model_service_connections {sum(self._board.connections())}")
        lines += _head("model_service_restarts_total", "counter", "Workers that were replaced.")
        lines.append(f"model_service_restarts_total {self._board.restarts}")
        lines += _head("model_service_draining", "gauge", "1 from SIGTERM on.")
        lines.append(f"model_service_draining {int(self._board.draining)}")
        return "\n".join(lines) + "\n"

    def _models(self) -> list[str]:
        states, (batches, inputs) = Counter(self._board.model_states()), self._board.batches()
        name = "model_service_model_processes"
        lines = _head(name, "gauge", "Model processes by state.")
        for state in (State.LOADING, State.READY, State.FAILED):
            lines.append(f'{name}{{state="{state.name.lower()}"}} {states[state]}')
        lines += _head("model_service_batches_total", "counter", "Batches that the model ran.")
        lines.append(f"model_service_batches_total {batches}")
        lines += _head("model_service_batched_total", "counter", "Inputs in those batches.")
        lines.append(f"model_service_batched_total {inputs}")
        return lines

    def _streams(self) -> list[str]:
        name = "model_service_streams"
        lines = _head(f"{name}_open", "gauge", "Streams that are being sent.")
        lines.append(f"{name}_open {self._board.streams()}")
        lines += _head(f"{name}_total", "counter", "Streams that ended, by how.")
        for path, first in self._first.items():
            for index, end in enumerate(STREAM_ENDS):
                count = self._board.total(first + _STREAM_ENDS + index)
                if count:
                    labels = f'path="{_escape(path)}",end="{end}"'
                    lines.append(f"{name}_total{{{labels}}} {count:.0f}")
        for name, text, cell in (
            ("model_service_stream_first_part_seconds", "Until the first part.", _FIRST_PART),
            ("model_service_stream_gap_seconds", "From asking for a part to having it.", _GAP),
        ):
            lines += _head(name, "histogram", text)
            for path, first in self._first.items():
                lines += self._histogram(name, _escape(path), first + cell)
        return lines

    def _histogram(self, name: str, path: str, first: int) -> list[str]:
        lines, running = [], 0.0
        for index, bound in enumerate((*BUCKETS_S, "+Inf")):
            running += self._board.total(first + index)
            lines.append(f'{name}_bucket{{path="{path}",le="{bound}"}} {running:.0f}')
        seconds = self._board.total(first + _SUM)
        lines.append(f'{name}_sum{{path="{path}"}} {seconds:.6f}')
        lines.append(f'{name}_count{{path="{path}"}} {running:.0f}')
        return lines if running else []


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]


def _escape(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
