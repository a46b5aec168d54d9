"""The gateway's client of HTTP beside httpcore: what each adds, and what each lets pass."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, suppress
from multiprocessing.connection import Connection
from statistics import median
from typing import Any, Final

import httpcore

from benchmarks.heavy.client import HOST, quantile
from benchmarks.page import table
from local_modelarts.gateway.upstream import Server, Upstream

REQUESTS: Final = 1000
BODY: Final = b"x" * 1000
STREAMS: Final = 16
PARTS: Final = 100
PART_S: Final = 0.01
LARGE_BYTES: Final = 12 * 10**6
_PATIENCE_S: Final = 5.0
Ask = Callable[[str, bytes], Awaitable[tuple[int, AsyncIterator[bytes]]]]


def serve(ready: Connection) -> None:
    """Answer at once, in parts, before the body is read, or after ``100 Continue``."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split()[1]
                if path == b"/early":  # and closes, its body unread, when the client has
                    writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")
                    await asyncio.sleep(_PATIENCE_S)
                    break
                if path == b"/continue":
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]
                await reader.readexactly(int(length or 0))
                if path == b"/stream":
                    await _stream(writer)
                else:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(answer, HOST, 0)
        ready.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


async def _stream(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(PARTS):
        await asyncio.sleep(PART_S)
        part = b"%.6f\n" % time.monotonic()
        writer.write(b"%x\r\n%b\r\n" % (len(part), part))
        await writer.drain()
    writer.write(b"0\r\n\r\n")


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 65536):
        yield body[start : start + 65536]


def by_hand(port: int) -> Ask:
    """Return what asks by the gateway's own client."""
    upstream, server = Upstream(), Server("s", HOST, port)

    async def ask(path: str, body: bytes) -> tuple[int, AsyncIterator[bytes]]:
        head = f"POST {path} HTTP/1.1\r\nHost: m\r\nContent-Length: {len(body)}\r\n\r\n"
        exchange = await upstream.send(server, head.encode(), _pieces(body))
        return exchange.status, exchange.body()

    return ask


def by_httpcore(port: int) -> Ask:
    """Return what asks by httpcore, streaming both ways."""
    pool = httpcore.AsyncConnectionPool(max_connections=100)

    async def ask(path: str, body: bytes) -> tuple[int, AsyncIterator[bytes]]:
        response = await pool.handle_async_request(
            httpcore.Request(
                "POST",
                f"http://{HOST}:{port}{path}",
                headers=[("Host", "m"), ("Content-Length", str(len(body)))],
                content=_pieces(body),
            )
        )

        async def whole() -> AsyncIterator[bytes]:
            try:
                async for part in response.aiter_stream():
                    yield part
            finally:
                await response.aclose()

        return response.status, whole()

    return ask


def bare(port: int) -> Ask:
    """Return what asks with no client at all, by a connection for each request of its own."""
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(path: str, body: bytes) -> tuple[int, AsyncIterator[bytes]]:
        reader, writer = idle.pop() if idle else await asyncio.open_connection(HOST, port)
        writer.write(b"POST %b HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(body)))
        writer.write(body)
        head = await reader.readuntil(b"\r\n\r\n")

        async def whole() -> AsyncIterator[bytes]:
            if b"chunked" in head:
                while size := int(await reader.readline(), 16):
                    yield (await reader.readexactly(size + 2))[:-2]
                await reader.readline()
            else:
                yield await reader.readexactly(2)
            idle.append((reader, writer))

        return int(head.split()[1]), whole()

    return ask


WAYS: Final = {"no client": bare, "here": by_hand, "httpcore": by_httpcore}


async def _figures(ask: Ask) -> dict[str, float]:
    latencies: list[float] = []
    delays: list[float] = []
    cpu = time.process_time()
    for _ in range(REQUESTS):
        began = time.perf_counter()
        _, parts = await ask("/small", BODY)
        async for _ in parts:
            pass
        latencies.append(1000 * (time.perf_counter() - began))
    cpu = time.process_time() - cpu

    async def read_stream() -> None:
        _, parts = await ask("/stream", b"")
        async with aclosing(parts) as pieces:  # type: ignore[type-var]
            async for piece in pieces:
                now = time.monotonic()
                delays.extend(1000 * (now - float(sent)) for sent in piece.split())

    await asyncio.gather(*(read_stream() for _ in range(STREAMS)))
    assert len(delays) == STREAMS * PARTS
    return {
        "request p50, ms": median(latencies),
        "request p99, ms": quantile(latencies, 0.99),
        "CPU of a request, ms": 1000 * cpu / REQUESTS,
        "part p50, ms": median(delays),
        "part p99, ms": quantile(delays, 0.99),
    }


async def _outcome(ask: Ask, path: str, body: bytes) -> str:
    try:
        async with asyncio.timeout(_PATIENCE_S - 1):
            status, parts = await ask(path, body)
            return f"{status} {b''.join([part async for part in parts]).decode()}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the outcome
        return type(error).__name__


def measure(rounds: int) -> str:
    """Return the tables."""
    processes = multiprocessing.get_context("spawn")
    here, there = processes.Pipe()
    server = processes.Process(target=serve, args=(there,), daemon=True)
    server.start()
    port = here.recv()

    async def run() -> tuple[dict[str, list[dict[str, float]]], list[tuple[str, ...]]]:
        asks: dict[str, Any] = {way: make(port) for way, make in WAYS.items()}
        found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way, ask in asks.items():
                found[way].append(await _figures(ask))
        return found, [
            (
                way,
                await _outcome(asks[way], "/early", bytes(LARGE_BYTES)),
                await _outcome(asks[way], "/continue", BODY),
            )
            for way in ("here", "httpcore")
        ]

    try:
        found, passed = asyncio.run(run())
    finally:
        server.terminate()
        server.join()
    names = list(found["here"][0])
    middle = {way: [median(one[name] for one in found[way]) for name in names] for way in found}
    rows = []
    for way, figures in middle.items():
        added = [value - floor for value, floor in zip(figures, middle["no client"], strict=True)]
        shown = [f"{value:.3f}" for value in figures]
        if way != "no client":
            shown = [f"{value} ({more:+.3f})" for value, more in zip(shown, added, strict=True)]
        rows.append((way, *shown))
    heads = ("way", f"413 before {LARGE_BYTES // 10**6} MB are read", "200 after 100 Continue")
    return (
        f"{REQUESTS} requests of 1 kB one after the other, then {STREAMS} streams of {PARTS} parts "
        f"at once; medians of {rounds} rounds, ways in turn; in brackets what is added to "
        f"no client at all. httpcore {httpcore.__version__}.\n\n{table(('way', *names), rows)}\n\n"
        f"{table(heads, passed)}"
    )
