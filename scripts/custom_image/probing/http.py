"""Requests and answers, one connection at a time.

``http.client`` and nothing above it: drills have to know which connection a request travels on,
when the server closes it, and whether an answer was cut off. By hand: a pool hides all three.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPS_PORT, HTTPConnection, HTTPException, HTTPResponse
from threading import Timer
from typing import Final
from urllib.parse import urlsplit

ANSWER_TIMEOUT_S: Final = 30.0
LARGEST_ANSWER_BYTES: Final = 4_000_000
TIMED_OUT: Final = "timed out"


@dataclass(frozen=True)
class Request:
    """What is sent to a service.

    Attributes:
        from_schema: false where config.json declares nothing that it could be made from, so that
            a refusal says nothing about the service.
    """

    method: str
    path: str
    body: bytes = b""
    content_type: str = ""
    from_schema: bool = True
    headers: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def to_bytes(self, host: str) -> bytes:
        """Return the request as it travels, for drills that send it piece by piece."""
        lines = [f"{self.method} {self.path} HTTP/1.1", f"Host: {host}"]
        if self.content_type:
            lines.append(f"Content-Type: {self.content_type}")
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.body or self.method != "GET":
            lines.append(f"Content-Length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode() + self.body


@dataclass(frozen=True)
class Answer:
    """What came back, or why nothing did.

    Attributes:
        status: 0 where no complete answer came.
        headers: names in lower case.
        closes: whether the server will close the connection behind this answer.
        seconds: from the start of the request to the end of the answer.
        error: why ``status`` is 0.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    closes: bool = False
    seconds: float = 0.0
    error: str = ""

    @property
    def is_good(self) -> bool:
        """Whether the service did what was asked."""
        return 200 <= self.status < 300

    @property
    def timed_out(self) -> bool:
        """Whether the service had not answered when the client's patience ended."""
        return self.error == TIMED_OUT

    @property
    def is_answer(self) -> bool:
        """Whether the service understood the request, even if it refused it."""
        return 100 <= self.status < 500

    def __str__(self) -> str:
        if not self.status:
            return f"no answer ({self.error}) after {self.seconds:.2f} s"
        return f"{self.status} in {self.seconds * 1000:.0f} ms{_shown(self.body)}"


def _shown(body: bytes) -> str:
    text = " ".join(body[:200].decode("utf-8", "replace").split())
    return f": {text[:120]}" if text else ""


def connect(url: str, timeout_s: float = ANSWER_TIMEOUT_S) -> HTTPConnection:
    """Return a connection that is opened by its first request.

    The platform does not ask for a valid certificate: its own HTTPS sample signs one ad hoc.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    if parts.scheme == "https":
        return _TlsConnection(host, port, timeout=timeout_s)
    return HTTPConnection(host, port, timeout=timeout_s)


class _TlsConnection(HTTPConnection):
    """A connection over TLS, whoever signed the certificate.

    The socket is wrapped before it connects. ``http.client`` does it the other way round, and where
    a server that is being stopped resets in between, ``SSLSocket._create`` of Python 3.11 raises
    without closing.
    """

    default_port = HTTPS_PORT

    def connect(self) -> None:
        """Try every address of the host, as ``socket.create_connection`` does."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        failure = OSError(f"{self.host} has no address")
        found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, address in found:
            plain = socket.socket(family, kind, protocol)
            self.sock = context.wrap_socket(plain, server_hostname=self.host)
            self.sock.settimeout(self.timeout)
            try:
                self.sock.connect(address)
                return
            except OSError as error:
                self.close()
                failure = error
        raise failure


def ask(url: str, request: Request, timeout_s: float = ANSWER_TIMEOUT_S) -> Answer:
    """Send one request on a connection of its own. Never raises."""
    connection = connect(url, timeout_s)
    try:
        return ask_on(connection, request)
    finally:
        connection.close()


def ask_on(connection: HTTPConnection, request: Request) -> Answer:
    """Send one request on a connection that may have served others before. Never raises.

    The answer is read even where sending broke off: a server may refuse a body that it has not
    read to the end, and close.
    """
    headers = dict(request.headers)
    if request.content_type:
        headers["Content-Type"] = request.content_type
    deadline = _Deadline(connection.timeout or ANSWER_TIMEOUT_S)
    began = time.monotonic()
    try:
        with deadline:
            try:
                connection.request(request.method, request.path, request.body or None, headers)
            except (BrokenPipeError, ConnectionResetError):
                if connection.sock is None:
                    raise
                response = HTTPResponse(connection.sock, method=request.method)
                deadline.sock = connection.sock
                response.begin()
                return _read(response, began)
            deadline.sock = connection.sock
            return _read(connection.getresponse(), began)
    except (OSError, HTTPException) as error:
        connection.close()
        return Answer(0, seconds=time.monotonic() - began, error=_reason(error))


class _Deadline:
    """Cuts an answer off that comes byte by byte; a socket's own time-out counts silence alone.

    Raises:
        TimeoutError: at the end of the block, where that was necessary.
    """

    def __init__(self, timeout_s: float) -> None:
        self.sock: socket.socket | None = None
        self._is_late = False
        self._timer = Timer(timeout_s, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def _cut(self) -> None:
        self._is_late = True
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._is_late:
            raise TimeoutError


def _read(response: HTTPResponse, began: float) -> Answer:
    body = response.read(LARGEST_ANSWER_BYTES)
    closes = response.will_close or not response.isclosed()
    if not response.isclosed():
        response.close()
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Answer(response.status, body, headers, closes, time.monotonic() - began)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return TIMED_OUT
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return f"{type(error).__name__}: {error}".rstrip(": ")[:120]


class SlowRequest:
    """A request that is held back half-way, so that it is in flight when something happens."""

    def __init__(self, url: str, request: Request) -> None:
        self._connection = connect(url)
        self._request = request
        text = request.to_bytes(urlsplit(url).netloc)
        held_back = max(2, len(request.body) // 2)
        self._parts = text[:-held_back], text[-held_back:]
        self._began = time.monotonic()

    def begin(self) -> bool:
        """Send the first part; tell whether the service accepted the connection."""
        try:
            self._connection.connect()
            self._connection.sock.sendall(self._parts[0])
        except OSError:
            self._connection.close()
            return False
        is_accepted = not is_closed_by_server(self._connection, timeout_s=0.1)
        if not is_accepted:
            self._connection.close()
        return is_accepted

    def abandon(self) -> None:
        """Close without sending the rest."""
        self._connection.close()

    def complete(self) -> Answer:
        """Send the rest and return the answer. Never raises."""
        deadline = _Deadline(ANSWER_TIMEOUT_S)
        deadline.sock = self._connection.sock
        try:
            with deadline:
                self._connection.sock.sendall(self._parts[1])
                response = HTTPResponse(self._connection.sock, method=self._request.method)
                response.begin()
                return _read(response, self._began)
        except (OSError, HTTPException) as error:
            return Answer(0, seconds=time.monotonic() - self._began, error=_reason(error))
        finally:
            self._connection.close()


def is_closed_by_server(connection: HTTPConnection, timeout_s: float = 0.0) -> bool:
    """Tell whether the server ends a connection on which nothing is expected.

    Waits up to ``timeout_s`` for that. A server that speaks unasked (``408 Request Timeout``) is
    about to close, and counts as having done so.
    """
    sock = connection.sock
    if sock is None:
        return True
    readable, _, _ = select.select([sock], [], [], timeout_s)
    if not readable:
        return False
    sock.settimeout(0)
    try:
        sock.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):  # a TLS session ticket, not the end
        return False
    except OSError:
        return True
    finally:
        sock.settimeout(connection.timeout)
    return True
