"""A Docker engine that is none: the few calls of its API that are used, on a unix socket.

It stands below the SDK, so that the SDK's own behaviour is part of what is tested. Give it answers
by path, without the version: ``fake.answers["GET /images/x/json"] = (404, {"message": "..."})``.
An answer may also be a function of the request's body, and may take its time.
"""

from __future__ import annotations

import json
import re
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote

Answer = tuple[int, Any]
VERSION = {"ApiVersion": "1.41", "MinAPIVersion": "1.12", "Version": "20.10.24", "Os": "linux"}


class FakeDocker(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def __init__(self, socket_path: Path) -> None:
        self.answers: dict[str, Answer | Callable[[bytes], Answer]] = {}
        self.requests: list[str] = []
        self.url = f"unix://{socket_path}"
        super().__init__(str(socket_path), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that goes away is what some tests are about."""

    def asked(self, beginning: str) -> list[str]:
        return [request for request in self.requests if request.startswith(beginning)]


class _Handler(BaseHTTPRequestHandler):
    server: FakeDocker
    protocol_version = "HTTP/1.1"

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        body = self._body()
        path, _, query = self.path.partition("?")
        path = re.sub(r"^/v[0-9.]+", "", unquote(path))
        call = f"{self.command} {path}"
        self.server.requests.append(f"{call}?{unquote(query)}" if query else call)
        known: dict[str, Answer] = {
            "GET /_ping": (200, "OK"),
            "GET /version": (200, VERSION),
            "GET /info": (200, {"MemTotal": 2**33}),
        }
        missing = (404, {"message": f"no answer for {call}"})
        answer = self.server.answers.get(call) or known.get(call, missing)
        status, content = answer(body) if callable(answer) else answer
        text = content if isinstance(content, str | bytes) else json.dumps(content)
        data = text.encode() if isinstance(text, str) else text
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    do_GET = do_POST = do_DELETE = do_HEAD = _answer  # noqa: N815 - http.server's names


@contextmanager
def fake_docker(socket_path: Path) -> Iterator[FakeDocker]:
    server = FakeDocker(socket_path)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
