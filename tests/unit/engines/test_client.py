"""Waiting for a service and asking it, against a server that answers as it is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from custom_image.engines.client import Prediction, ask_health, predict
from custom_image.engines.readiness import wait_until_ready
from custom_image.errors import ServiceNotReady, Unavailable

JPEG = b"\xff\xd8\xff\xe0 not much of a picture"


class Server(ThreadingHTTPServer):
    """Also an instance, as far as readiness looks at one."""

    def __init__(self) -> None:
        self.answers: dict[str, list[tuple[int, str]]] = {}
        self.bodies: list[bytes] = []
        self.running = True
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def is_running(self) -> bool:
        return self.running

    def logs(self) -> str:
        return "Traceback\nMemoryError\n"

    def wait(self, timeout_s: float) -> int | None:
        return 1


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def _answer(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        answers = self.server.answers[self.path]
        status, text = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = _answer  # noqa: N815 - http.server's names

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_service_is_ready_at_its_first_200(server: Server) -> None:
    server.answers["/health"] = [(503, "loading"), (503, "loading"), (200, "ok")]

    assert 0 < wait_until_ready(server, "/health", timeout_s=10) < 10
    assert len(server.bodies) == 3


def test_a_service_that_ends_is_not_waited_for(server: Server) -> None:
    server.answers["/health"] = [(500, "broken")]
    server.running = False

    with pytest.raises(ServiceNotReady) as caught:
        wait_until_ready(server, "/health", timeout_s=60)

    assert "ended with exit code 1 before GET /health answered 200" in str(caught.value)
    assert "| MemoryError" in str(caught.value)
    assert caught.value.log == server.logs()


def test_a_service_that_stays_unwell_says_what_it_last_answered(server: Server) -> None:
    server.answers["/health"] = [(503, "loading")]

    with pytest.raises(ServiceNotReady, match=r"within 0\.2 s; last: status 503"):
        wait_until_ready(server, "/health", timeout_s=0.2)


def test_a_port_that_nobody_listens_on_is_called_so(server: Server) -> None:
    server.url = "http://127.0.0.1:1"

    with pytest.raises(ServiceNotReady, match="last: connection refused"):
        wait_until_ready(server, "/health", timeout_s=0.2)


def test_a_prediction_is_sent_as_the_console_sends_it(server: Server) -> None:
    server.answers["/"] = [(200, '{"mnist_result": 7}\n')]

    answer = predict(server.url, JPEG, filename="seven.jpg")

    assert answer.ok
    assert answer.json == {"mnist_result": 7}
    assert answer.seconds > 0
    assert b'name="images"; filename="seven.jpg"' in server.bodies[0]
    assert JPEG in server.bodies[0]
    assert str(answer).startswith('POST / images=@seven.jpg -> 200 {"mnist_result": 7} (')


def test_a_refusal_is_an_answer(server: Server) -> None:
    server.answers["/"] = [(422, '{"error": "no picture"}')]

    answer = predict(server.url, b"not a picture")

    assert (answer.status, answer.ok) == (422, False)
    assert answer.json["error"] == "no picture"


def test_health_is_asked_where_the_platform_asks(server: Server) -> None:
    server.answers["/health"] = [(200, '{"health": "true"}')]

    assert ask_health(server.url).json == {"health": "true"}


def test_no_answer_at_all_is_unavailable() -> None:
    with pytest.raises(Unavailable, match=r"POST http://127\.0\.0\.1:1/ got no answer"):
        predict("http://127.0.0.1:1", JPEG)
    with pytest.raises(Unavailable, match="GET"):
        ask_health("http://127.0.0.1:1")


def test_jupyter_shows_the_picture_beside_the_answer() -> None:
    html = Prediction("POST /", 200, '{"a": "<b>"}', 0.0123, JPEG)._repr_html_()

    assert "data:image/jpeg;base64," in html
    assert "<b>200</b>" in html
    assert "&lt;b&gt;" in html, "an answer is text, never markup"
    assert "12 ms" in html


def test_jupyter_shows_what_was_sent_when_it_is_no_picture() -> None:
    html = Prediction("POST /", 422, "no", 0.01, b"<script>alert(1)</script>")._repr_html_()

    assert "<script>" not in html
    assert "25 bytes" in html
    assert "<img" not in Prediction("GET /health", 200, "ok", 0.01)._repr_html_()


def test_a_long_answer_is_shown_in_short() -> None:
    assert len(str(Prediction("GET /", 200, "x" * 10_000, 0.01))) < 600
