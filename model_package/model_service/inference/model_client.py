"""A worker's way to the model process: its ``_inference``."""

from __future__ import annotations

import itertools
import logging
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from model_service.http.messages import Refused, overloaded
from model_service.inference.link import Link, connect

log = logging.getLogger("model_service")

RETRY_SECONDS = 0.2
_BASES = {"KeyError": KeyError, "TypeError": TypeError, "ValueError": ValueError}
"""Of what the model raised: the first two count as the client's fault, see ``Model.failed``."""


class ModelClient:
    """Sends inputs to the model processes, to the one with the fewest in hand.

    Attributes:
        up: called with the first message of a process that has come up: fault, attributes.
        down: called where none is left.
    """

    def __init__(
        self,
        listeners: list[socket.socket],
        patience_s: float,
        up: Callable[[str, Any], None],
        down: Callable[[], None],
    ) -> None:
        self._patience_s = patience_s or None
        self._up = up
        self._down = down
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._waiting: dict[Link, dict[int, Future[Any]]] = {}
        self._listeners = listeners

    def start(self) -> None:
        """Begin to connect."""
        for listener in self._listeners:
            threading.Thread(target=self._stay_connected, args=(listener,), daemon=True).start()

    def infer(self, value: Any) -> Any:
        """Return the model's output for one input.

        Raises:
            Refused: there is no model process at the moment, or it ended meanwhile.
            BaseException: whatever ``_inference`` raised.
        """
        answered: Future[Any] = Future()
        with self._lock:
            if not self._waiting:
                raise overloaded("the model process is being started; come back later")
            link = min(self._waiting, key=lambda each: len(self._waiting[each]))
            waiting, number = self._waiting[link], next(self._numbers)
            waiting[number] = answered
        try:
            link.send((number, value))
            return answered.result(self._patience_s)
        except OSError:
            link.close()
            raise overloaded("the model process ended; come back later") from None
        finally:
            with self._lock:
                waiting.pop(number, None)

    def _stay_connected(self, listener: socket.socket) -> None:
        while True:
            try:
                self._serve(connect(listener))
            except (EOFError, OSError):
                pass
            except Exception:
                log.exception("the runtime failed")
            time.sleep(RETRY_SECONDS)

    def _serve(self, link: Link) -> None:
        """Hand over what one model process answers, until it ends."""
        fault, attributes = link.receive()
        if not fault:
            with self._lock:
                self._waiting[link] = {}
        self._up(fault, attributes)
        try:
            while True:
                number, failure, outcome = link.receive()
                with self._lock:
                    answered = self._waiting.get(link, {}).get(number)
                if answered is None:
                    continue  # its request was given up
                if failure:
                    base = _BASES.get(failure, RuntimeError)
                    answered.set_exception(type(failure, (base,), {})(outcome))
                else:
                    answered.set_result(outcome)
        finally:
            with self._lock:
                lost = self._waiting.pop(link, {})
                none_left = not self._waiting
            if none_left:
                self._down()
            for answered in lost.values():
                if not answered.done():
                    answered.set_exception(_ended())
            link.close()


def _ended() -> Refused:
    return overloaded("the model process ended; come back later")
