"""HTTP/1.1 as good clients speak it, and as bad ones do."""

from __future__ import annotations

import select
import socket
import time
from contextlib import suppress

import pytest
from runtime import MULTIPART, head, upload, wait_for

from custom_image.mnist import encode_jpeg


@pytest.fixture(scope="module")
def seven(some_digits):
    """An upload that is answered by 7."""
    return upload(encode_jpeg(some_digits[7]))


SEVEN = b'{"mnist_result": 7}'


def test_health_answers_in_the_documented_shape(mnist):
    answer = mnist.health()

    assert (answer.status, answer.body) == (200, b'{"health": "true"}')
    assert answer.headers["content-type"] == "application/json"


def test_head_answers_as_get_without_a_body(mnist):
    with mnist.connect() as connection:
        answer = connection.ask("HEAD", "/health")

        assert (answer.status, answer.headers["content-length"]) == (200, "18")
        assert connection.ask("GET", "/health").body == b'{"health": "true"}'


@pytest.mark.parametrize(
    ("path", "allow"), [("/", "OPTIONS, POST"), ("/health", "GET, HEAD, OPTIONS")]
)
def test_options_says_what_a_path_is_asked_by(mnist, path, allow):
    answer = mnist.ask("OPTIONS", path)

    assert (answer.status, answer.headers["allow"], answer.body) == (204, allow, b"")


def test_options_of_the_whole_server_is_answered(mnist):
    assert mnist.ask("OPTIONS", "*").status == 204


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "TRACE"])
def test_another_method_is_refused_with_those_allowed(mnist, method):
    answer = mnist.ask(method, "/")

    assert (answer.status, answer.headers["allow"]) == (405, "OPTIONS, POST")
    assert method == "HEAD" or method in answer.error


@pytest.mark.parametrize("path", ["/predict", "//", "/health/", "/%00", "/" + "a" * 3000, "/?q=/"])
def test_an_unknown_path_is_answered_by_those_served(mnist, path):
    answer = mnist.ask("GET", path)

    assert answer.status == (405 if path.startswith("/?") else 404)
    assert answer.error


def test_a_percent_encoded_path_and_a_query_are_understood(mnist):
    assert mnist.ask("GET", "/he%61lth?verbose=1").status == 200


def test_a_request_id_is_returned_and_logged(mnist):
    answer = mnist.ask("GET", "/health", X_Request_Id="trace-1234")

    assert answer.headers["x-request-id"] == "trace-1234"
    assert "id=trace-1234" in mnist.logs()


@pytest.mark.parametrize("sent", [None, "with space", "x" * 129, "x\xe9"])
def test_a_request_without_a_usable_id_gets_one_of_its_own(mnist, sent):
    headers = {} if sent is None else {"X_Request_Id": sent}

    ids = {mnist.ask("GET", "/health", **headers).headers["x-request-id"] for _ in range(3)}

    assert len(ids) == 3
    assert sent not in ids


def test_a_connection_serves_one_request_after_another(mnist, seven):
    with mnist.connect() as connection:
        for _ in range(3):
            assert connection.ask("POST", "/", seven, Content_Type=MULTIPART).body == SEVEN
            assert connection.ask("GET", "/nowhere").status == 404


def test_a_refused_body_does_not_spoil_the_connection_or_closes_it(mnist, seven):
    with mnist.connect() as connection:
        answer = connection.ask("POST", "/nowhere", b"x" * 1000)

        assert answer.status == 404
        if answer.headers.get("connection") == "close":
            assert connection.closed_by_server()
        else:
            assert connection.ask("POST", "/", seven, Content_Type=MULTIPART).body == SEVEN


def test_pipelined_requests_are_answered_in_order(mnist, seven):
    post = head("POST", "/", len(seven), Content_Type=MULTIPART) + seven
    with mnist.connect() as connection:
        connection.send(post + head("GET", "/health") + post + head("GET", "/nowhere") + post)

        answers = [connection.read() for _ in range(5)]

    assert [answer.status for answer in answers] == [200, 200, 200, 404, 200]
    assert [answer.body for answer in answers[::2]] == [SEVEN] * 3


def test_a_client_that_expects_100_continue_gets_it(mnist, seven):
    headers = {"Content_Type": MULTIPART, "Expect": "100-continue"}
    with mnist.connect() as connection:
        connection.send(head("POST", "/", len(seven), **headers))
        assert connection.read_head()[0] == 100
        connection.send(seven)

        assert connection.read().body == SEVEN


def test_a_client_that_expects_100_continue_with_too_large_a_body_gets_413_instead(mnist):
    headers = {"Content_Type": MULTIPART, "Expect": "100-continue"}
    with mnist.connect() as connection:
        connection.send(head("POST", "/", 13_000_000, **headers))

        assert connection.read().status == 413


def test_a_client_of_http_1_0_is_answered_and_closed(mnist):
    with mnist.connect() as connection:
        connection.send(b"GET /health HTTP/1.0\r\n\r\n")

        assert connection.read().status == 200
        assert connection.closed_by_server()


def test_a_client_that_asks_to_close_is_closed(mnist):
    with mnist.connect() as connection:
        answer = connection.ask("GET", "/health", Connection="close")

        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert connection.closed_by_server()


def test_a_half_closed_client_still_gets_its_answer(mnist, seven):
    with mnist.connect() as connection:
        connection.send(head("POST", "/", len(seven), Content_Type=MULTIPART) + seven)
        connection.socket.shutdown(socket.SHUT_WR)

        assert connection.read().body == SEVEN


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 200,
        b"hello\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nbroken header\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ten\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /health HTTP/7.3\r\n\r\n",
    ],
    ids=["TLS", "words", "header", "length", "negative", "two lengths", "CONNECT", "version"],
)
def test_what_is_no_request_is_refused_in_json_and_closed(mnist, garbage):
    with mnist.connect() as connection:
        connection.send(garbage)

        answer = connection.read()

        assert answer.status in (400, 404, 405, 408)
        assert answer.error
        assert connection.closed_by_server()
    assert mnist.is_healthy()


def test_a_broken_chunk_is_refused(mnist):
    with mnist.connect() as connection:
        connection.send(head("POST", "/", Transfer_Encoding="chunked", Content_Type=MULTIPART))
        connection.send(b"zz\r\nhello\r\n0\r\n\r\n")

        answer = connection.read()

        assert answer.status == 400
        assert answer.error


def test_a_head_without_end_is_refused_at_its_limit(mnist):
    with mnist.connect() as connection:
        connection.send(b"GET /health HTTP/1.1\r\nHost: a\r\n")
        try:
            for number in range(2000):
                connection.send(b"X-Padding-%d: %s\r\n" % (number, b"x" * 400))
        except ConnectionError:
            pass  # refused while it was still sending, which is as good

        try:
            assert connection.read().status in (400, 431)
        except ConnectionError:
            assert mnist.is_healthy()


def test_a_body_that_never_ends_is_refused(mnist):
    with mnist.connect() as connection:
        connection.send(head("POST", "/", 1000, Content_Type=MULTIPART) + b"x" * 10)

        answer = connection.read()

    assert (answer.status, answer.headers["connection"]) == (408, "close")


def test_clients_that_send_a_byte_now_and_then_stop_nobody(mnist, seven):
    slow = [mnist.connect() for _ in range(40)]
    request = head("POST", "/", 1000, Content_Type=MULTIPART)
    try:
        for position in range(20):
            for connection in slow:
                connection.send(request[position : position + 1])
            assert mnist.post(seven).body == SEVEN
    finally:
        for connection in slow:
            connection.socket.close()


@pytest.mark.parametrize("sent", [b"", b"GET /hea", None], ids=["nothing", "a head", "a body"])
def test_a_client_that_half_closes_in_the_middle_is_let_go(mnist, sent):
    part = head("POST", "/", 1000, Content_Type=MULTIPART) + b"x" * 10
    with mnist.connect() as connection:
        connection.send(part if sent is None else sent)
        connection.socket.shutdown(socket.SHUT_WR)

        with suppress(ConnectionError):  # nothing was asked, or nobody waits for an answer
            assert 400 <= connection.read().status < 500
        assert connection.closed_by_server()
    assert mnist.is_healthy()


def test_a_head_that_trickles_in_is_cut_off_however_steady_it_is(mnist):
    """The time of a head, here 1 s, is not begun anew by every byte of it."""
    with mnist.connect() as connection:
        connection.send(b"GET /health HTTP/1.1\r\nX-Slow: ")
        began = time.monotonic()

        def trickle():
            try:
                connection.send(b"x")
            except ConnectionError:
                return True
            return not is_silent(connection)

        wait_for(trickle, "the answer", 5)
        answer = connection.read()

    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert time.monotonic() - began >= 0.9


def is_silent(connection) -> bool:
    readable, _, _ = select.select([connection.socket], [], [], 0.05)
    return not readable


def test_a_client_that_leaves_in_the_middle_of_its_body_is_noted(mnist):
    with mnist.connect() as connection:
        target = f"/?{time.monotonic_ns()}"
        connection.send(head("POST", target, 1000, Content_Type=MULTIPART) + b"x" * 10)

    wait_for(lambda: f"path={target} status=499" in mnist.logs(), "the line of the request")


def test_logs_are_lines_of_key_and_value_on_standard_output_only(mnist, seven):
    target = f"/?{time.monotonic_ns()}"
    mnist.ask("POST", target, seven, Content_Type=MULTIPART)

    line = next(line for line in mnist.logs().splitlines() if target in line)
    fields = dict(pair.split("=", 1) for pair in line.split() if "=" in pair)

    assert " INFO request " in line
    assert {"method", "path", "status", "ms", "bytes", "id", "worker"} <= fields.keys()
    assert (fields["method"], fields["status"], fields["bytes"]) == ("POST", "200", "19")
    assert mnist.standard_error() == ""


def test_a_request_cannot_forge_a_log_line(mnist):
    forged = "2026-01-01T00:00:00.000Z INFO forged"

    mnist.ask("GET", "/a%0d%0a" + forged.replace(" ", "%20"))
    mnist.post(upload(b"x", part=f"a\n{forged}"))

    assert forged in mnist.logs()
    assert not any(line.startswith(forged) for line in mnist.logs().splitlines())


def test_metrics_count_the_requests_of_all_workers(mnist, seven):
    name = 'model_service_requests_total{path="/",status="200"}'
    count = 'model_service_request_seconds_count{path="/"}'
    before = mnist.metrics()

    for _ in range(20):
        mnist.post(seven)

    after = mnist.metrics()
    assert after[name] - before.get(name, 0) == 20
    assert after[count] - before.get(count, 0) == 20
    assert after['model_service_request_seconds_bucket{path="/",le="+Inf"}'] == after[count]
    assert after['model_service_workers{state="ready"}'] == 2
    assert after["model_service_draining"] == 0


def test_metrics_are_prometheus_text(mnist):
    answer = mnist.ask("GET", "/metrics")

    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in answer.body.decode().splitlines():
        assert line.startswith(("# HELP ", "# TYPE ")) or float(line.rsplit(" ", 1)[1]) >= 0


@pytest.mark.parametrize("protocol", ["websocket", "h2c"])
def test_an_offer_to_upgrade_is_declined_and_the_request_answered(mnist, seven, protocol):
    offer = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": protocol, "HTTP2_Settings": "AAMA"}
    request = head("POST", "/", len(seven), Content_Type=MULTIPART, **offer)
    with mnist.connect() as connection:
        connection.send(request + seven[:100])
        wait_for(lambda: mnist.is_healthy(), "health")
        connection.send(seven[100:])
        assert connection.read().body == SEVEN

        assert connection.ask("GET", "/health", **offer).status == 200
        assert connection.ask("POST", "/", seven, Content_Type=MULTIPART).body == SEVEN
