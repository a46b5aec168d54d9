"""Targets of this project's default profile, and by how much it reaches them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.results import Results

DEFAULT = "ours-uvicorn"
CONNECTIONS = 8
MANY_CONNECTIONS = 64
# Times a peer's requests a second, must and stretch; of a peer with two rows, the faster one.
FACTORS = {
    "vertex-cpr": (1.0, 1.2),
    "ml-server": (2.0, 3.0),
    "lit-serve": (2.0, 3.0),
    "platform-recipe": (3.0, None),
}


@dataclass(frozen=True)
class Target:
    """One figure, with what it must be, what it should be, and what it is."""

    title: str
    must: str
    stretch: str
    measured: str
    verdict: str


def targets(results: Results) -> Iterator[Target]:
    """Yield every target that this run has figures for."""
    ours = results.row(DEFAULT)
    if ours is None:
        return
    if CONNECTIONS in results.connections:
        rate = ours.requests_per_s(CONNECTIONS)
        for name, (must, stretch) in FACTORS.items():
            rows = [row for row in results.measured if row.name.startswith(name)]
            if rows:
                peer = max(rows, key=lambda row: row.requests_per_s(CONNECTIONS))
                factor = rate / peer.requests_per_s(CONNECTIONS)
                title = f"req/s at {CONNECTIONS} connections, times {peer.title}"
                yield at_least(title, factor, must, stretch, "x")
        if results.floor:
            percent = 100 * rate / results.floor.with_client
            yield at_least(f"of the floor at {CONNECTIONS} connections", percent, None, 60.0, "%")
    for connections, must in ((CONNECTIONS, 15.0), (MANY_CONNECTIONS, 60.0)):
        if connections in results.connections:
            p99_ms = ours.of_loads(connections, lambda load: load.p99_ms)
            yield at_most(f"p99 at {connections} connections", p99_ms, must, None, "ms")
    yield at_most("answers outside 2xx", ours.not_2xx, 0, None, "")
    ready_s = ours.of_rounds(lambda one: one.ready_s)
    yield at_most("ready after process start", ready_s, 0.8, 0.5, "s")
    pss_mb = ours.of_rounds(lambda one: one.pss_mb)
    yield at_most(f"PSS of {results.workers} workers", pss_mb, 170.0, 150.0, "MB")


def at_least(
    title: str, value: float, must: float | None, stretch: float | None, unit: str
) -> Target:
    """Judge a figure that is good when large."""
    return _judged(title, value, must, stretch, unit, "at least", 1)


def at_most(
    title: str, value: float, must: float | None, stretch: float | None, unit: str
) -> Target:
    """Judge a figure that is good when small."""
    return _judged(title, value, must, stretch, unit, "at most", -1)


def _judged(
    title: str,
    value: float,
    must: float | None,
    stretch: float | None,
    unit: str,
    words: str,
    sign: int,
) -> Target:
    def reached(bound: float) -> bool:
        return sign * value >= sign * bound

    def written(bound: float | None) -> str:
        return "" if bound is None else f"{words} {bound:g} {unit}".rstrip()

    if must is not None and not reached(must):
        verdict = "MISSED"
    elif stretch is not None:
        verdict = "stretch reached" if reached(stretch) else "stretch missed"
    else:
        verdict = "reached"
    return Target(title, written(must), written(stretch), f"{value:.3g} {unit}".rstrip(), verdict)
