"""One command on a build server, and what goes in and out of it while it runs."""

from __future__ import annotations

import os
import select
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from custom_image.errors import ConnectionLost, Unavailable

SSH_FAILED: Final = 255
"""The exit code of ssh itself, as opposed to that of the command; see ssh(1)."""
_KEPT_BYTES: Final = 2**20
_READ_BYTES: Final = 2**16
_END_S: Final = 10.0


@dataclass(frozen=True)
class Result:
    """How a command ended, and the end of what it wrote, at most a MiB of either."""

    code: int
    output: str
    error: str


@dataclass
class Traffic:
    """Bytes that went through a connection, before encryption."""

    sent: int = 0
    received: int = 0

    def copy(self) -> Traffic:
        """Return what it is now, to tell later what was added."""
        return Traffic(self.sent, self.received)


class Session:
    """A command that runs there; leaving its ``with`` block ends the ssh that carries it.

    Raises in all methods:
        ConnectionLost: the connection broke off.
    """

    def __init__(
        self, command: list[str], traffic: Traffic, lost: Callable[[str], ConnectionLost]
    ) -> None:
        # In a session of its own, so that Ctrl-C reaches this Python alone, which then decides.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._traffic = traffic
        self._lost = lost
        self._unread = b""
        self._error = b""
        self._reader = threading.Thread(target=self._read_error, daemon=True)
        self._reader.start()

    def write(self, data: bytes) -> None:
        """Send bytes to its standard input; waits while the link is busy.

        Raises:
            Unavailable: it reads no more, and says why.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except BrokenPipeError:
            result = self.finish(_END_S)
            message = _last_line(result.error) or f"it ended with exit code {result.code}"
            raise Unavailable(f"the server takes no more: {message}") from None
        self._traffic.sent += len(data)

    def lines(self) -> Iterator[str]:
        """Yield the lines of its standard output as they come."""
        while True:
            line, end, rest = self._unread.partition(b"\n")
            if end:
                self._unread = rest
                yield line.decode(errors="replace")
            elif not self._read(None):
                return

    def finish(self, timeout_s: float | None = None) -> Result:
        """Close its input and wait for its end.

        Raises:
            Unavailable: it has not ended after ``timeout_s``.
        """
        deadline = time.monotonic() + timeout_s if timeout_s is not None else None
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        while self._read(deadline):
            self._unread = self._unread[-_KEPT_BYTES:]
        code = self._process.wait()
        self._reader.join(_END_S)
        error = self._error.decode(errors="replace")
        if code == SSH_FAILED:
            raise self._lost(error)
        return Result(code, self._unread.decode(errors="replace"), error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # ssh hands its pipes to the master, which keeps them open until the command there ends: so
        # after a kill nothing waits for the end of a stream.
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    def _read(self, deadline: float | None) -> bool:
        """Take in what its standard output has; False at its end."""
        assert self._process.stdout is not None
        left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not select.select([self._process.stdout], [], [], left_s)[0]:
            raise Unavailable("the server gave no answer in time; the connection stands.")
        data = os.read(self._process.stdout.fileno(), _READ_BYTES)
        self._traffic.received += len(data)
        self._unread += data
        return bool(data)

    def _read_error(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            while data := os.read(stream.fileno(), _READ_BYTES):
                self._error = (self._error + data)[-_KEPT_BYTES:]


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]
