"""A gateway in this process, in front of servers that behave as a test wants."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import uvicorn
from service_fields import SERVICE_FIELDS

from local_modelarts.gateway.app import Gateway
from local_modelarts.gateway.request import PREFIXES
from local_modelarts.http.server import make_app
from local_modelarts.platform import Platform
from local_modelarts.runtime.routing import Route, Routing, Target
from local_modelarts.settings import Settings
from local_modelarts.storage.paths import Identity
from local_modelarts.storage.resources import Service
from local_modelarts.storage.store import State

SERVICE_ID = "0d1e2f30-0000-4000-8000-000000000001"
IDENTITY = Identity("bench", "project", "ACCESS", "SECRET", 1, 2)
Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Bench:
    """One service behind a gateway.

    Attributes:
        connections: how many the servers behind it have accepted.
    """

    def __init__(self, settings: Settings) -> None:
        self.state = State(Path(":memory:"))
        self.routing = Routing()
        nothing: Any = None
        self.platform = Platform(
            nothing, IDENTITY, settings, self.state, nothing, nothing, nothing, nothing, ""
        )
        self.gateway = Gateway(self.platform, self.routing)
        self.connections = 0
        self.generation = 1
        self.port = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: uvicorn.Server | None = None
        self._behind: list[asyncio.Server] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{PREFIXES[self.generation]}{SERVICE_ID}"

    def route(self, *behaviours: Behaviour, protocol: str = "http", **row: Any) -> None:
        """Send requests to servers that behave like this; a fresh server for each."""
        targets = [
            Target(f"t{number}", f"instance-{number}", "model 1.0.0", "127.0.0.1", port, protocol)
            for number, port in enumerate(self._listen(b) for b in behaviours)
        ]
        self.route_to(*targets, **row)

    def route_to(self, *targets: Target, generation: int = 1, **row: Any) -> None:
        fields = SERVICE_FIELDS | {"generation": generation} | row
        self.generation = generation
        if self.state.get(Service, SERVICE_ID) is None:
            self.state.add(Service, SERVICE_ID, "RUNNING", **SERVICE_FIELDS)
        service = Service(id=SERVICE_ID, status="RUNNING", create_at=0, update_at=0, **fields)
        self.routing.publish({SERVICE_ID: Route(service, ((100, tuple(targets)),))})

    def _listen(self, behaviour: Behaviour) -> int:
        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.connections += 1
            try:
                await behaviour(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                writer.close()

        async def listen() -> int:
            server = await asyncio.start_server(accept, "127.0.0.1", 0)
            self._behind.append(server)
            return int(server.sockets[0].getsockname()[1])

        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(listen(), self._loop).result(5)

    def serve(self, started: threading.Event) -> None:
        app = make_app(self.platform, [], [], dict.fromkeys(PREFIXES.values(), self.gateway))
        websocket: Any = self.gateway.websocket
        config = uvicorn.Config(
            app,
            port=0,
            lifespan="off",
            log_level="critical",
            timeout_graceful_shutdown=1,
            server_header=False,
            ws=websocket,
        )
        self._server = uvicorn.Server(config)

        async def run() -> None:
            self._loop = asyncio.get_running_loop()
            assert self._server is not None
            serving = asyncio.create_task(self._server.serve())
            while not self._server.started:
                await asyncio.sleep(0.01)
            self.port = self._server.servers[0].sockets[0].getsockname()[1]
            started.set()
            await serving
            for server in self._behind:
                server.close()

        asyncio.run(run())

    def stop(self) -> None:
        assert self._server is not None
        self._server.should_exit = True


@contextmanager
def bench(**settings: Any) -> Iterator[Bench]:
    """Start a gateway, and end it."""
    found = Bench(Settings(**{"requests_per_s": 10**6} | settings))
    started = threading.Event()
    thread = threading.Thread(target=found.serve, args=(started,))
    thread.start()
    assert started.wait(10)
    try:
        yield found
    finally:
        found.stop()
        thread.join()


def error(answer: requests.Response) -> tuple[int, str, str]:
    """Return status, code and message of a refusal."""
    body = answer.json()
    assert body["request_id"] == answer.headers["X-Request-Id"]
    return answer.status_code, body["error_code"], body["error_msg"]


# --- behaviours -----------------------------------------------------------------------------------


async def read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    """Return the request line and the headers, under lower-case names."""
    text = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *headers = text.strip().split("\r\n")
    pairs = (header.partition(": ") for header in headers)
    return line, {name.lower(): value for name, _, value in pairs}


async def read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> AsyncIterator[bytes]:
    """Yield the body piece by piece."""
    if "content-length" in headers:
        left = int(headers["content-length"])
        while left:
            part = await reader.read(min(left, 1 << 16))
            left -= len(part)
            yield part
        return
    while headers.get("transfer-encoding") == "chunked":
        size = int((await reader.readuntil(b"\r\n")).strip(), 16)
        part = await reader.readexactly(size)
        await reader.readexactly(2)
        if not size:
            return
        yield part


def reply(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer request after request: its first line, its headers, how long its body was."""
    while True:
        line, headers = await read_head(reader)
        size = 0
        async for part in read_body(reader, headers):
            size += len(part)
        writer.write(reply(f"{line}|{size}|{sorted(headers)}".encode()))
        await writer.drain()


def after(pause_s: float, answer: bytes) -> Behaviour:
    """Return a server that takes its time."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await asyncio.sleep(pause_s)
        writer.write(answer)
        await writer.drain()

    return behave
