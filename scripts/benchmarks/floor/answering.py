"""A server that answers at a rate and does nothing else: ``answering.py PORT BODY_BYTES RATE``.

It reads no more of HTTP than where a request ends, and keeps the load client as busy as a real
server at that many answers a second would.
"""

import asyncio
import sys
from typing import cast

import uvloop

port, body_bytes, rate = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
LAG_S = 0.05
BODY = b'{"mnist_result": 7}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
ANSWER = HEAD % len(BODY) + BODY


class Schedule:
    """When the next answer is due; what a busy machine delays is caught up, up to LAG_S."""

    due = 0.0

    def next(self, now: float) -> float:
        """Return the time of the next answer, on the event loop's clock."""
        self.due = max(self.due + 1 / rate, now - LAG_S)
        return self.due


schedule = Schedule()


class Answering(asyncio.Protocol):
    """One kept-alive connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self.transport = cast(asyncio.Transport, transport)
        self.received = b""

    def data_received(self, data: bytes) -> None:
        """Answer when it is due, once the whole body is there."""
        self.received += data
        head, blank_line, body = self.received.partition(b"\r\n\r\n")
        if head and blank_line and len(body) >= body_bytes:
            self.received = b""
            loop = asyncio.get_running_loop()
            loop.call_at(schedule.next(loop.time()), self.answer)

    def answer(self) -> None:
        """Answer, unless the client has left."""
        if not self.transport.is_closing():
            self.transport.write(ANSWER)


async def serve() -> None:
    """Listen, say so, and go on until killed."""
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", port)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await server.serve_forever()


uvloop.run(serve())
