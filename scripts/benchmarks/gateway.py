"""The delay that the local platform's gateway adds to a stream's parts, in one run.

    python -m benchmarks.gateway --keep
    chrt --fifo 5 python -m benchmarks.gateway --keep    where others keep the machine busy; as root

Model, gateway and client are a process each. A part carries the time at which it was sent, by the
clock that all processes of a machine share. From a checkout: the gateway is started as tests do.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import sys
import time
from multiprocessing.connection import Connection
from statistics import median
from typing import Final

from benchmarks.heavy.client import HOST, quantile, request
from benchmarks.machine import this_machine
from benchmarks.page import remark_on, table
from benchmarks.peer import ROOT_DIR

PAGE: Final = ROOT_DIR / "scripts" / "benchmarks" / "gateway.md"
STREAMS: Final = (1, 16)
GENERATIONS: Final = {"v1": 1, "v2": 2}
DIRECT: Final = "no gateway"
PARTS: Final = 200
PART_S: Final = 0.01
REQUIRED_MS: Final = 5.0


def serve_model(ready: Connection) -> None:
    """Stream parts that say when they were sent, to whoever asks."""

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(PARTS):
            await asyncio.sleep(PART_S)
            event = b"data: %.6f\n\n" % time.monotonic()
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(stream, HOST, 0)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


def serve_gateway(ready: Connection, model_port: int, generation: int) -> None:
    """Lead to the model as a service of this generation, until told to end."""
    sys.path.insert(0, str(ROOT_DIR / "tests" / "support"))
    from gateway_bench import bench  # type: ignore[import-not-found]

    from local_modelarts.runtime.routing import Target

    with bench() as gate:
        target = Target("t", "instance", "model 1.0.0", HOST, model_port, "http")
        gate.route_to(target, generation=generation)
        ready.send(gate.url)
        ready.recv()


def delays_ms(url: str, streams: int) -> list[float]:
    """Read so many streams at once; return how long after its sending each part was there."""
    port, _, path = url.rpartition(":")[2].partition("/")
    found: list[float] = []

    async def read_one() -> None:
        reader, writer = await asyncio.open_connection(HOST, int(port))
        writer.write(request(f"/{path}", b""))
        await reader.readuntil(b"\r\n\r\n")
        while size := int(await reader.readline(), 16):
            chunk = await reader.readexactly(size + 2)
            now = time.monotonic()
            found.extend(
                1000 * (now - float(sent)) for sent in chunk.replace(b"data:", b"").split()
            )
        writer.close()

    async def run() -> None:
        await asyncio.gather(*(read_one() for _ in range(streams)))

    asyncio.run(run())
    assert len(found) == streams * PARTS, f"{len(found)} parts of {streams * PARTS}"
    return found


def measure(rounds: int) -> list[tuple[str, ...]]:
    """Return a row for each number of streams and each way, ways in turn in each round."""
    processes = multiprocessing.get_context("spawn")
    started = []

    def start(serve: object, *arguments: object) -> tuple[Connection, object]:
        here, there = processes.Pipe()
        process = processes.Process(target=serve, args=(there, *arguments), daemon=True)  # type: ignore[arg-type]
        process.start()
        started.append(process)
        return here, here.recv()

    try:
        _, port = start(serve_model)
        ways = {DIRECT: f"http://{HOST}:{port}/"}
        gates = []
        for name, generation in GENERATIONS.items():
            gate, url = start(serve_gateway, port, generation)
            gates.append(gate)
            ways[name] = str(url)
        found: dict[tuple[int, str], list[list[float]]] = {}
        for _ in range(rounds):
            for streams in STREAMS:
                for way, url in ways.items():
                    found.setdefault((streams, way), []).append(delays_ms(url, streams))
        for gate in gates:
            gate.send("end")
    finally:
        for process in started[1:]:
            process.join(10)
        for process in started:
            process.terminate()
    return [
        _row(streams, way, measured, found[streams, DIRECT])
        for (streams, way), measured in found.items()
    ]


def _row(
    streams: int, way: str, measured: list[list[float]], direct: list[list[float]]
) -> tuple[str, ...]:
    p99 = median(quantile(delays, 0.99) for delays in measured)
    added = [
        quantile(one, 0.99) - quantile(other, 0.99)
        for one, other in zip(measured, direct, strict=True)
    ]
    shown = "" if way == DIRECT else f"{median(added):.2f}"
    middle = median(median(delays) for delays in measured)
    return str(streams), way, f"{middle:.2f}", f"{p99:.2f}", shown


def _priority() -> str:
    if os.sched_getscheduler(0) != os.SCHED_FIFO:
        return ""
    return "Run at a real-time priority (`chrt`), since others kept the machine busy."


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--keep", action="store_true", help=f"write {PAGE.name} into the tree")
    given = parser.parse_args()
    machine = this_machine()
    heads = ("streams at once", "way", "delay ms (median)", "delay p99 ms", "added p99 ms")
    page = [
        "# What the gateway adds to a stream",
        f"{machine}.",
        _priority() or remark_on(machine),
        f"Streams of {PARTS} parts, one each {PART_S * 1000:g} ms; medians of {given.rounds} rounds"
        f" in which the ways take turns. Required: less than {REQUIRED_MS:g} ms added to p99.",
        table(heads, measure(given.rounds)),
    ]
    written = "\n\n".join(part for part in page if part) + "\n"
    print(written)  # noqa: T201
    if given.keep:
        PAGE.write_text(written)


if __name__ == "__main__":
    main()
