"""The client of the drills: one request on a connection of its own, never an exception."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Answer:
    """What came back; ``status`` 0 and the reason as ``text`` where nothing did."""

    status: int
    text: str

    def digit(self) -> int | None:
        """Return the predicted digit, or None where there is none in it."""
        try:
            told = json.loads(self.text)
            return int(told["mnist_result"]) if self.status == 200 else None
        except (ValueError, KeyError, TypeError):
            return None


def get(port: int, path: str, timeout_s: float = 2.0) -> Answer:
    """Ask for ``path``."""
    return _ask(port, "GET", path, None, {}, timeout_s)


def post(port: int, path: str, body: bytes, content_type: str, timeout_s: float = 10.0) -> Answer:
    """Send ``body`` to ``path``."""
    return _ask(port, "POST", path, body, {"Content-Type": content_type}, timeout_s)


def _ask(
    port: int,
    method: str,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
    timeout_s: float,
) -> Answer:
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_s)
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return Answer(response.status, response.read().decode(errors="replace"))
    except (OSError, http.client.HTTPException) as error:
        return Answer(0, f"{type(error).__name__}: {error}")
    finally:
        connection.close()
