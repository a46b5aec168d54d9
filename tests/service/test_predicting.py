"""The example as its users meet it: pictures in, digits out, and sentences where it cannot."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from runtime import BOUNDARY, MULTIPART, head, multipart, upload

from custom_image.mnist import encode_jpeg


def png(image: Image.Image | np.ndarray) -> bytes:
    return _encode(image, "PNG")


def jpeg(image: Image.Image | np.ndarray) -> bytes:
    return _encode(image, "JPEG")


def _encode(image: Image.Image | np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(file, kind)
    return file.getvalue()


def on_a_sheet(digit: np.ndarray, width: int, height: int) -> Image.Image:
    """Write a digit, dark on light, large and off centre on a sheet of paper."""
    sheet = Image.new("L", (width, height), 245)
    side = min(width, height) // 2
    ink = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    sheet.paste(20, (width - side - side // 4, side // 5), ink)
    return sheet


def bomb() -> bytes:
    """Return a PNG of 30,000 x 30,000 pixels in 1 MB or less."""
    rows = zlib.compress(b"\0" * 10_000_000, 9)
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)), (b"IDAT", rows)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def test_a_digit_is_told_in_the_documented_shape(mnist, some_digits):
    answer = mnist.post(upload(encode_jpeg(some_digits[7])))

    assert (answer.status, answer.body) == (200, b'{"mnist_result": 7}')
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("digit", range(10))
def test_each_digit_is_told(mnist, some_digits, digit):
    assert mnist.post(upload(png(some_digits[digit]))).json == {"mnist_result": digit}


@pytest.mark.parametrize("digit", [0, 2, 3, 6, 7])
@pytest.mark.parametrize(
    "picture",
    [
        pytest.param(lambda d: png(255 - d), id="dark on light"),
        pytest.param(lambda d: png(on_a_sheet(d, 640, 480).convert("RGB")), id="colour PNG"),
        pytest.param(lambda d: jpeg(on_a_sheet(d, 2310, 1732)), id="4-megapixel JPEG"),
        pytest.param(lambda d: jpeg(on_a_sheet(d, 300, 2000).convert("RGB")), id="tall"),
        pytest.param(lambda d: png(on_a_sheet(d, 500, 500).convert("P")), id="palette"),
        pytest.param(
            lambda d: png(np.asarray(on_a_sheet(d, 300, 300)).astype(np.uint16) * 257), id="16 bit"
        ),
        pytest.param(
            lambda d: png(Image.merge("LA", [Image.new("L", (28, 28)), Image.fromarray(d)])),
            id="black ink on transparency",
        ),
        pytest.param(
            lambda d: png(Image.merge("LA", [Image.new("L", (28, 28), 255), Image.fromarray(d)])),
            id="white ink on transparency",
        ),
    ],
)
def test_the_same_digit_is_told_however_it_was_drawn(mnist, some_digits, picture, digit):
    assert mnist.post(upload(picture(some_digits[digit]))).json == {"mnist_result": digit}


@pytest.fixture
def a_good_answer_follows(mnist, some_digits):
    """After the test, a good request answers."""
    yield
    assert mnist.post(upload(encode_jpeg(some_digits[7]))).json == {"mnist_result": 7}


BAD_INPUTS = {
    "text": lambda d: upload(b"seven", filename="notes.txt"),
    "an empty part": lambda d: upload(b""),
    "the wrong part": lambda d: upload(encode_jpeg(d), part="picture"),
    "two files": lambda d: multipart(*[("images", "seven.jpg", encode_jpeg(d))] * 2),
    "two files of two names": lambda d: multipart(
        ("images", "a.jpg", encode_jpeg(d)), ("images", "b.jpg", encode_jpeg(d))
    ),
    "a truncated JPEG": lambda d: upload(jpeg(on_a_sheet(d, 400, 400))[:-900]),
    "a JPEG cut in its head": lambda d: upload(encode_jpeg(d)[:40]),
    "a truncated PNG": lambda d: upload(png(on_a_sheet(d, 400, 400))[:-900]),
    "a decompression bomb": lambda d: upload(bomb()),
    "a GIF": lambda d: upload(_encode(d, "GIF")),
    "a field without a file": lambda d: multipart(("images", None, b"seven")),
    "no part at all": lambda d: multipart(),
}


@pytest.mark.usefixtures("a_good_answer_follows")
@pytest.mark.parametrize("name", BAD_INPUTS)
def test_bad_input_is_refused_by_a_sentence_that_names_the_part(mnist, some_digits, name):
    answer = mnist.post(BAD_INPUTS[name](some_digits[7]))

    assert answer.status in (400, 415, 422), answer
    assert "images" in answer.error
    assert "Traceback" not in answer.error


@pytest.mark.usefixtures("a_good_answer_follows")
@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        pytest.param(415, "text/plain", b"seven", id="text"),
        pytest.param(422, "application/json", b"{}", id="JSON"),
        pytest.param(422, "application/x-www-form-urlencoded", b"images=7", id="a form"),
        pytest.param(400, "", b"seven", id="no type"),
        pytest.param(415, 'a/b; c="\xff', b"seven", id="a type that is none"),
        pytest.param(400, "multipart/form-data", b"seven", id="no boundary"),
        pytest.param(400, MULTIPART, b"seven", id="no multipart"),
        pytest.param(400, MULTIPART, upload(b"x" * 99)[:-10], id="no closing boundary"),
        pytest.param(400, MULTIPART, b"", id="nothing"),
        pytest.param(
            400,
            MULTIPART,
            f"--{BOUNDARY}\r\nA: b\r\n\r\nx\r\n--{BOUNDARY}--".encode(),
            id="no name",
        ),
        pytest.param(413, MULTIPART, multipart(*[("a", None, b"")] * 101), id="101 parts"),
    ],
)
def test_a_body_of_another_kind_is_refused(mnist, status, content_type, body):
    answer = mnist.post(body, content_type=content_type)

    assert answer.status == status, answer
    assert answer.error


@pytest.mark.usefixtures("a_good_answer_follows")
def test_a_compressed_body_is_refused(mnist):
    answer = mnist.ask("POST", "/", b"x", Content_Type=MULTIPART, Content_Encoding="gzip")

    assert (answer.status, "gzip" in answer.error) == (415, True)


def padded(size_bytes: int, digit: np.ndarray) -> bytes:
    """Return an upload whose file has exactly this size: bytes behind a JPEG's end are ignored."""
    picture = encode_jpeg(digit)
    return upload(picture + b"\0" * (size_bytes - len(picture)))


def test_a_file_of_12_megabytes_is_accepted(mnist, some_digits):
    assert mnist.post(padded(12_000_000, some_digits[7])).json == {"mnist_result": 7}


@pytest.mark.usefixtures("a_good_answer_follows")
def test_a_file_of_13_megabytes_is_refused_and_a_client_that_sends_it_all_reads_why(
    mnist, some_digits
):
    body = padded(13_000_000, some_digits[7])
    with mnist.connect() as connection:
        connection.send(head("POST", "/", len(body), Content_Type=MULTIPART))
        connection.send(body)

        answer = connection.read()

    assert answer.status == 413
    assert "12582912" in answer.error
    assert answer.headers["connection"] == "close"


def test_a_body_declared_too_large_is_refused_before_it_is_sent(mnist):
    with mnist.connect() as connection:
        connection.send(head("POST", "/", 10**9, Content_Type=MULTIPART))

        assert connection.read().status == 413


@pytest.mark.usefixtures("a_good_answer_follows")
def test_a_chunked_body_is_counted_and_refused_at_the_limit(mnist):
    chunk = b"100000\r\n" + b"x" * 2**20 + b"\r\n"
    with mnist.connect() as connection:
        connection.send(head("POST", "/", Transfer_Encoding="chunked", Content_Type=MULTIPART))
        for _ in range(14):
            connection.send(chunk)

        answer = connection.read()

    assert (answer.status, answer.headers["connection"]) == (413, "close")


def test_a_chunked_body_is_read(mnist, some_digits):
    body = upload(encode_jpeg(some_digits[7]))
    with mnist.connect() as connection:
        connection.send(head("POST", "/", Transfer_Encoding="chunked", Content_Type=MULTIPART))
        for start in range(0, len(body), 100):
            piece = body[start : start + 100]
            connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        connection.send(b"0\r\n\r\n")

        assert connection.read().json == {"mnist_result": 7}
