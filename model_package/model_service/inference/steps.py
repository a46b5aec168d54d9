"""The steps of a service: the one that judges the input, the others, and who is to blame."""

from __future__ import annotations

import re
import threading
from functools import partial
from typing import Any, Callable

from model_service.http.messages import RECOGNITION_FAILED, Refused, to_json
from model_service.http.streams import in_parts
from model_service.model_service import SingleNodeService
from model_service.package.loader import base_of

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class Steps:
    """A service, taken apart into the step that judges the input and the rest.

    Attributes:
        prepare: ``_preprocess``, or nothing where the service has a whole ``inference`` of its own.
        ask: the other steps.
    """

    def __init__(self, service: SingleNodeService, computing: threading.Lock | None = None) -> None:
        """Take it apart; with ``computing`` only one thread at a time is in a step."""
        base = base_of(type(service))
        self.reads_body = base.reads_body
        self.whole = type(service).inference is not SingleNodeService.inference
        self.prepare: Callable[[Any], Any] = service._preprocess
        self.ask: Callable[[Any], Any] = lambda data: service._postprocess(service._inference(data))
        if self.whole:
            self.prepare, self.ask = lambda data: data, service.inference
        if type(service).streams is True:  # a method of this name is the user's own
            self.ask = _then_in_parts(self.ask)
        if computing is not None:
            self.prepare = _one_at_a_time(self.prepare, computing)
            self.ask = _one_at_a_time(self.ask, computing)
        self._wrap = partial(base.wrap, service)

    def encode(self, answer: Any, data: Any) -> bytes:
        """Return an answer as JSON; ``data`` is what the request brought."""
        return to_json(self._wrap(answer, data) if self.reads_body else answer)

    def blames_input(self, error: BaseException) -> bool:
        """Tell whether an error of a whole ``inference`` came out of its ``_preprocess``."""
        trace = error.__traceback__ if self.whole else None
        while trace is not None:
            if trace.tb_frame.f_code.co_name == "_preprocess":
                return True
            trace = trace.tb_next
        return False


def _then_in_parts(ask: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda data: in_parts(ask(data))


def _one_at_a_time(step: Callable[[Any], Any], lock: threading.Lock) -> Callable[[Any], Any]:
    def run(data: Any) -> Any:
        with lock:
            return step(data)

    return run


def blame_input(error: BaseException, data: Any) -> Refused:
    """Return the refusal of an input that ``_preprocess`` did not take, naming its parts."""
    if isinstance(error, ValueError) and "`" in str(error):
        sentence = _one_line(str(error))  # it names the part itself
    elif isinstance(data, dict) and any(isinstance(value, dict) for value in data.values()):
        names = ", ".join(f"`{str(name)[:80]}`" for name in list(data)[:5])
        sentence = f"part {names} cannot be used: {describe(error)}"
    else:
        sentence = f"the request cannot be used: {describe(error)}"
    return Refused(422, sentence, error=RECOGNITION_FAILED)


def describe(error: BaseException) -> str:
    """Return the type of an error and its text in one line, without addresses."""
    text = _one_line(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _one_line(text: str) -> str:
    return " ".join(_ADDRESS.sub("", text).split())[:300]
