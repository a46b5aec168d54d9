"""Answers that are made in parts: server-sent events, each sent when it is made.

A stream is what the user's last step returned: an iterator, or an asynchronous one. An iterator's
parts are made in the lane's threads, one job a part, so that many streams take turns where one
prediction at a time is allowed; those of an asynchronous one in an event loop of their own, all
together. Nothing is made ahead: the next part is asked for when the client has taken the last.

Source of the format: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import asyncio
import logging
import re
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from typing import Any, Callable

from model_service.http.messages import Refused, overloaded, to_json
from model_service.inference.lane import BrokenOff, Job, Lane

log = logging.getLogger("model_service")

EVENT_STREAM = b"text/event-stream;charset=UTF-8"
HEADERS = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
"""A proxy in between, nginx above all, is not to collect the parts."""
TICK_SECONDS = 0.2
"""How often a server that waits for a part looks whether it should go on waiting."""
SAMPLE_SECONDS = 10.0
"""A stream that answers the sample of health is listened to for so long at most."""

_LINE_END = re.compile(r"\r\n|\r|\n")
_FRAMED = re.compile(r"(?:data|event|id|retry):|:.")
_FIELD = re.compile(r"(?:data|event|id|retry)?:|(?:data|event|id|retry)?$")

Deliver = Callable[["bytes | BaseException | None"], None]


def is_stream(answer: object) -> bool:
    """Tell whether an answer of the last step is made in parts."""
    return isinstance(answer, (Iterator, AsyncIterator))


def in_parts(answer: Any) -> Any:
    """Return an answer as a stream, for a class that says ``streams = True``.

    What can be iterated is its parts, as in a ``for``; text, bytes, an object of JSON and anything
    else is the one part.
    """
    if is_stream(answer):
        return answer
    if isinstance(answer, AsyncIterable):
        return answer.__aiter__()
    is_whole = isinstance(answer, (str, bytes, bytearray, memoryview, Mapping))
    return iter([answer] if is_whole or not isinstance(answer, Iterable) else answer)


def to_event(part: object) -> bytes:
    """Return the bytes of one part: bytes as they are, text and what JSON can say as an event.

    Text that is whole events already goes out as it is.

    Raises:
        TypeError, ValueError: as :func:`model_service.http.messages.to_json`.
    """
    if isinstance(part, (bytes, bytearray, memoryview)):
        return bytes(part)
    text = part if isinstance(part, str) else to_json(part).decode()
    lines = _LINE_END.split(text)
    # ":\n\n" is a word of many a language model; as a comment it would be lost.
    if _FRAMED.match(lines[0]) and lines[-2:] == ["", ""] and all(map(_FIELD.match, lines)):
        return text.encode()
    return "".join([*(f"data: {line}\n" for line in lines), "\n"]).encode()


def error_event(sentence: str) -> bytes:
    """Return the event that ends a stream which cannot go on."""
    return b"event: error\ndata: " + to_json({"error": sentence}) + b"\n\n"


class Coroutines:
    """An event loop in a thread of its own, for asynchronous iterators: they may block it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop; its thread starts with the first use."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=self._loop.run_forever, name="coroutines", daemon=True
                ).start()
            return self._loop


class Stream:
    """One answer in parts; the server asks for each, and ends it in any case.

    Attributes:
        parts: how many were sent.
        size_bytes: of all that was sent.
        end: how it ended: complete, error, timeout, client or stopped.
        note: the same in words, for the log.
    """

    def __init__(
        self,
        iterator: Any,
        lane: Lane,
        coroutines: Coroutines,
        *,
        patience_s: float,
        stopped: Callable[[], bool],
        failed: Callable[[BaseException], Refused],
        made: Callable[[float, bool], None],
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            iterator: the user's.
            lane: where its parts are made.
            coroutines: where those of an asynchronous one are made.
            patience_s: how long a part may take; 0 for ever.
            stopped: tells whether the service has no more time for streams.
            failed: takes note that the iterator raised; returns the client's answer.
            made: takes note of a part: seconds it took, and whether it is the first.
        """
        self.parts = 0
        self.size_bytes = 0
        self.end = "complete"
        self.note = ""
        self._iterator = iterator
        self._lane = lane
        self._coroutines = coroutines
        self._patience_s = patience_s
        self._stopped = stopped
        self._failed = failed
        self._made = made
        self._asked = time.monotonic()
        self._lock = threading.Lock()
        self._running = False
        self._over = False
        self._job: Job | None = None
        self._task: asyncio.Task[Any] | None = None

    # --- what the server calls -------------------------------------------------------------------

    def ask(self, deliver: Deliver) -> None:
        """Begin to make the next part; any thread hands the outcome to ``deliver``."""
        self._asked = time.monotonic()
        if isinstance(self._iterator, AsyncIterator):
            loop = self._coroutines.loop
            loop.call_soon_threadsafe(self._start_task, loop, deliver)
        else:
            self._job = self._lane.go_on(self._step, deliver)

    def take(self, outcome: bytes | BaseException | None) -> bytes | None:
        """Return what to send for an outcome; None at the end.

        Raises:
            Refused: nothing was sent yet, so that an ordinary error answers.
        """
        if isinstance(outcome, Refused):
            return self.cut("timeout", outcome)
        if isinstance(outcome, BaseException):
            return self.cut("error", self._failed(outcome))
        if outcome is not None:
            self._made(time.monotonic() - self._asked, self.parts == 0)
            self.parts += 1
            self.size_bytes += len(outcome)
        return outcome

    def is_stopped(self) -> bool:
        """Tell whether the service has no more time for streams."""
        return self._stopped()

    def overdue(self) -> bytes | None:
        """Return the event that ends the stream where the next part comes too late.

        Raises:
            Refused: nothing was sent yet, so that an ordinary error answers.
        """
        if self.is_stopped():
            return self.cut("stopped", overloaded("the service stops; ask another instance"))
        silent_s = time.monotonic() - self._asked
        if self._patience_s and silent_s > self._patience_s:
            sentence = f"no part came for {self._patience_s:g} s (PREDICT_TIMEOUT_SECONDS)"
            return self.cut("timeout", Refused(504, sentence))
        return None

    def cut(self, end: str, refused: Refused) -> bytes:
        """End the stream before its time; return the event that says so.

        Raises:
            Refused: nothing was sent yet, so that an ordinary error answers.
        """
        self.end, self.note = end, refused.sentence
        self.close()
        if not self.parts:
            raise refused
        event = error_event(refused.sentence)
        self.size_bytes += len(event)
        return event

    def leave(self) -> None:
        """End the stream of a client that left."""
        self.end, self.note = "client", f"the client left after {self.parts} parts"
        self.close()

    def close(self) -> None:
        """Let the iterator's ``finally`` run: now, or when the part that is being made is made."""
        with self._lock:
            if self._over:
                return
            self._over = True
            running = self._running
        if isinstance(self._iterator, AsyncIterator):
            loop = self._coroutines.loop
            loop.call_soon_threadsafe(lambda: loop.create_task(self._close_async()))
        elif not running:
            self._lane.first(self._close)
        elif self.end == "timeout" and self._job is not None:
            self._lane.give_up(self._job)

    # --- in a thread of the lane -----------------------------------------------------------------

    def _step(self) -> bytes | BaseException | None:
        with self._lock:
            if self._over:
                return None
            self._running = True
        outcome: bytes | BaseException | None = b""
        try:
            while outcome == b"":  # an empty chunk would end the answer
                outcome = to_event(next(self._iterator))
        except StopIteration:
            outcome = None
        except BrokenOff:  # in the event loop: the lane has the answer to that
            raise
        except BaseException as error:
            log.exception("the model failed")
            outcome = error
        finally:
            with self._lock:
                self._running = False
                over = self._over
            if over:
                self._close()
        return outcome

    def _close(self) -> None:
        close = getattr(self._iterator, "close", None)
        try:
            if close is not None:
                close()
        except BaseException:
            log.exception("the model failed at the end of a stream")

    # --- in the event loop of the coroutines -----------------------------------------------------

    def _start_task(self, loop: asyncio.AbstractEventLoop, deliver: Deliver) -> None:
        self._task = loop.create_task(self._step_async(deliver))

    async def _step_async(self, deliver: Deliver) -> None:
        outcome: bytes | BaseException | None
        try:
            outcome = b""
            while outcome == b"":
                outcome = to_event(await self._iterator.__anext__())
        except StopAsyncIteration:
            outcome = None
        except BaseException as error:
            log.exception("the model failed")
            outcome = error
        deliver(outcome)

    async def _close_async(self) -> None:
        try:
            if self._task is not None and not self._task.done():
                self._task.cancel()
                await asyncio.wait({self._task})
            close = getattr(self._iterator, "aclose", None)
            if close is not None:
                await close()
        except BaseException:
            log.exception("the model failed at the end of a stream")


def listen(iterator: Any, coroutines: Coroutines) -> None:
    """Take the parts of a stream that answers a sample, for :data:`SAMPLE_SECONDS` at most.

    Raises:
        BaseException: whatever the iterator raises.
    """
    until = time.monotonic() + SAMPLE_SECONDS
    if isinstance(iterator, AsyncIterator):
        call = _listen_async(iterator, until)
        asyncio.run_coroutine_threadsafe(call, coroutines.loop).result()
        return
    for part in iterator:
        to_event(part)
        if time.monotonic() > until:
            break
    close = getattr(iterator, "close", None)
    if close is not None:
        close()


async def _listen_async(iterator: AsyncIterator[Any], until: float) -> None:
    async for part in iterator:
        to_event(part)
        if time.monotonic() > until:
            break
    close = getattr(iterator, "aclose", None)
    if close is not None:
        await close()
