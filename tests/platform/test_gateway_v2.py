"""The gateway of v2: its paths, who calls, its codes, streams and WebSocket."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import requests
import websocket
from gateway_bench import (
    IDENTITY,
    SERVICE_ID,
    Behaviour,
    Bench,
    after,
    bench,
    echo,
    error,
    read_body,
    read_head,
    reply,
)

from local_modelarts.gateway.authentication import app_of
from local_modelarts.gateway.websocket import FrameSplitter
from local_modelarts.http.api_keys import ApiKeys
from local_modelarts.http.iam_tokens import Tokens
from local_modelarts.storage.clock import now_ms
from local_modelarts.storage.resources import ApiKey

FRAME = 64 * 1024


@pytest.fixture(scope="module")
def shared() -> Iterator[Bench]:
    with bench(predict_timeout_s=2) as found:
        yield found


@pytest.fixture
def gate(shared: Bench) -> Bench:
    """A v2 service without authentication, before a server that echoes."""
    shared.route(echo, generation=2, apis=[])
    return shared


# --- who calls, and who answers -------------------------------------------------------------------


def test_a_service_of_v2_is_below_v2_alone(gate: Bench) -> None:
    assert requests.post(f"{gate.url}/any/path", b"x").text.startswith("POST /any/path ")
    wrong = gate.url.replace("/v2/", "/v1/")
    assert error(requests.post(wrong, b"x"))[:2] == (404, "APIG.0101")


def test_who_answers_can_be_told(gate: Bench) -> None:
    gate.route(after(0, reply(b"ours", "200 OK", "Server: mine")), generation=2, apis=[])
    answer = requests.post(gate.url, b"x")
    refused = requests.post(f"{gate.url[:-3]}xxx", b"x")

    assert (answer.headers["Server"], answer.text) == ("ModelArts", "ours")
    assert "ModelArts" not in answer.text
    assert refused.headers["Server"] == "ModelArts"


def test_v2_knows_no_signature_and_no_app(gate: Bench) -> None:
    gate.route(echo, generation=2, auth="TOKEN")
    token, _ = Tokens(IDENTITY, 60).make()
    app = app_of(IDENTITY)["x-apig-appcode"]

    assert requests.post(gate.url, b"x", headers={"X-Auth-Token": token}).status_code == 200
    refused = requests.post(gate.url, b"x", headers={"X-Apig-AppCode": app})
    assert error(refused)[:2] == (401, "APIG.0301")


@pytest.mark.parametrize("header", ["X-Apig-AppCode", "apikey"])
def test_an_app_of_v1_is_let_in_and_stays_secret(header: str, gate: Bench) -> None:
    gate.route(echo, auth="TOKEN")
    secret = app_of(IDENTITY)[header.lower()]

    answer = requests.post(gate.url, b"x", headers={header: secret})
    wrong = requests.post(gate.url, b"x", headers={header: "wrong"})

    assert answer.status_code == 200
    assert secret not in answer.text
    assert error(wrong)[:2] == (401, "APIG.0303")


def test_a_signed_body_is_at_most_12_mb() -> None:
    signed = {"Authorization": "SDK-HMAC-SHA256 Access=a, SignedHeaders=host, Signature=0"}
    with bench(request_body_bytes=20 << 20) as gate:
        gate.route(echo, auth="TOKEN")
        token, _ = Tokens(IDENTITY, 60).make()

        refused = requests.post(gate.url, bytes(13 << 20), headers=signed)
        taken = requests.post(gate.url, bytes(13 << 20), headers={"X-Auth-Token": token})

    assert error(refused)[:2] == (413, "APIG.0201")
    assert taken.status_code == 200


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_api_keys_open_what_they_are_bound_to(gate: Bench) -> None:
    keys = ApiKeys(gate.platform)
    gate.route(echo, generation=2, auth="API_KEY", apis=[])
    _, everywhere = keys.create({"name": "all", "scope": "USER"})
    row, bound = keys.create({"name": "one", "scope": "SERVICE"})

    def status(key: str) -> tuple[int, str]:
        answer = requests.post(gate.url, b"x", headers=bearer(key))
        assert key not in answer.text
        return answer.status_code, "" if answer.ok else answer.json()["error_msg"]

    assert status(everywhere) == (200, "")
    assert status(bound)[0] == 403
    keys.bind(SERVICE_ID, row.id)
    assert status(bound) == (200, "")
    keys.bind(SERVICE_ID, row.id, bound=False)
    assert status(bound)[0] == 403
    keys.delete(row.id)
    assert status(bound)[0] == 401
    assert status("made-up")[0] == 401
    assert error(requests.post(gate.url, b"x"))[0] == 401


def test_a_temporary_key_ends(gate: Bench) -> None:
    keys = ApiKeys(gate.platform)
    gate.route(echo, generation=2, auth="API_KEY", apis=[])
    row, key = keys.create_temporary({"expire_time": 1})

    assert requests.post(gate.url, b"x", headers=bearer(key)).status_code == 200
    gate.state.change(ApiKey, row.id, (row.status,), ends_at=now_ms())
    refused = error(requests.post(gate.url, b"x", headers=bearer(key)))
    assert refused[0] == 401
    assert "expired" in refused[2]


def connect(address: str, **headers: str) -> websocket.WebSocket:
    """Return a client whose upgrade was accepted."""
    client = websocket.WebSocket()
    client.settimeout(20)
    try:
        client.connect(address.replace("http", "ws", 1), header=headers)
    except websocket.WebSocketException:
        client.shutdown()
        raise
    return client


# --- its codes ------------------------------------------------------------------------------------


def test_an_answer_that_is_late_is_its_own_code(gate: Bench) -> None:
    gate.route(after(5, reply(b"late")), generation=2, limit={"timeout_s": 1})

    assert error(requests.post(gate.url, b"x"))[:2] == (504, "CF2.E00003")


def test_an_instance_that_hangs_up_is_8909(gate: Bench) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)

    gate.route(hang_up, generation=2)

    assert error(requests.post(gate.url, b"x"))[:2] == (502, "ModelArts.8909")


def test_a_call_in_another_protocol_is_8910(gate: Bench) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        connect(gate.url)
    assert b"ModelArts.8910" in refused.value.resp_body

    gate.route(echo, generation=2, websocket=True)
    assert error(requests.post(gate.url, b"x"))[:2] == (400, "ModelArts.8910")


# --- streams --------------------------------------------------------------------------------------


def stream(parts: int, pause_s: float, *, ends: bool = True) -> Behaviour:
    """Return a server that sends events with the time at which each was sent."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream;charset=UTF-8\r\n"
        writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(parts):
            event = f"data: {time.monotonic():.6f}\n\n".encode()
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()
            await asyncio.sleep(pause_s)
        if ends:
            writer.write(b"0\r\n\r\n")
        await writer.drain()

    return behave


@pytest.mark.parametrize("generation", [1, 2])
def test_a_stream_passes_through_as_it_comes(generation: int, gate: Bench) -> None:
    gate.route(stream(50, 0.01), generation=generation)

    delays = []
    with requests.post(gate.url, b"x", stream=True) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream;charset=UTF-8"
        for line in answer.iter_lines(chunk_size=1):
            if line:
                delays.append(time.monotonic() - float(line.removeprefix(b"data: ")))

    assert len(delays) == 50
    # Held back, an event would be half of the stream late, a quarter of a second.
    assert statistics.median(delays) < 0.1


@pytest.mark.parametrize("generation", [1, 2])
def test_a_stream_is_the_same_byte_for_byte(generation: int, gate: Bench) -> None:
    body = bytes(range(256)) * 4096

    async def chunked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, len(body), 7919):
            part = body[start : start + 7919]
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    gate.route(chunked, generation=generation)

    assert requests.post(gate.url, b"x").content == body


def received(gate: Bench) -> int:
    """Return how many events of a stream come before it is over or cut off."""
    count = 0
    try:
        with requests.post(gate.url, b"x", stream=True) as answer:
            for line in answer.iter_lines(chunk_size=1):
                count += bool(line)
    except requests.exceptions.ChunkedEncodingError:
        return -count
    return count


def test_v1_cuts_a_whole_stream_at_its_time_out_and_v2_waits_for_the_next_part(
    gate: Bench,
) -> None:
    """The 40 s of the gateway are 2 s here."""
    gate.route(stream(8, 0.5))
    assert -8 < received(gate) < 0, "v1: cut off in the middle"

    gate.route(stream(8, 0.5), generation=2)
    assert received(gate) == 8

    gate.route(stream(2, 4), generation=2)
    assert received(gate) == -1, "v2: the second part took longer than the time-out"


def test_a_stream_that_breaks_off_is_not_ended_as_if_it_were_whole(gate: Bench) -> None:
    gate.route(stream(3, 0, ends=False), generation=2)

    assert received(gate) == -3


def test_a_client_that_leaves_ends_the_stream_behind_the_gateway(gate: Bench) -> None:
    left: list[float] = []

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"5\r\nhello\r\n")
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            left.append(time.monotonic())
            raise

    gate.route(endless, generation=2)
    answer = requests.post(gate.url, b"x", stream=True)
    next(answer.iter_content(5))
    answer.close()

    deadline = time.monotonic() + 10
    while not left and time.monotonic() < deadline:
        time.sleep(0.02)
    assert left


def test_the_command_shows_a_part_before_the_next_one_is_made(gate: Bench, tmp_path: Path) -> None:
    """The second part is made only once the first has been read from the command's output."""
    shown = threading.Event()
    asked: list[tuple[str, bytes]] = []

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, headers = await read_head(reader)
        body = b"".join([part async for part in read_body(reader, headers)])
        asked.append((headers["content-type"], body))
        head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream;charset=UTF-8\r\n"
        writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        for word in ("鸟", "bird"):
            event = f"data: {word}\n\n".encode()
            writer.write(b"%x\r\n%b\r\n" % (len(event), event))
            await writer.drain()
            if word == "鸟":
                await asyncio.to_thread(shown.wait, 60)
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    gate.route(behave, generation=2, apis=[], limit={"timeout_s": 90})
    question = tmp_path / "question.json"
    question.write_text('{"prompt": "what sings?"}')
    program = Path(sys.executable).with_name("custom-image")
    command = [program, "predict", gate.url, question, "--stream"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asking:
        assert asking.stdout is not None
        first = asking.stdout.readline()
        shown.set()
        rest, said = asking.communicate(timeout=60)

    assert first.decode() == "data: 鸟\n", said
    assert rest.decode().split() == ["data:", "bird"]
    assert b"200 in" in said
    assert asked == [("application/json", b'{"prompt": "what sings?"}')]
    assert asking.returncode == 0


@pytest.mark.true_time
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("seconds", [65, 1300])
def test_a_long_stream_arrives_whole(seconds: int) -> None:
    with bench() as gate:
        gate.route(stream(seconds, 1), generation=2, limit={"timeout_s": 1200})
        assert received(gate) == seconds


# --- WebSocket ------------------------------------------------------------------------------------


async def accept_websocket(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Answer a request to upgrade; return what it asked for."""
    line, headers = await read_head(reader)
    guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    key = base64.b64encode(
        hashlib.sha1(headers["sec-websocket-key"].encode() + guid).digest()
    ).decode()
    writer.write(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {key}\r\n\r\n".encode()
    )
    return f"{line} {headers}"


async def frames(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield the payloads of a client's frames."""
    while True:
        first = await reader.readexactly(2)
        length = first[1] & 0x7F
        if length >= 126:
            length = int.from_bytes(await reader.readexactly(2 if length == 126 else 8), "big")
        mask = await reader.readexactly(4)
        content = await reader.readexactly(length)
        yield bytes(byte ^ mask[i % 4] for i, byte in enumerate(content))


def frame(payload: bytes) -> bytes:
    """Return a message of a server as one frame, however long."""
    return bytes([0x82, 127]) + len(payload).to_bytes(8, "big") + payload


async def says_it_back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await accept_websocket(reader, writer)
    async for payload in frames(reader):
        writer.write(frame(payload * 50))
        await writer.drain()


def test_long_messages_are_split_and_whole_again(gate: Bench) -> None:
    gate.route(says_it_back, generation=2, websocket=True)
    client = connect(gate.url)
    client.send_binary(b"x" * 4096)

    pieces = []
    while not pieces or not pieces[-1].fin:
        pieces.append(client.recv_frame())
    client.close()

    assert b"".join(piece.data for piece in pieces) == b"x" * 4096 * 50
    assert [len(piece.data) for piece in pieces] == [FRAME] * 3 + [4096 * 50 - 3 * FRAME]
    assert [piece.opcode for piece in pieces] == [2, 0, 0, 0]


def test_data_renews_the_time_out_and_silence_does_not(gate: Bench) -> None:
    gate.route(says_it_back, generation=2, websocket=True)  # 2 s
    client = connect(gate.url)
    for _ in range(6):
        client.send_binary(b"x")
        assert client.recv() == b"x" * 50
        time.sleep(0.5)

    opcode, content = client.recv_data()
    client.shutdown()

    assert (opcode, content[:2]) == (websocket.ABNF.OPCODE_CLOSE, b"\x03\xe9")


def test_an_upgrade_needs_the_same_proof_as_any_call(gate: Bench) -> None:
    seen: list[str] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await accept_websocket(reader, writer))
        await reader.read()

    gate.route(note, generation=2, websocket=True, auth="API_KEY")
    _, key = ApiKeys(gate.platform).create({"name": "socket"})
    address = f"{gate.url}/chat?x=1"

    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        connect(address)
    client = connect(address, **bearer(key))
    client.close()

    assert refused.value.status_code == 401
    assert seen[0].startswith("GET /chat?x=1 HTTP/1.1")
    assert key not in seen[0]


def test_however_frames_arrive_they_are_split_alike() -> None:
    message = b"0123456789" * 7
    whole = bytes([0x81, len(message)]) + message + bytes([0x89, 0]) + bytes([0x82, 3]) + b"abc"
    expected = FrameSplitter(16).feed(whole)

    for size in range(1, len(whole)):
        splitter = FrameSplitter(16)
        pieces = [splitter.feed(whole[i : i + size]) for i in range(0, len(whole), size)]
        assert b"".join(pieces) == expected

    assert expected[:2] == bytes([0x01, 16])
    assert expected.endswith(bytes([0x80, 6]) + message[-6:] + bytes([0x89, 0, 0x82, 3]) + b"abc")
