"""Streams, batches, overload and memory, side by side in one run; about six minutes.

python -m benchmarks.heavy --keep
python -m benchmarks.heavy --only streams --rounds 1 --seconds 2
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.environments import NotInstalled, install_base, install_peer
from benchmarks.heavy import services
from benchmarks.heavy.client import load, quantile, read_streams, request
from benchmarks.heavy.servers import (
    Server,
    runtime,
    started,
    wait_for_workers,
    wait_until_answers,
    warm_up,
)
from benchmarks.machine import this_machine
from benchmarks.page import remark_on, table
from benchmarks.peer import ROOT_DIR, choose_peers
from benchmarks.processes import free_ports

BUILD = ROOT_DIR / "build" / "benchmarks"
HERE = Path(__file__).parent
PEERS = HERE / "peers"
PAGE = HERE.with_name("heavy.md")
ASKED = request("/", b'{"x": 1}')
STREAMS = (1, 64)
Rows = list[tuple[str, ...]]


def say(words: str) -> None:
    """Say how far it is."""
    print(words, file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def ours(service: str, **settings: str) -> Iterator[Server]:
    """Start this project's runtime."""
    with runtime(BUILD / "heavy" / "ours", service, free_ports(1)[0], ASKED, **settings) as server:
        yield server


@contextmanager
def peer(name: str, file: str, *arguments: str) -> Iterator[Server]:
    """Start LitServe or BentoML with the same stream, in the environment of the other table."""
    (found,) = choose_peers([name])
    environment = install_peer(found, install_base(BUILD), BUILD)
    port, binaries = free_ports(1)[0], environment.folder / "bin"
    settings = {
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "PYTHONPATH": str(PEERS),
        "WORKERS": "2",
        "PARTS": str(services.PARTS),
        "PART_S": str(services.PART_S),
        "DO_NOT_TRACK": "1",
    }
    if name == "bento-ml":
        command = ["bentoml", "serve", f"{file}:Speaker", "--port", str(port)]
    else:
        command = ["python", str(PEERS / f"{file}.py"), str(port), *arguments]
    command[0] = str(binaries / command[0])
    with started(command, port, BUILD / "heavy" / name, settings) as server:
        wait_until_answers(server, ASKED)
        yield server


def streams(rounds: int, seconds: float) -> tuple[str, Rows]:
    """Return first part, gaps and parts a second, of one stream and of many."""
    parts = (str(services.PARTS), str(services.PART_S))
    servers: dict[str, Callable[[], object]] = {
        "this runtime, asynchronous": lambda: ours(services.SPEAKER_ASYNC, WORKERS="2"),
        "this runtime, 32 threads": lambda: ours(
            services.SPEAKER, WORKERS="2", PREDICT_THREADS="32"
        ),
        "BentoML, asynchronous": lambda: peer("bento-ml", "bento_ml_stream"),
        "LitServe": lambda: peer("lit-serve", "lit_serve_stream", "2", *parts),
    }
    found: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    failed: dict[str, str] = {}
    for _ in range(rounds):
        for name, start in servers.items():
            say(f"streams: {name}")
            try:
                with start() as server:  # type: ignore[attr-defined]
                    for clients in STREAMS:
                        one = read_streams(server.port, ASKED, clients, seconds)
                        row = (
                            quantile(one.first_s, 0.5) * 1000,
                            quantile(one.gaps_s, 0.99) * 1000,
                            one.parts / one.seconds,
                        )
                        found.setdefault((name, clients), []).append(row)
            except (NotInstalled, RuntimeError) as error:
                failed[name] = str(error).splitlines()[0]
    rows: Rows = []
    for clients in STREAMS:
        for name in servers:
            values = found.get((name, clients))
            if not values:
                rows.append((str(clients), name, f"NOT RUN: {failed.get(name)}", "", ""))
                continue
            first, gap, rate = (median(column) for column in zip(*values, strict=True))
            rows.append((str(clients), name, f"{first:.1f}", f"{gap:.1f}", f"{rate:.0f}"))
    text = (
        f"Streams of {services.PARTS} parts, each made after a wait of {services.PART_S * 1000:g} "
        "ms; two workers each.\n\n"
    )
    heads = ("streams at once", "server", "first part ms (median)", "gap p99 ms", "parts/s")
    return text + table(heads, rows), rows


def batches(rounds: int, seconds: float) -> tuple[str, Rows]:
    """Return what a small transformer answers with a copy for each worker, and with one."""
    service = services.TRANSFORMER.replace("BALLAST_MIB", "1")
    settings = {
        "a copy for each of 2 workers": {"WORKERS": "2"},
        "one copy, no batches": {"WORKERS": "2", "MODEL_PROCESSES": "1"},
        "one copy, batches of 16": {"WORKERS": "2", "MODEL_PROCESSES": "1", "BATCH_SIZE": "16"},
        "one copy, batches of 64": {"WORKERS": "2", "MODEL_PROCESSES": "1", "BATCH_SIZE": "64"},
    }
    found: dict[str, list[tuple[float, float]]] = {}
    for _ in range(rounds):
        for name, values in settings.items():
            say(f"batches: {name}")
            with ours(service, MODEL_THREADS="1", **values) as server:
                wait_for_workers(server.port, 2)
                warm_up(server.port, ASKED, 64)
                one = load(server.port, ASKED, 64, seconds)
                found.setdefault(name, []).append((one.good_per_s, one.quantile_ms(0.99)))
    base = median(rate for rate, _ in next(iter(found.values())))
    rows: Rows = []
    for name, measured in found.items():
        rate, p99 = (median(column) for column in zip(*measured, strict=True))
        rows.append((name, f"{rate:.0f}", f"{rate / base:.2f}", f"{p99:.0f}"))
    cost = cost_in_batches()
    text = (
        "A transformer of 4 layers, 64 clients. In the model alone, on one thread, each input of "
        f"a batch of 16 costs {cost:.2f} of one alone.\n\n"
    )
    return text + table(("how", "req/s", "ratio", "p99 ms"), rows), rows


def cost_in_batches() -> float:
    """Return what an input of a batch of 16 costs, of one alone."""
    import time

    import torch

    torch.set_num_threads(1)
    layer = torch.nn.TransformerEncoderLayer(96, 4, 192, batch_first=True)
    model = torch.nn.TransformerEncoder(layer, 4).eval()

    def seconds(size: int) -> float:
        times = []
        with torch.inference_mode():
            for _ in range(30):
                began = time.perf_counter()
                model(torch.ones(size, 8, 96))
                times.append(time.perf_counter() - began)
        return median(times) / size

    return seconds(16) / seconds(1)


def overload(rounds: int, seconds: float) -> tuple[str, Rows]:
    """Return what is left of the best goodput at twice the clients that give it."""
    rows: Rows = []
    for profile in ("uvicorn", "gunicorn-gevent"):
        found: dict[int, list[tuple[float, float, float]]] = {64: [], 128: []}
        for _ in range(rounds):
            say(f"overload: {profile}")
            with ours(services.BUSY, WORKERS="1", MODEL_SERVER=profile) as server:
                warm_up(server.port, ASKED, 8)
                for clients, values in found.items():
                    one = load(server.port, ASKED, clients, seconds)
                    refused_per_s = one.refused / seconds
                    values.append((one.good_per_s, one.quantile_ms(0.99), refused_per_s))
        full, twice = ([median(c) for c in zip(*v, strict=True)] for v in found.values())
        rows.append(
            (
                profile,
                f"{full[0]:.0f}",
                f"{twice[0]:.0f}",
                f"{100 * twice[0] / full[0]:.0f} %",
                f"{full[1]:.0f}",
                f"{twice[1]:.0f}",
                f"{twice[1] / full[1]:.2f}",
                f"{twice[2]:.0f}",
            )
        )
    text = (
        "One worker whose predictions compute for 8 ms: 64 clients, as many as may wait, then 128, "
        "who ask again at once when they are refused.\n\n"
    )
    heads = ("profile", "good/s at 64", "at 128", "kept", "p99 ms", "at 128", "ratio", "refused/s")
    return text + table(heads, rows), rows


def memory(_rounds: int, _seconds: float) -> tuple[str, Rows]:
    """Return the memory of workers with a copy each, and with one for all."""
    service = services.TRANSFORMER.replace("BALLAST_MIB", "200")
    rows: Rows = []
    for workers in ("1", "2", "8"):
        cells = [workers]
        for processes in ("0", "1"):
            say(f"memory: {workers} workers, MODEL_PROCESSES={processes}")
            with ours(service, WORKERS=workers, MODEL_PROCESSES=processes) as server:
                wait_for_workers(server.port, int(workers))
                cells.append(f"{server.pss_mb():.0f}")
        rows.append((*cells, f"{float(cells[2]) / float(cells[1]):.2f}"))
    text = "A model of 210 MB of weights on torch; PSS of all processes in MB.\n\n"
    return text + table(("workers", "a copy each", "one copy", "ratio"), rows), rows


SECTIONS = {"streams": streams, "batches": batches, "overload": overload, "memory": memory}


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=SECTIONS, action="append", help="a section")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4, help="of each load")
    parser.add_argument("--keep", action="store_true", help=f"write {PAGE.name} into the tree")
    given = parser.parse_args()
    machine = this_machine()
    page = ["# Models that are large, slow, or speak in streams", "", f"{machine}.", ""]
    page += [remark_on(machine), ""] if remark_on(machine) else []
    for name in given.only or SECTIONS:
        text, _ = SECTIONS[name](given.rounds, given.seconds)
        page += [f"## {name.capitalize()}", "", text, ""]
    written = "\n".join(page).rstrip() + "\n"
    print(written)  # noqa: T201
    if given.keep:
        PAGE.write_text(written)


if __name__ == "__main__":
    main()
