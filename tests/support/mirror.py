"""A web server on loopback that gives files the way bad networks do."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Mirror:
    """What the server gives, and what it was asked.

    Attributes:
        files: name to content.
        faults: what goes wrong with the next GETs, one each: a status, ``cut:BYTES`` (the
            connection ends there), ``stall:BYTES`` (nothing more comes), ``hang up``.
        resumes: whether it knows the header Range.
        headers: added to every answer.
        asked: path and Range of each GET so far.
    """

    files: dict[str, bytes]
    faults: list[str] = field(default_factory=list)
    resumes: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""
    closing: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serve(mirror: Mirror) -> Iterator[Mirror]:
    """Serve on a free port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.answer(404, b"")

        def do_GET(self) -> None:
            asked_range = self.headers.get("Range", "")
            mirror.asked.append((self.path.removeprefix("/"), asked_range))
            fault = mirror.faults.pop(0) if mirror.faults else ""
            content = mirror.files.get(self.path.removeprefix("/"))
            if fault == "hang up":
                self.close_connection = True
            elif fault.isdigit():
                self.answer(int(fault), b"")
            elif content is None:
                self.answer(404, b"")
            else:
                self.give(content, asked_range, fault)

        def give(self, content: bytes, asked_range: str, fault: str) -> None:
            start = re.match(r"bytes=(\d+)-", asked_range) if mirror.resumes else None
            first = int(start[1]) if start else 0
            if first >= len(content):
                self.answer(416, b"")
                return
            body = content[first:]
            kind, _, limit = fault.partition(":")
            self.answer(206 if start else 200, body, int(limit) if limit else len(body))
            if kind == "stall":
                mirror.closing.wait(30)
            if kind:
                self.close_connection = True

        def answer(self, status: int, body: bytes, sent: int | None = None) -> None:
            self.send_response(status)
            for name, value in mirror.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:sent])
            self.wfile.flush()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    mirror.url = f"http://127.0.0.1:{server.server_port}/mnist"
    mirror.files = {f"mnist/{name}": content for name, content in mirror.files.items()}
    try:
        yield mirror
    finally:
        mirror.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
