"""Answers in parts: each sent when it is made, ended by whoever ends it, and no place kept."""

from __future__ import annotations

import json
import re
import socket
import time

import pytest
from runtime import head, json_api, wait_for, write_package

from model_service.http.streams import to_event

# Every word of the body is a step of the generator; what happens is written beside the package.
SPEAKER = """
import asyncio
import os
import time
from pathlib import Path
from model_service.model_service import SingleNodeService

NOTES = Path(os.environ["TMPDIR"]) / "notes"

def note(text):
    with NOTES.open("a") as notes:
        notes.write(text + "\\n")

class Speaker(SingleNodeService):
    def _preprocess(self, data):
        if not isinstance(data["words"], list):
            raise ValueError("`words` is no list")
        return data

    def _inference(self, data):
        return data

    def _postprocess(self, data):
        if data.get("whole"):
            return {"said": data["words"]}
        return self.speak_async(data) if data.get("async") else self.speak(data)

    def speak(self, data):
        note("begun")
        try:
            for word in data["words"]:
                time.sleep(data.get("pause", 0))
                if isinstance(word, float):
                    time.sleep(word)
                    continue
                if word == "fail":
                    raise RuntimeError("out of words")
                note(f"made {word}")
                yield (word * data.get("size", 1)).encode() if data.get("bytes") else word
            while data.get("for_ever"):
                time.sleep(0.05)
                yield "again"
        finally:
            note("finally")

    async def speak_async(self, data):
        note("begun")
        try:
            for word in data["words"]:
                await asyncio.sleep(data.get("pause", 0))
                if isinstance(word, float):
                    await asyncio.sleep(word)
                    continue
                if word == "fail":
                    raise RuntimeError("out of words")
                yield word
            while data.get("for_ever"):
                await asyncio.sleep(data.get("pause", 0.05))
                yield "again"
        finally:
            note("finally")
"""
CONFIG = {"apis": [json_api(words={"type": "array", "default": ["hello"]})]}
KINDS = pytest.mark.parametrize("kind", [{}, {"async": True}], ids=["iterator", "asynchronous"])


@pytest.fixture
def speaker(tmp_path):
    return write_package(tmp_path / "speaker", SPEAKER, CONFIG)


@pytest.fixture
def serve(start, speaker, profile):
    def serve(**settings):
        settings = {"WORKERS": "1", "MODEL_SERVER": profile, **settings}
        return start(speaker, **settings).wait_until_ready()

    return serve


def notes(runtime) -> list[str]:
    return (runtime.folder / "tmp" / "notes").read_text().split("\n")[:-1]


def ask(connection, *words, version="1.1", **data):
    body = json.dumps({"words": words, **data}).encode()
    request = head("POST", "/", len(body), Content_Type="application/json") + body
    connection.send(request.replace(b"HTTP/1.1", f"HTTP/{version}".encode(), 1))


def read_chunks(connection):
    """Yield the chunks of a chunked answer whose head was read, each when it has come."""
    reader = connection.socket.makefile("rb")
    rest, connection._buffer = connection._buffer, b""

    def line():
        nonlocal rest
        while b"\r\n" not in rest:
            rest += reader.read1(65536) or pytest.fail("closed in the middle of a stream")
        text, rest = rest.split(b"\r\n", 1)
        return text

    while size := int(line(), 16):
        while len(rest) < size + 2:
            rest += reader.read1(65536) or pytest.fail("closed in the middle of a chunk")
        chunk, rest = rest[:size], rest[size + 2 :]
        yield chunk
    assert line() == b""
    connection._buffer = rest


def text_of(connection) -> str:
    return b"".join(read_chunks(connection)).decode()


@pytest.mark.parametrize(
    ("part", "event"),
    [
        (b"as it is", b"as it is"),
        ("word", b"data: word\n\n"),
        ("two\nlines", b"data: two\ndata: lines\n\n"),
        ("", b"data: \n\n"),
        ("\n\n", b"data: \ndata: \ndata: \n\n"),
        (":\n\n", b"data: :\ndata: \ndata: \n\n"),
        ({"n": 1}, b'data: {"n": 1}\n\n'),
        ([1, None], b"data: [1, null]\n\n"),
        ("data: framed\n\n", b"data: framed\n\n"),
        ("event: e\nid: 1\ndata: a\ndata: b\n\n", b"event: e\nid: 1\ndata: a\ndata: b\n\n"),
        ("data: a\n\ndata: b\r\n\r\n", b"data: a\n\ndata: b\r\n\r\n"),
        (": still there\n\n", b": still there\n\n"),
        ("data: no end of the event\n", b"data: data: no end of the event\ndata: \n\n"),
        ("data: a\nfree text\n\n", b"data: data: a\ndata: free text\ndata: \ndata: \n\n"),
    ],
)
def test_a_part_becomes_an_event_unless_it_is_one(part, event):
    assert to_event(part) == event


@KINDS
def test_each_part_is_sent_when_it_is_made_and_the_connection_goes_on(serve, kind):
    runtime = serve()
    with runtime.connect() as connection:
        ask(connection, "once", {"n": 1}, "data: framed\n\n", pause=0.15, **kind)
        asked = time.monotonic()
        status, headers = connection.read_head()
        times = [(chunk, time.monotonic() - asked) for chunk in read_chunks(connection)]

        assert (status, headers["content-type"]) == (200, "text/event-stream;charset=UTF-8")
        assert headers["cache-control"] == "no-cache"
        assert "content-length" not in headers
        assert [chunk for chunk, _ in times] == [
            b"data: once\n\n",
            b'data: {"n": 1}\n\n',
            b"data: framed\n\n",
        ]
        # The first had come long before the last was made.
        assert times[0][1] < times[-1][1] - 0.2
        assert connection.ask("GET", "/health").status == 200

    line = next(line for line in runtime.logs().splitlines() if "method=POST" in line)
    assert 'note="a stream of 3 parts"' in line
    metrics = runtime.metrics()
    assert metrics['model_service_streams_total{path="/",end="complete"}'] == 1
    assert metrics['model_service_stream_first_part_seconds_count{path="/"}'] == 1
    assert metrics['model_service_stream_gap_seconds_count{path="/"}'] == 2
    assert metrics['model_service_stream_gap_seconds_sum{path="/"}'] >= 0.3
    assert metrics["model_service_streams_open"] == 0


SAYS_SO = """
from model_service.model_service import SingleNodeService

class Tokens:
    def __iter__(self):
        return iter(["a", "b"])

class Late:
    async def __aiter__(self):
        yield "a"
        yield "b"

ANSWERS = {
    "list": ["a", "b"],
    "streamer": Tokens(),
    "asynchronous": Late(),
    "generator": (word for word in "ab"),
    "object": {"a": "b"},
    "text": "ab",
    "bytes": b"ab",
    "number": 1,
}

class Speaker(SingleNodeService):
    streams = True

    def _postprocess(self, data):
        return ANSWERS[data["kind"]]
"""
CAN_BE = {"type": "string", "default": "list"}


@pytest.mark.parametrize("copies", ["0", "1"], ids=["a copy in the worker", "one copy"])
def test_a_class_that_says_so_sends_whatever_it_returns_in_parts(start, tmp_path, profile, copies):
    package = write_package(tmp_path / "p", SAYS_SO, {"apis": [json_api(kind=CAN_BE)]})
    settings = {"WORKERS": "1", "MODEL_SERVER": profile, "MODEL_PROCESSES": copies}
    runtime = start(package, **settings).wait_until_ready()

    two = b"data: a\n\ndata: b\n\n"
    expected = {
        **dict.fromkeys(("list", "streamer", "asynchronous", "generator"), two),
        "object": b'data: {"a": "b"}\n\n',
        "text": b"data: ab\n\n",
        "bytes": b"ab",
        "number": b"data: 1\n\n",
    }
    answers = {kind: runtime.post_json({"kind": kind}) for kind in expected}

    assert {kind: answer.body for kind, answer in answers.items()} == expected
    types = {answer.headers["content-type"] for answer in answers.values()}
    assert types == {"text/event-stream;charset=UTF-8"}


def test_a_method_named_streams_is_the_users_own(start, tmp_path, profile):
    method = "    def streams(self):\n        return 1"
    code = SAYS_SO.replace("    streams = True", method)
    package = write_package(tmp_path / "p", code, {"apis": [json_api(kind=CAN_BE)]})
    runtime = start(package, WORKERS="1", MODEL_SERVER=profile).wait_until_ready()

    assert runtime.post_json({"kind": "object"}).json == {"a": "b"}


def test_bytes_go_as_they_are_and_answers_that_are_whole_stay_json(serve):
    runtime = serve()
    with runtime.connect() as connection:
        ask(connection, "any", "", "thing", bytes=True)
        assert connection.read_head()[0] == 200
        assert text_of(connection) == "anything"

        ask(connection, "all", whole=True)
        answer = connection.read()
        assert (answer.json, answer.headers["content-type"]) == (
            {"said": ["all"]},
            "application/json",
        )
        ask(connection)
        assert connection.read_head()[0] == 200
        assert text_of(connection) == ""


@KINDS
def test_http_1_0_clients_get_a_stream_that_ends_with_the_connection(serve, kind):
    runtime = serve()
    with runtime.connect() as connection:
        ask(connection, "one", "two", version="1.0", **kind)
        status, headers = connection.read_head()
        rest = connection._buffer + b"".join(iter(lambda: connection.socket.recv(4096), b""))

    assert (status, rest) == (200, b"data: one\n\ndata: two\n\n")
    assert "transfer-encoding" not in headers


@KINDS
def test_a_failure_before_the_first_part_is_an_error_and_after_it_an_event(serve, kind):
    runtime = serve()
    with runtime.connect() as connection:
        ask(connection, "fail", **kind)
        early = connection.read()
        assert (early.status, early.headers["content-type"]) == (500, "application/json")
        assert early.error == "the model failed with RuntimeError: out of words"

        ask(connection, "one", "fail", "two", **kind)
        assert connection.read_head()[0] == 200
        assert text_of(connection) == (
            "data: one\n\nevent: error\n"
            'data: {"error": "the model failed with RuntimeError: out of words"}\n\n'
        )
        body = b'{"words": 3}'
        refused = connection.ask("POST", "/", body, Content_Type="application/json")
        assert (refused.status, refused.error) == (422, "`words` is no list")

    assert runtime.metrics()['model_service_streams_total{path="/",end="error"}'] == 1
    assert "RuntimeError: out of words" in runtime.logs()


@pytest.mark.parametrize("leave", ["close", "reset", "half-close"])
@KINDS
def test_a_client_that_leaves_ends_the_generator_and_its_place_is_free(serve, kind, leave):
    runtime = serve()
    connection = runtime.connect()
    ask(connection, "one", for_ever=True, **kind)
    assert connection.read_head()[0] == 200
    assert notes(runtime).count("finally") == 1  # the sample's

    if leave == "half-close":
        connection.socket.shutdown(socket.SHUT_WR)
    else:
        if leave == "reset":
            option = (1).to_bytes(4, "little") + bytes(4)
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
        connection.socket.close()
    wait_for(lambda: notes(runtime).count("finally") == 2, "the generator's finally", 5)

    wait_for(lambda: runtime.metrics()["model_service_streams_open"] == 0, "its place")
    assert runtime.metrics()['model_service_streams_total{path="/",end="client"}'] == 1
    with runtime.connect() as other:
        ask(other, "next")
        assert other.read_head()[0] == 200
        assert text_of(other) == "data: next\n\n"


def test_an_asynchronous_one_is_ended_in_the_middle_of_its_wait(serve):
    runtime = serve()
    connection = runtime.connect()
    ask(connection, "one", "two", pause=0.3, for_ever=True, **{"async": True})
    connection.read_head()
    ask_again = runtime.connect()
    ask(ask_again, "never", pause=60, **{"async": True})

    wait_for(lambda: notes(runtime).count("begun") == 3, "both")
    ask_again.socket.close()
    connection.socket.close()

    wait_for(lambda: notes(runtime).count("finally") == 3, "both to end", 5)


def test_a_slow_reader_holds_the_generator_and_not_memory(serve):
    runtime = serve()
    connection = runtime.connect(timeout_s=30)
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    many, size = 40, 1_000_000
    ask(connection, *["x"] * many, size=size, bytes=True)
    connection.read_head()

    # Two looks apart by some health requests: nothing more is made meanwhile.
    def made() -> int:
        return notes(runtime).count("made x")

    wait_for(lambda: made() >= 2, "what fits into the kernel's buffers")
    counts = [made()]
    with runtime.connect() as other:
        wait_for(
            lambda: (
                (other.ask("GET", "/health").status == 200 and counts.append(made()))
                or (len(counts) > 20 and len(set(counts[-20:])) == 1)
            ),
            "the generator to stand still",
        )
    assert made() < many

    assert sum(len(chunk) for chunk in read_chunks(connection)) == many * size
    assert made() == many


@KINDS
def test_the_time_limit_counts_the_silence_between_parts(serve, kind):
    runtime = serve(PREDICT_TIMEOUT_SECONDS="0.8")
    worker = runtime.workers()
    with runtime.connect() as connection:
        ask(connection, *"abcde", pause=0.3, **kind)  # together longer than the limit
        assert connection.read_head()[0] == 200
        assert text_of(connection).count("data:") == 5

        ask(connection, 2.5, "late", **kind)
        early = connection.read()
        assert (early.status, "PREDICT_TIMEOUT_SECONDS" in early.error) == (504, True)

        ask(connection, "one", 2.5, "late", **kind)
        assert connection.read_head()[0] == 200
        assert text_of(connection) == (
            "data: one\n\nevent: error\n"
            'data: {"error": "no part came for 0.8 s (PREDICT_TIMEOUT_SECONDS)"}\n\n'
        )
        ask(connection, "next", **kind)
        assert connection.read_head()[0] == 200
        assert text_of(connection) == "data: next\n\n"

    wait_for(lambda: notes(runtime).count("finally") == 5, "every generator's finally")
    assert runtime.workers() == worker
    assert runtime.metrics()['model_service_streams_total{path="/",end="timeout"}'] == 1


def test_many_streams_take_turns_where_one_prediction_at_a_time_is_allowed(serve):
    runtime = serve()
    connections = [runtime.connect() for _ in range(8)]
    for number, connection in enumerate(connections):
        ask(connection, *[f"{number}.{part}" for part in range(5)], pause=0.02)
    assert [connection.read_head()[0] for connection in connections] == [200] * 8
    texts = [text_of(connection) for connection in connections]

    for number, text in enumerate(texts):
        assert re.findall(r"data: (\S+)", text) == [f"{number}.{part}" for part in range(5)]
    made = [line for line in notes(runtime) if line.startswith("made") and "." in line]
    # The last stream had its first part before the first one had its last.
    assert made.index("made 7.0") < made.index("made 0.4")


@pytest.mark.parametrize("choice", ["always", "never"])
def test_wherever_predictions_run_streams_are_sent(serve, choice):
    runtime = serve(PREDICT_IN_THREADS=choice)
    with runtime.connect() as connection:
        for _ in range(3):
            ask(connection, "one", "two")
            assert connection.read_head()[0] == 200
            assert text_of(connection) == "data: one\n\ndata: two\n\n"
    connection = runtime.connect()
    ask(connection, "one", for_ever=True)
    connection.read_head()
    connection.socket.close()
    wait_for(lambda: notes(runtime).count("finally") == 5, "the generator's finally")


@KINDS
def test_a_stream_in_flight_at_sigterm_is_finished(serve, kind):
    runtime = serve(DRAIN_SECONDS="0.4", EXIT_SECONDS="20")
    with runtime.connect() as connection:
        ask(connection, *"abcdefghij", pause=0.15, **kind)
        connection.read_head()
        runtime.terminate()

        assert text_of(connection).count("data:") == 10
    assert runtime.wait(10) == 0


@KINDS
def test_a_stream_that_does_not_end_is_told_why_before_the_exit(serve, kind):
    exit_s = 4.0
    runtime = serve(DRAIN_SECONDS="0.5", EXIT_SECONDS=str(exit_s))
    with runtime.connect() as connection:
        ask(connection, "one", for_ever=True, **kind)
        connection.read_head()
        sent = runtime.terminate()

        text = text_of(connection)

    assert text.endswith(
        'event: error\ndata: {"error": "the service stops; ask another instance"}\n\n'
    )
    assert runtime.wait(10) == 0
    assert time.monotonic() - sent < exit_s
    assert notes(runtime)[-1] == "finally"


def test_a_stream_does_not_stop_health_nor_other_predictions(serve):
    runtime = serve()
    with runtime.connect() as connection:
        ask(connection, "one", for_ever=True)
        connection.read_head()
        for _ in range(5):
            assert runtime.health().status == 200
            assert runtime.post_json({"words": [], "whole": True}).json == {"said": []}
        assert runtime.metrics()["model_service_streams_open"] == 1


def test_health_is_warmed_up_by_a_whole_stream(start, tmp_path, profile):
    service = SPEAKER.replace('if word == "fail":', 'if word == "hello":')
    package = write_package(tmp_path / "failing", service, CONFIG)
    runtime = start(package, WORKERS="1", MODEL_SERVER=profile)

    wait_for(lambda: "does not answer" in runtime.logs(), "the sample to fail")

    answer = runtime.health()
    assert (answer.status, "RuntimeError: out of words" in answer.error) == (503, True)
