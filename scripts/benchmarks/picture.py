"""The picture of a run: throughput, tail latency, memory and start, one bar a peer."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from benchmarks.results import Results, Row

OURS, PEER = "#1565c0", "#9e9e9e"


def draw_picture(results: Results, path: Path) -> None:
    """Draw the measured rows into ``path`` (PNG)."""
    rows = sorted(results.measured, key=lambda row: row.requests_per_s(_middle(results)))
    figure, axes = plt.subplots(2, 2, figsize=(11, 6.5), layout="constrained")
    middle, most = _middle(results), max(results.connections)
    throughput, tail, memory, start = axes.flat

    _bars(throughput, rows, [row.requests_per_s(middle) for row in rows], "{:.0f}")
    throughput.set_title(f"requests a second, {middle} connections")
    if results.floor:
        throughput.axvline(results.floor.with_client, color="black", linestyle=":")
        throughput.annotate(
            "bare handler",
            (results.floor.with_client, 0),
            xytext=(-4, 0),
            textcoords="offset points",
            ha="right",
            fontsize=8,
        )

    _bars(tail, rows, [row.of_loads(most, lambda x: x.p99_ms) for row in rows], "{:.0f} ms")
    tail.set_xscale("log")
    tail.set_title(f"99th percentile, {most} connections (log)")

    _bars(memory, rows, [row.of_rounds(lambda one: one.pss_mb) for row in rows], "{:.0f} MB")
    memory.set_title("memory of all processes (PSS)")

    firsts = [row.of_rounds(lambda one: one.first_prediction_s) for row in rows]
    _bars(start, rows, firsts, "{:.2f} s")
    start.set_title("process start to first right prediction")

    preliminary = "" if results.machine.was_idle else "PRELIMINARY, the machine was not idle. "
    figure.suptitle(f"{preliminary}{results.machine}", fontsize=9)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _middle(results: Results) -> int:
    return sorted(results.connections)[len(results.connections) // 2]


def _bars(axes: Axes, rows: list[Row], values: list[float], label: str) -> None:
    colours = [OURS if row.name.startswith("ours") else PEER for row in rows]
    bars = axes.barh([row.title for row in rows], values, color=colours)
    axes.bar_label(bars, [label.format(value) for value in values], padding=3, fontsize=8)
    axes.margins(x=0.18)
    axes.spines[["top", "right"]].set_visible(False)
