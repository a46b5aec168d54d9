"""All logs go to standard output, where the platform collects them.

What a library or the interpreter writes to standard error is led there too. The root logger shows
INFO, so that a ``logging.info`` of the user's code is seen; the platform's own images show only
warnings. Every request is one line of ``key=value`` pairs.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import time

FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s %(message)s"
TIME_FORMAT = "%Y-%m-%dT%H:%M:%S"


def configure_logging(level: str) -> None:
    """Lead everything to standard output, at least a line at a time.

    The log has a stream of its own: some packages detach ``sys.stdout``.
    """
    with contextlib.suppress(OSError):
        os.dup2(1, 2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True, errors="backslashreplace")
    own = open(1, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(level=level, stream=own, format=FORMAT, datefmt=TIME_FORMAT)
    # Both say of every connection and every start what the request lines say better.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


class AccessLog:
    """Writes a line a request, past :mod:`logging`, which costs more than parsing the request.

    ``2026-01-31T12:00:00.123Z INFO request method=POST path=/ status=200 ms=0.7 bytes=19 id=3f-1``
    """

    def __init__(self, slot: int) -> None:
        self._enabled = logging.getLogger().isEnabledFor(logging.INFO)
        self._slot = slot
        self._second = 0
        self._stamp = ""

    def write(
        self,
        method: str,
        target: str,
        status: int,
        seconds: float,
        size_bytes: int,
        request_id: bytes,
        note: str = "",
    ) -> None:
        """Write the line of one answered request; lose it rather than fail the request."""
        if not self._enabled:
            return
        now = time.time()
        second = int(now)
        if second != self._second:
            self._stamp = time.strftime(TIME_FORMAT, time.gmtime(second))
            self._second = second
        line = (
            f"{self._stamp}.{int((now - second) * 1000):03d}Z INFO request method={method} "
            f"path={target} status={status} ms={seconds * 1000:.2f} bytes={size_bytes} "
            f"id={request_id.decode('ascii')} worker={self._slot}"
        )
        if note:
            line += f" note={_quote(note)}"
        with contextlib.suppress(OSError):
            os.write(1, line.encode("utf-8", "backslashreplace") + b"\n")


def _quote(text: str) -> str:
    """Put a sentence on one line, in quotes; a client's bytes may stand in it."""
    return '"' + "".join(c if c.isprintable() else " " for c in text[:300]).replace('"', "'") + '"'
