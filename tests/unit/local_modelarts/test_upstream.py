"""The gateway's client: an answer that comes before the request was read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from local_modelarts.gateway.upstream import Server, Upstream


async def chunks(size_bytes: int) -> AsyncIterator[bytes]:
    for _ in range(size_bytes // 65536):
        yield bytes(65536)


def test_a_refusal_arrives_though_the_server_reads_no_more_and_stays_connected() -> None:
    done = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")
        await done.wait()
        writer.close()

    async def ask() -> tuple[int, bytes]:
        size_bytes = 64 << 20  # more than sockets and streams hold
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        head = f"POST / HTTP/1.1\r\nHost: m\r\nContent-Length: {size_bytes}\r\n\r\n".encode()
        upstream = Upstream()
        async with server:
            try:
                async with asyncio.timeout(30):  # without an answer it would wait for ever
                    address = Server("s", "127.0.0.1", port)
                    exchange = await upstream.send(address, head, chunks(size_bytes))
                    return exchange.status, b"".join([part async for part in exchange.body()])
            finally:
                done.set()

    assert asyncio.run(ask()) == (413, b"large")
