"""The floor: what the handler alone can do on this machine, with no server around it.

As many processes as cores run the handler in a bare loop. Beside them wrk loads a server that only
answers, at the rate that the best peer reached, so that the load client takes the share of the CPU
that it took from the peers. A peer at 100 % of the floor would cost nothing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.client import HOST
from benchmarks.environments import Environment
from benchmarks.load import run_load
from benchmarks.peer import PEERS_DIR
from benchmarks.processes import free_ports
from benchmarks.workload import Workload

FLOOR_DIR = Path(__file__).parent / "floor"
CONNECTIONS = 8


@dataclass(frozen=True)
class Floor:
    """Predictions a second, of all loops together.

    Attributes:
        with_client: while wrk took its share, at ``client_rate`` requests a second.
        alone: with the machine to themselves.
    """

    with_client: float
    alone: float
    client_rate: float


def measure_floor(
    base: Environment, workload: Workload, *, workers: int, seconds: int, client_rate: float
) -> Floor:
    """Run the loops twice, without the load client and beside it."""
    with _loops(base, workload, workers, seconds) as loops:
        alone = _release_and_collect(loops)
    with (
        _answering(len(workload.body), client_rate) as url,
        _loops(base, workload, workers, seconds) as loops,
    ):
        _release(loops)
        load = run_load(url, workload, connections=CONNECTIONS, seconds=seconds)
        with_client = _collect(loops)
    if not load.requests_per_s:
        raise RuntimeError(
            "the answering server did not answer, so the floor has no load beside it"
        )
    return Floor(with_client, alone, load.requests_per_s)


@contextmanager
def _loops(
    base: Environment, workload: Workload, workers: int, seconds: int
) -> Iterator[list[subprocess.Popen[str]]]:
    """Start the loops and wait until each has made a first prediction."""
    command = [str(base.python), str(FLOOR_DIR / "loop.py"), str(workload.picture_path)]
    environment = os.environ | {
        "PYTHONPATH": str(PEERS_DIR),
        "MODEL_FILE": str(workload.model_path),
    }
    with ExitStack() as stack:
        loops = []
        for _ in range(workers):
            loop = subprocess.Popen(
                [*command, str(seconds)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(loop)
            stack.callback(loop.kill)
            loops.append(loop)
        for loop in loops:
            _line(loop)
        yield loops


def _release(loops: list[subprocess.Popen[str]]) -> None:
    for loop in loops:
        assert loop.stdin is not None
        loop.stdin.write("go\n")
        loop.stdin.flush()


def _collect(loops: list[subprocess.Popen[str]]) -> float:
    return round(sum(float(_line(loop)) for loop in loops), 1)


def _release_and_collect(loops: list[subprocess.Popen[str]]) -> float:
    _release(loops)
    return _collect(loops)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} ended with code {process.wait()}, silently")
    return line


@contextmanager
def _answering(body_bytes: int, rate: float) -> Iterator[str]:
    (port,) = free_ports(1)
    command = [
        sys.executable,
        str(FLOOR_DIR / "answering.py"),
        str(port),
        str(body_bytes),
        str(rate),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            _line(server)
            yield f"http://{HOST}:{port}/"
        finally:
            server.kill()
