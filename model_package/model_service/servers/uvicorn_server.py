"""The profile ``uvicorn``: the application behind uvicorn, uvloop and httptools."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Generator
from typing import Any

import uvicorn

from model_service.http.application import Application
from model_service.servers.asgi import AsgiAdapter
from model_service.servers.turns import Turns
from model_service.servers.uvicorn_protocol import Protocol

TICK_SECONDS = 0.1


def serve(application: Application, listener: socket.socket) -> None:
    """Serve until the board says stop, and the open requests are answered."""
    settings, adapter = application.settings, AsgiAdapter(application)
    config = uvicorn.Config(
        adapter,
        http=Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        # A client that counts 200 s itself must not meet the closing of its connection.
        timeout_keep_alive=int(settings.keep_alive_seconds) + 2,
        timeout_graceful_shutdown=int(settings.finish_seconds),
    )
    server = _Server(config, application, listener)
    adapter.connections = server.server_state.connections
    server.run()


class _Server(uvicorn.Server):
    """Accepts in turn with the other workers, and obeys the board instead of signals."""

    def __init__(
        self, config: uvicorn.Config, application: Application, listener: socket.socket
    ) -> None:
        super().__init__(config)
        self._board = application.board
        self._slot = application.slot
        self._turns = Turns(application.board, application.slot)
        self._linger_seconds = application.settings.linger_seconds
        self._listener = listener
        self._arriving: set[asyncio.Task[Any]] = set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave signals to the supervisor."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections here instead of in the event loop, which would take them all."""
        await self.lifespan.startup()
        self.servers = []
        self._listen()
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Show a sign of life, and look whether to stop."""
        self._board.beat(self._slot)
        self.should_exit = self.should_exit or self._board.stopping
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, answer what is open, close what is idle."""
        asyncio.get_running_loop().remove_reader(self._listener)
        # Whoever closes the listener last resets what nobody has accepted: the supervisor lets no
        # more in, and one that was half-way in is there after a moment.
        for _ in range(2):
            self._accept_many(socket.SOMAXCONN)
            await asyncio.sleep(TICK_SECONDS / 2)
        self._accept_many(socket.SOMAXCONN)
        self._listener.close()
        # A connection that was accepted a moment ago has its request still on the way.
        deadline = time.monotonic() + self._linger_seconds
        while self._count_connections() and time.monotonic() < deadline:
            await asyncio.sleep(TICK_SECONDS / 2)
        await super().shutdown(sockets)

    def _listen(self) -> None:
        if not self.should_exit:
            asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        number, pause_s = self._turns.take(self._count_connections())
        if not self._accept_many(number):
            pause_s = TICK_SECONDS
        self._turns.hold(self._count_connections())
        if pause_s:
            loop.remove_reader(self._listener)
            loop.call_later(pause_s, self._listen)

    def _accept_many(self, number: int) -> bool:
        """Accept what waits, at most so many; tell whether this worker could."""
        loop = asyncio.get_running_loop()
        try:
            for _ in range(number):
                client, _ = self._listener.accept()
                client.setblocking(False)
                task = loop.create_task(loop.connect_accepted_socket(self._protocol, client))
                self._arriving.add(task)
                task.add_done_callback(self._arriving.discard)
        except BlockingIOError:  # there are no more, or another worker was quicker
            pass
        except OSError:  # no more file descriptors, for example
            return False
        return True

    def _count_connections(self) -> int:
        return len(self.server_state.connections) + len(self._arriving)

    def _protocol(self) -> asyncio.Protocol:
        return Protocol(self.config, self.server_state, {})
