"""A request, a response, and a refusal: all that the servers and the application share."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Tuple

if TYPE_CHECKING:
    from model_service.http.streams import Stream

Headers = Tuple[Tuple[bytes, bytes], ...]

JSON = b"application/json"
LINGER_SECONDS = 5.0
LINGER_BYTES = 64 * 2**20
"""How long, and how far, a client whose body is refused may go on sending before it is cut off."""
REFUSALS_PER_SECOND = 50
LONGEST_HOLD_BACK_SECONDS = 1.5
SMALL_BYTES = 64 * 1024
"""A body up to here is read with its request, refused or not, so that the connection goes on."""
REASONS = {
    200: "OK",
    204: "No Content",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Content",
    431: "Request Header Fields Too Large",
    499: "Client Closed Request",
    500: "Internal Server Error",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
"""Every status the service can answer. 499 is never sent: the log's word for a client that left."""

INVALID_INPUT = ("MR.0101", "The input parameter is invalid")
RECOGNITION_FAILED = ("MR.0105", "Recognition failed")
"""What the platform's images answer, beside the sentence: ``erno`` and ``msg``.

Source: ModelArts Troubleshooting, "Error MR.0105 Occurred in Real-Time Service Prediction".
"""

_REQUEST_ID = re.compile(rb"[!-~]{1,128}")


class Request:
    """What of a request decides its answer.

    Attributes:
        path: percent-decoded.
        target: path and query as they came, printable ASCII; for the log.
        content_length: None where the client declares none: no body, or a chunked one.
        request_id: the client's ``X-Request-Id``; empty where it sent none that can be used.
    """

    __slots__ = (
        "body",
        "content_encoding",
        "content_length",
        "content_type",
        "method",
        "path",
        "query",
        "request_id",
        "target",
    )

    def __init__(self, method: str, path: str, query: bytes, target: str) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.target = target
        self.content_type = b""
        self.content_encoding = b""
        self.content_length: int | None = None
        self.request_id = b""
        self.body = b""

    def read_headers(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Take what matters from (lower-case name, value) pairs."""
        for name, value in headers:
            if name == b"content-type":
                self.content_type = value
            elif name == b"content-length":
                self.content_length = int(value)
            elif name == b"content-encoding":
                self.content_encoding = value.strip().lower()
            elif name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
                self.request_id = value


@dataclass(frozen=True)
class Response:
    """An answer.

    Attributes:
        stream: makes the body part by part; ``body`` is then empty.
        headers: beside Content-Type, Content-Length, X-Request-Id and Connection.
        note: why, for the log; empty where the status says enough.
        overload: whether it refuses for want of room: held back a little, see :func:`hold_back_s`.
    """

    status: int
    body: bytes = b""
    content_type: bytes = JSON
    headers: Headers = ()
    note: str = field(default="", compare=False)
    stream: Stream | None = field(default=None, compare=False)
    overload: bool = field(default=False, compare=False)


class Refused(Exception):
    """A request that gets no prediction, with the status and the sentence it gets instead.

    Attributes:
        sentence: says what was expected and found, naming the part; the client reads it.
        error: the platform's code and message, where it has one.
    """

    def __init__(
        self,
        status: int,
        sentence: str,
        headers: Headers = (),
        error: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.headers = headers
        self.error = error
        self.overload = False

    def response(self) -> Response:
        """Return ``{"error": <sentence>}`` and the platform's members under the status."""
        members: dict[str, object] = {"error": self.sentence}
        if self.error is not None:
            members.update(erno=self.error[0], msg=self.error[1], words_result={})
        body = to_json(members)
        return Response(
            self.status,
            body,
            headers=self.headers,
            note=self.sentence,
            overload=self.overload,
        )


def too_large(limit_bytes: int) -> Refused:
    """Return the refusal of a body over the limit, declared or counted."""
    return Refused(413, f"the body is larger than the {limit_bytes} bytes this service accepts")


def overloaded(sentence: str) -> Refused:
    """Return a refusal that asks the client to come back."""
    refused = Refused(503, sentence, ((b"retry-after", b"1"),))
    refused.overload = True
    return refused


def hold_back_s(held_back: int) -> float:
    """Return how many seconds to keep a refusal of overload, where so many are kept already.

    A client that asks again at once, whatever ``Retry-After`` says, would otherwise be refused
    thousands of times a second, and the predictions that run starve beside that: they share the
    interpreter's lock. Refusals are so few in a second, however many clients there are.
    """
    return min(LONGEST_HOLD_BACK_SECONDS, (held_back + 1) / REFUSALS_PER_SECOND)


def to_json(value: object) -> bytes:
    """Encode as JSON, the arrays and numbers of numpy and torch included.

    Raises:
        TypeError: a value has no form in JSON.
        ValueError: a number is not finite, or the value contains itself.
    """
    return json.dumps(value, default=_plain, ensure_ascii=False, allow_nan=False).encode()


def _plain(value: object) -> object:
    # numpy, torch and TensorFlow, arrays and scalars, without importing any of them
    for name in ("tolist", "item", "numpy"):
        method = getattr(value, name, None)
        if callable(method):
            return method()
    if isinstance(value, bytes):
        return value.decode()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
