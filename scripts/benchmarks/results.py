"""Results of a run: rounds, their medians, and the JSON that keeps all of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from benchmarks.drills import Sigterm
from benchmarks.floor import Floor
from benchmarks.load import Load
from benchmarks.machine import Machine


@dataclass(frozen=True)
class Round:
    """One start of one peer, loaded at each number of connections.

    Attributes:
        ready_s: from process start to the first 200 of health.
        first_prediction_s: from process start to the first right digit.
        pss_mb: of all its processes, after the load.
    """

    ready_s: float
    first_prediction_s: float
    loads: dict[int, Load]
    pss_mb: float


@dataclass
class Row:
    """Everything found about one peer; ``not_run`` says why where something is missing."""

    name: str
    title: str
    version: str = ""
    installed_mb: float = 0.0
    versions: dict[str, str] = field(default_factory=dict)
    rounds: list[Round] = field(default_factory=list)
    sigterm: Sigterm | None = None
    answer_to_text: str = ""
    health_without_weights: str = ""
    not_run: str = ""

    def of_rounds(self, figure: Callable[[Round], float]) -> float:
        """Return the median of a figure over the rounds."""
        return median(figure(one) for one in self.rounds)

    def of_loads(self, connections: int, figure: Callable[[Load], float]) -> float:
        """Return the median of a figure of the loads with that many connections."""
        return median(figure(one.loads[connections]) for one in self.rounds)

    def requests_per_s(self, connections: int) -> float:
        """Return the median of the good answers a second."""
        return self.of_loads(connections, lambda load: load.requests_per_s)

    @property
    def failures(self) -> int:
        """All failed requests of all rounds: a sum, since a median would hide them."""
        return sum(load.failures for one in self.rounds for load in one.loads.values())

    @property
    def not_2xx(self) -> int:
        """All answers that were no success, of all rounds."""
        return sum(load.not_2xx for one in self.rounds for load in one.loads.values())


@dataclass(frozen=True)
class Results:
    """One run.

    Attributes:
        rounds: asked for; a row that broke off has fewer.
        floors: one a round.
        base_mb: of the shared environment (numpy, ONNX Runtime, pillow).
        window_s: how long requests were sent after SIGTERM; the platform's own is 60.
    """

    machine: Machine
    rounds: int
    seconds: int
    connections: list[int]
    workers: int
    base_mb: float
    window_s: float
    floors: list[Floor]
    rows: list[Row]

    @property
    def floor(self) -> Floor | None:
        """The medians of the floors of all rounds."""
        if not self.floors:
            return None
        return Floor(
            with_client=median(floor.with_client for floor in self.floors),
            alone=median(floor.alone for floor in self.floors),
            client_rate=median(floor.client_rate for floor in self.floors),
        )

    @property
    def measured(self) -> list[Row]:
        """The rows with figures."""
        return [row for row in self.rows if row.rounds]

    def row(self, name: str) -> Row | None:
        """Return the row of that name if it has figures."""
        return next((row for row in self.measured if row.name == name), None)

    def to_json(self) -> str:
        """Return everything, medians beside the rounds they come from."""
        document: dict[str, Any] = asdict(self)
        for row, written in zip(self.rows, document["rows"], strict=True):
            if row.rounds:
                written["medians"] = {
                    "ready_s": row.of_rounds(lambda one: one.ready_s),
                    "first_prediction_s": row.of_rounds(lambda one: one.first_prediction_s),
                    "pss_mb": row.of_rounds(lambda one: one.pss_mb),
                    "requests_per_s": {c: row.requests_per_s(c) for c in self.connections},
                    "p50_ms": {c: row.of_loads(c, lambda x: x.p50_ms) for c in self.connections},
                    "p99_ms": {c: row.of_loads(c, lambda x: x.p99_ms) for c in self.connections},
                }
        return json.dumps(document, indent=1)
