"""The measured reason for each default of the serving runtime: one setting changed at a time.

The same model, handler and load as in ``benchmarks.serving``, some 6 minutes::

    python -m benchmarks.defaults
    python -m benchmarks.defaults --rounds 1 --seconds 1
    python -m benchmarks.defaults --keep
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Final

import typer

from benchmarks.environments import Environment, install_base
from benchmarks.floor import FLOOR_DIR
from benchmarks.load import ensure_wrk
from benchmarks.machine import this_machine
from benchmarks.page import remark_on, table
from benchmarks.peer import PEERS_DIR, Peer, choose_peers
from benchmarks.results import Row
from benchmarks.serving import BUILD_DIR, KEPT_DIR, install, measure, say
from benchmarks.workload import Workload, prepare_workload

DEFAULT: Final = "as it comes"
SETTINGS: Final[Mapping[str, Mapping[str, str]]] = {
    DEFAULT: {},
    "every prediction in a thread": {"PREDICT_IN_THREADS": "always"},
    "every prediction in the event loop": {"PREDICT_IN_THREADS": "never"},
    "two threads a worker": {"PREDICT_IN_THREADS": "always", "PREDICT_THREADS": "2"},
    "one worker": {"WORKERS": "1"},
    "four workers": {"WORKERS": "4"},
    "two threads inside the model": {"INTRA_OP_THREADS": "2"},
    "gunicorn-gevent": {"MODEL_SERVER": "gunicorn-gevent"},
}
CONNECTIONS: Final = [1, 8, 64]
BATCH_SIZES: Final = ["1", "4", "16"]


def main(
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    seconds: Annotated[int, typer.Option(min=1, help="of each load")] = 4,
    keep: Annotated[bool, typer.Option(help="write defaults.md into the tree")] = False,
) -> None:
    """Change one setting of the serving runtime at a time, and measure."""
    machine = this_machine()
    ensure_wrk()
    say("preparing the model and the shared environment")
    workload = prepare_workload(BUILD_DIR / "workload")
    base = install_base(BUILD_DIR)
    (ours,) = choose_peers(["ours-uvicorn"])
    rows = {peer.name: Row(peer.name, peer.title) for peer in peers_of(ours)}
    installed = {
        peer.name: found
        for peer in peers_of(ours)
        if (found := install(peer, base, workload, machine.cores, rows[peer.name]))
    }
    for number in range(rounds):
        names = list(installed)
        start = number % len(names)
        for name in names[start:] + names[:start]:
            say(f"round {number + 1} of {rounds}: {rows[name].title}")
            measure(installed[name], rows[name], CONNECTIONS, seconds)
    page = "\n\n".join(
        [
            "# Settings of the serving runtime, one changed at a time",
            "Made by `python -m benchmarks.defaults`; read in [README.md](README.md#defaults).",
            f"{machine}.\nMedians of {rounds} interleaved rounds, {seconds} s a load, uvicorn "
            f"where nothing else is said. {remark_on(machine)}".rstrip(),
            table(_HEAD, (_cells(row, rows) for row in rows.values())),
            "A handler that takes several pictures at once, in the bare loop of one process:",
            table(
                ["pictures together", "microseconds a picture"],
                batches(base, workload, seconds),
            ),
        ]
    )
    for folder in [BUILD_DIR, KEPT_DIR] if keep else [BUILD_DIR]:
        (folder / "defaults.md").write_text(page + "\n")
    typer.echo(page)


def peers_of(ours: Peer) -> Iterator[Peer]:
    """Yield our runtime once for each setting."""
    for number, (title, environment) in enumerate(SETTINGS.items()):
        yield replace(
            ours,
            name=f"{ours.family}-setting-{number}",
            title=title,
            environment={**ours.environment, **environment},
        )


def batches(base: Environment, workload: Workload, seconds: int) -> list[list[str]]:
    """Return what a picture costs alone and together with others."""
    script = str(FLOOR_DIR / "batches.py")
    done = subprocess.run(
        [str(base.python), script, str(workload.picture_path), str(seconds), *BATCH_SIZES],
        env=os.environ | {"PYTHONPATH": str(PEERS_DIR), "MODEL_FILE": str(workload.model_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    return [line.split() for line in done.stdout.splitlines()]


_HEAD: Final = [
    "setting",
    *(f"req/s, {number} conn." for number in CONNECTIONS),
    *(f"p99 ms, {number} conn." for number in CONNECTIONS),
    "of the default at 8",
    "PSS MB",
]


def _cells(row: Row, rows: Mapping[str, Row]) -> list[str]:
    if row.not_run or not row.rounds:
        return [row.title, f"NOT RUN: {row.not_run}", *[""] * (len(_HEAD) - 2)]
    default = next(other for other in rows.values() if other.title == DEFAULT)
    share = row.requests_per_s(8) / default.requests_per_s(8) if default.rounds else 0
    return [
        row.title,
        *(f"{row.requests_per_s(number):.0f}" for number in CONNECTIONS),
        *(f"{row.of_loads(number, lambda load: load.p99_ms):.1f}" for number in CONNECTIONS),
        f"{share:.2f}",
        f"{row.of_rounds(lambda one: one.pss_mb):.0f}",
    ]


if __name__ == "__main__":
    typer.run(main)
