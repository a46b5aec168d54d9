"""A socket that speaks the APIs of ModelArts and SWR as a test tells it, below the official SDK."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECRET = "the-secret-key-of-nobody"
Answer = tuple[int, object]


class FakeApi:
    """Answers by method and path; a list is answered one after the other, its last one again.

    An answer may be a function of the request's body. ``asked`` is what came, in order.
    """

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer] | Callable[[Any], Answer]] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.asked: list[tuple[str, object]] = []
        self.raw: list[tuple[dict[str, str], bytes]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                call = f"{self.command} {self.path.partition('?')[0]}"
                content = self.rfile.read(length)
                api.raw.append((dict(self.headers), content))
                try:
                    body = json.loads(content or b"null")
                except ValueError:
                    body = content
                api.asked.append((call, body))
                signed = self.headers.get("Authorization", "")
                assert "Signature=" in signed or "X-Auth-Token" in self.headers, call
                answers = api.answers.get(call, [(404, {"error_code": "X", "error_msg": call})])
                if callable(answers):
                    status, found = answers(body)
                else:
                    status, found = answers.pop(0) if len(answers) > 1 else answers[0]
                sent = json.dumps(found).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(sent)))
                for name, value in api.headers.get(call, {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(sent)

            do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def calls(self, beginning: str = "") -> list[str]:
        """Return what was asked, without bodies."""
        return [call for call, _ in self.asked if call.startswith(beginning)]

    def body(self, call: str) -> Any:
        """Return the body of the last request of this kind."""
        return next(body for asked, body in reversed(self.asked) if asked == call)


@contextmanager
def fake_api() -> Iterator[FakeApi]:
    api = FakeApi()
    thread = threading.Thread(target=api.server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield api
    finally:
        api.server.shutdown()
        thread.join()
        api.server.server_close()


def name_in_environment(api: FakeApi, monkeypatch: Any, home: Any) -> None:
    """Let the environment name this API and keys for it, and nothing else."""
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("MODELARTS_ENDPOINT", f"{api.url}/")
    monkeypatch.setenv("HUAWEICLOUD_SDK_AK", "access")
    monkeypatch.setenv("HUAWEICLOUD_SDK_SK", SECRET)
    monkeypatch.setenv("HUAWEICLOUD_SDK_PROJECT_ID", "project")
