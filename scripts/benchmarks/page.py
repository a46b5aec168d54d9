"""The Markdown page of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from benchmarks.drills import Sigterm
from benchmarks.machine import Machine
from benchmarks.results import Results, Row
from benchmarks.targets import targets


def render_page(results: Results, picture: str) -> str:
    """Return the page; ``picture`` is the address of the picture beside it."""
    return "\n\n".join(_sections(results, picture)) + "\n"


def _sections(results: Results, picture: str) -> Iterator[str]:
    yield "# Serving benchmark: results"
    yield "Made by `make bench-serving`; what each figure means stands in [README.md](README.md)."
    yield f"{results.machine}.\n{_conditions(results)}"
    if remark := remark_on(results.machine):
        yield remark
    yield f"![requests a second, tail latency, memory and start]({picture})"
    yield "## Speed and size"
    yield table(_speed_head(results), (_speed(results, row) for row in results.measured))
    if results.floor:
        yield (
            f"Floor: {results.floor.with_client:.0f} predictions/s by the bare handler, in "
            f"{results.workers} processes, beside wrk at {results.floor.client_rate:.0f} req/s; "
            f"{results.floor.alone:.0f} with the machine to themselves."
        )
    yield "## Behaviour"
    yield table(_behaviour_head(results), (_behaviour(row) for row in results.measured))
    if missing := [row for row in results.rows if row.not_run]:
        yield "## NOT RUN, or broken off"
        yield "\n".join(f"* **{row.title}**: {row.not_run}" for row in missing)
    if judged := list(targets(results)):
        yield "## Targets of the default profile"
        head = ["figure", "must", "stretch", "measured", "verdict"]
        yield table(head, ([t.title, t.must, t.stretch, t.measured, t.verdict] for t in judged))


def _conditions(results: Results) -> str:
    window = f"SIGTERM window {results.window_s:g} s"
    if results.window_s != 60:
        window += " (compressed: the platform's own is 60 s)"
    return (
        f"Medians of {results.rounds} interleaved rounds, {results.seconds} s a load, "
        f"{results.workers} workers; {window}."
    )


def remark_on(machine: Machine) -> str:
    """Return what a reader has to know about the machine, or an empty string."""
    if machine.was_idle:
        return ""
    return (
        f"**Preliminary: the machine was not idle** (others kept it "
        f"{machine.others_percent:.0f} % busy just before the run). Trust ratios, not digits."
    )


def _speed_head(results: Results) -> list[str]:
    return [
        "server",
        "version",
        *(f"req/s, {c} conn." for c in results.connections),
        *(f"p50 / p99 ms, {c} conn." for c in results.connections),
        "of floor",
        "failed",
        "ready s",
        "first prediction s",
        "PSS MB",
        f"packages MB beyond the base's {results.base_mb:.0f}",
    ]


def _speed(results: Results, row: Row) -> list[str]:
    share = ""
    if results.floor and 8 in results.connections:
        share = f"{100 * row.requests_per_s(8) / results.floor.with_client:.0f} %"
    return [
        row.title,
        row.version,
        *(f"{row.requests_per_s(c):.0f}" for c in results.connections),
        *(
            f"{row.of_loads(c, lambda load: load.p50_ms):.1f} / "
            f"{row.of_loads(c, lambda load: load.p99_ms):.1f}"
            for c in results.connections
        ),
        share,
        _failures(row),
        f"{row.of_rounds(lambda one: one.ready_s):.2f}",
        f"{row.of_rounds(lambda one: one.first_prediction_s):.2f}",
        f"{row.of_rounds(lambda one: one.pss_mb):.0f}",
        f"{row.installed_mb:.0f}",
    ]


def _failures(row: Row) -> str:
    loads = [load for one in row.rounds for load in one.loads.values()]
    kinds = {
        "not 2xx": sum(load.not_2xx for load in loads),
        "broken": sum(load.socket_errors for load in loads),
        "over 2 s": sum(load.late for load in loads),
    }
    said = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count)
    return said or "0"


def _behaviour_head(results: Results) -> list[str]:
    return [
        "server",
        "exit after SIGTERM",
        "slow request answered",
        f"lost in {results.window_s:g} s after SIGTERM",
        "answer to text instead of a picture",
        "health without weights",
    ]


def _behaviour(row: Row) -> list[str]:
    return [
        row.title,
        *_sigterm(row.sigterm),
        row.answer_to_text or "not measured",
        row.health_without_weights or "not measured",
    ]


def _sigterm(found: Sigterm | None) -> list[str]:
    if found is None:
        return ["not measured"] * 3
    if found.exit_s is None:
        ended = f"never (killed after {found.window_s + found.patience_s:g} s)"
    else:
        ended = f"{found.exit_s:.1f} s, code {found.exit_code}"
    if found.orphans:
        ended += f", {found.orphans} processes left"
    if not found.as_first_process:
        ended += " (not as process 1)"
    return [ended, "yes" if found.slow_answered else "no", f"{found.lost} of {found.sent}"]


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table."""
    cells = [list(head), *(list(row) for row in rows)]
    cells.insert(1, ["---"] * len(cells[0]))
    return "\n".join("| " + " | ".join(line) + " |" for line in cells)
