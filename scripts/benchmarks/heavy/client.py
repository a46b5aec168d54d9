"""Clients of one event loop: streams read part by part, and loads of a fixed number of clients."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

HOST = "127.0.0.1"


@dataclass
class Streams:
    """What clients saw of the streams they read, in seconds.

    Attributes:
        first_s: from asking to the first part, of each stream.
        gaps_s: between parts, of all streams.
    """

    first_s: list[float] = field(default_factory=list)
    gaps_s: list[float] = field(default_factory=list)
    parts: int = 0
    seconds: float = 0.0
    failed: int = 0


@dataclass
class Load:
    """What a fixed number of clients saw that ask again at once.

    Attributes:
        latencies_s: of good answers, sorted.
        refused: answers of 503.
        failed: other answers, and broken connections.
    """

    seconds: float
    latencies_s: list[float] = field(default_factory=list)
    refused: int = 0
    failed: int = 0

    @property
    def good_per_s(self) -> float:
        """Good answers a second."""
        return len(self.latencies_s) / self.seconds

    def quantile_ms(self, part: float) -> float:
        """Return a quantile of the good answers' latency."""
        return quantile(self.latencies_s, part) * 1000


def quantile(values: list[float], part: float) -> float:
    """Return a quantile; of nothing, none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("nan")


def request(path: str, body: bytes, content_type: str = "application/json") -> bytes:
    """Return a whole POST."""
    head = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def read_streams(port: int, asked: bytes, clients: int, seconds: float) -> Streams:
    """Let so many clients read streams, each the next one when one has ended."""
    found = Streams()

    async def read_one() -> None:
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            began = last = time.perf_counter()
            writer.write(asked)
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head[:16]:
                found.failed += 1
                return
            is_first = True
            while size := int(await reader.readline(), 16):
                await reader.readexactly(size + 2)
                now = time.perf_counter()
                if is_first:
                    found.first_s.append(now - began)
                else:
                    found.gaps_s.append(now - last)
                is_first, last = False, now
                found.parts += 1
        except (OSError, ValueError, asyncio.IncompleteReadError):
            found.failed += 1
        finally:
            writer.close()

    async def client(until: float) -> None:
        while time.perf_counter() < until:
            await read_one()

    async def run() -> None:
        until = time.perf_counter() + seconds
        await asyncio.gather(*(client(until) for _ in range(clients)))

    began = time.perf_counter()
    asyncio.run(run())
    found.seconds = time.perf_counter() - began
    return found


def load(port: int, asked: bytes, clients: int, seconds: float) -> Load:
    """Let so many clients ask on kept-alive connections, refused ones again at once."""
    found = Load(seconds)

    async def client(until: float) -> None:
        streams = None
        while time.perf_counter() < until:
            try:
                if streams is None:
                    streams = await asyncio.open_connection(HOST, port)
                began = time.perf_counter()
                streams[1].write(asked)
                head = (await streams[0].readuntil(b"\r\n\r\n")).lower()
                size = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
                await streams[0].readexactly(size)
            except (OSError, IndexError, asyncio.IncompleteReadError):
                found.failed += 1
                head = b"connection: close"
            else:
                if head[9:12] == b"200":
                    found.latencies_s.append(time.perf_counter() - began)
                elif head[9:12] == b"503":
                    found.refused += 1
                else:
                    found.failed += 1
            if b"connection: close" in head and streams is not None:
                streams[1].close()
                streams = None
        if streams is not None:
            streams[1].close()

    async def run() -> None:
        until = time.perf_counter() + seconds
        await asyncio.gather(*(client(until) for _ in range(clients)))

    asyncio.run(run())
    found.latencies_s.sort()
    return found
