"""A client of WebSocket that decides itself how a message is cut into frames.

By hand: libraries choose the frames, and what the gateway cuts is what is tried here.

Source: RFC 6455, https://www.rfc-editor.org/rfc/rfc6455
"""

from __future__ import annotations

import base64
import os
import socket
import struct
import time
from contextlib import suppress
from typing import Final, Self
from urllib.parse import urlsplit

from custom_image.probing.http import connect

TEXT: Final = 1
_CONTINUATION, _CLOSE, _PING, _PONG = 0, 8, 9, 10
_LONGEST_HEAD_BYTES: Final = 65_536
ABNORMAL: Final = 1006
"""The connection was cut without a word."""


class WebSocket:
    """One open WebSocket; leaving its ``with`` block cuts it."""

    def __init__(self, sock: socket.socket, unread: bytes) -> None:
        self._sock, self._unread = sock, unread

    @classmethod
    def open(cls, url: str, path: str, timeout_s: float) -> Self | None:
        """Return a WebSocket, or None where the server does not switch to the protocol."""
        connection = connect(url, timeout_s)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            f"GET {path} HTTP/1.1",
            f"Host: {urlsplit(url).netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
        )
        head = b""
        try:
            connection.connect()
            connection.sock.sendall("\r\n".join([*lines, "", ""]).encode())
            while b"\r\n\r\n" not in head and len(head) < _LONGEST_HEAD_BYTES:
                part = connection.sock.recv(4096)
                if not part:
                    break
                head += part
        except OSError:
            connection.close()
            return None
        status, _, unread = head.partition(b"\r\n\r\n")
        if not status.startswith(b"HTTP/1.1 101"):
            connection.close()
            return None
        return cls(connection.sock, unread)

    def send(self, text: bytes, frame_bytes: int) -> bool:
        """Send a message in frames of at most so many bytes; tell whether it could be sent."""
        parts = [text[at : at + frame_bytes] for at in range(0, len(text), frame_bytes)] or [b""]
        try:
            for number, part in enumerate(parts):
                is_last = number == len(parts) - 1
                self._send_frame(_CONTINUATION if number else TEXT, part, is_last=is_last)
        except OSError:
            return False
        return True

    def closed_with(self, wait_s: float) -> int:
        """Return the code with which the server closes within that time; 0 where it does not."""
        deadline = time.monotonic() + wait_s
        while (left_s := deadline - time.monotonic()) > 0:
            self._sock.settimeout(left_s)
            try:
                kind, payload = self._receive()
            except TimeoutError:
                return 0
            except OSError:
                return ABNORMAL
            if kind == _CLOSE:
                return int.from_bytes(payload[:2], "big") or 1005
            if kind == _PING:
                with suppress(OSError):
                    self._send_frame(_PONG, payload, is_last=True)
            elif kind in (_CONTINUATION, TEXT, 2):
                return 0  # an answer
        return 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def _send_frame(self, kind: int, payload: bytes, *, is_last: bool) -> None:
        size = len(payload)
        head = bytes([kind | (0x80 if is_last else 0)])
        if size < 126:
            head += bytes([0x80 | size])
        elif size < 65_536:
            head += bytes([0x80 | 126]) + struct.pack(">H", size)
        else:
            head += bytes([0x80 | 127]) + struct.pack(">Q", size)
        mask = os.urandom(4)
        pad = (mask * (size // 4 + 1))[:size]
        masked = int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")
        self._sock.sendall(head + mask + masked.to_bytes(size, "big"))

    def _receive(self) -> tuple[int, bytes]:
        first, second = self._read(2)
        size = second & 0x7F
        if size > 125:
            size = int.from_bytes(self._read(2 if size == 126 else 8), "big")
        return first & 0x0F, self._read(size)

    def _read(self, size: int) -> bytes:
        while len(self._unread) < size:
            part = self._sock.recv(65_536)
            if not part:
                raise ConnectionResetError("the server hung up")
            self._unread += part
        found, self._unread = self._unread[:size], self._unread[size:]
        return found
