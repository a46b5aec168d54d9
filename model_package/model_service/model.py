"""The user's service in one worker, and whether it can answer: what health tells."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from typing import Any

from model_service.board import State
from model_service.lane import BrokenOff
from model_service.messages import Refused, to_json
from model_service.model_service import SingleNodeService
from model_service.package import PackageFault, load_service
from model_service.samples import make_sample
from model_service.settings import Settings
from model_service.streams import Coroutines, is_stream, listen
from model_service.surface import Surface

log = logging.getLogger("model_service")

Step = Callable[[Any], Any]

RETRY_SECONDS = 1.0
IDLE_SECONDS = 10.0
CHEAP_SECONDS = 0.1

_SAMPLE_REFUSED = (
    "%s refused the sample made from config.json (%s), so health cannot tell whether the model "
    "works; put a good request beside config.json, as warm_up.json or warm_up.<type of file>"
)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class Model:
    """Loads the service, asks it a sample, and from then on asks it what clients ask.

    It is ready once it has answered the sample, and no longer once it fails the sample: a request
    that fails is first taken for the client's own fault.

    Attributes:
        reason: why it is not ready; one sentence.
        coroutines: where asynchronous streams run.
    """

    def __init__(
        self, settings: Settings, surface: Surface, publish: Callable[[State], None]
    ) -> None:
        self.state = State.LOADING
        self.reason = "the model is loading"
        self.coroutines = Coroutines()
        self._settings = settings
        self._surface = surface
        self._publish = publish
        self._steps: tuple[Step, Step] | None = None
        self._own_threads: set[threading.Thread] = set()
        self._sample_seconds = 0.0
        self._last_answer = 0.0
        self._last_check = 0.0

    @property
    def ready(self) -> bool:
        """Whether the model has answered a sample, and has not failed one since."""
        return self.state is State.READY

    @property
    def unseen(self) -> bool:
        """Whether nobody asked a quick model for so long that health should ask it itself."""
        idle_s = time.monotonic() - self._last_answer
        return self.ready and idle_s > IDLE_SECONDS and self._sample_seconds < CHEAP_SECONDS

    def load(self) -> None:
        """Load the package and ask the model samples until it answers; in a thread of its own."""
        before = set(threading.enumerate())
        started = time.perf_counter()
        try:
            if self._surface.problem:
                raise PackageFault(self._surface.problem)
            service = load_service(self._settings.model_path, self._settings.model_name)
        except PackageFault as fault:
            log.error("the model package cannot be served: %s", fault)
            self._set(State.FAILED, f"the model package cannot be served: {fault}")
            return
        except BaseException as error:  # SystemExit, asyncio.CancelledError ...
            log.exception("the model could not be loaded")
            self._set(State.FAILED, f"the model could not be loaded: {_describe(error)}")
            return
        self._own_threads = set(threading.enumerate()) - before
        self._steps = _steps(service)
        self._ask_until_answered()
        log.info("ready after %.2f s", time.perf_counter() - started)

    def _ask_until_answered(self) -> None:
        wait_s = 0.05
        while fault := self._ask_samples():
            if fault != self.reason:
                log.error("the model does not answer: %s", fault)
            self._set(State.LOADING if self._loads_in_background() else State.FAILED, fault)
            time.sleep(wait_s)
            wait_s = min(RETRY_SECONDS, wait_s * 2)
        self._set(State.READY, "")

    def _loads_in_background(self) -> bool:
        """Whether a thread that the constructor started still runs, as in the platform's sample."""
        return any(thread.is_alive() for thread in self._own_threads)

    def _ask_samples(self) -> str:
        """Ask a sample of each api; return what went wrong, or nothing."""
        if self._steps is None:
            return "the model is not loaded"
        prepare, ask = self._steps
        self._last_check = time.monotonic()
        for api in self._surface.apis:
            sample = make_sample(api, self._settings.model_path)
            strict = sample.own or self._loads_in_background()
            started = time.perf_counter()
            try:
                prepared = prepare(sample.data)
                strict = strict or sample.declared
                self._take(ask(prepared))
            except BrokenOff:
                raise
            except BaseException as error:
                if strict:
                    log.debug("a sample of %s failed", api.url, exc_info=True)
                    return f"a sample request for {api.url} failed with {_describe(error)}"
                log.warning(_SAMPLE_REFUSED, api.url, _describe(error))
            self._sample_seconds = time.perf_counter() - started
        self._last_answer = time.monotonic()
        return ""

    def _take(self, answer: Any) -> None:
        """Take an answer to a sample as a client would, a stream whole."""
        if is_stream(answer):
            listen(answer, self.coroutines)
        else:
            to_json(answer)

    def check(self) -> None:
        """Ask the samples again, and stop being ready where the model fails them."""
        if not self.ready or time.monotonic() - self._last_check < RETRY_SECONDS:
            return
        if fault := self._ask_samples():
            log.error("the model no longer answers: %s", fault)
            self._set(State.FAILED, fault)
            threading.Thread(target=self._ask_until_answered, daemon=True).start()

    def predict(self, data: Any) -> Any:
        """Run the three steps on the data of one request; return the answer as JSON, or a stream.

        Raises:
            Refused: 422 where ``_preprocess`` raised, 500 where a later step did.
        """
        if self._steps is None:
            raise Refused(503, self.reason)
        prepare, ask = self._steps
        try:
            prepared = prepare(data)
        except BrokenOff:
            raise
        except BaseException as error:
            log.debug("_preprocess raised", exc_info=True)
            raise Refused(422, _blame_input(error, data)) from None
        try:
            answer = ask(prepared)
            if is_stream(answer):
                return answer
            answer = to_json(answer)
        except BrokenOff:
            raise
        except BaseException as error:
            log.exception("the model failed")
            raise Refused(500, self.failed(error)) from None
        self._last_answer = time.monotonic()
        return answer

    def failed(self, error: BaseException) -> str:
        """Take note that a step raised; return the client's sentence."""
        self.check()
        return f"the model failed with {_describe(error)}"

    def has_answered(self) -> None:
        """Take note of an answer, or a part of one."""
        self._last_answer = time.monotonic()

    def _set(self, state: State, reason: str) -> None:
        self.reason = reason
        self.state = state
        self._publish(state)


def _steps(service: SingleNodeService) -> tuple[Step, Step]:
    """Return the step that judges the input, and the rest; of a whole ``inference`` all is rest."""
    if type(service).inference is not SingleNodeService.inference:
        return lambda data: data, service.inference
    return service._preprocess, lambda data: service._postprocess(service._inference(data))


def _blame_input(error: BaseException, data: Any) -> str:
    """Return one sentence about an input that ``_preprocess`` refused, naming its parts."""
    if isinstance(error, ValueError) and "`" in str(error):
        return _one_line(str(error))  # it names the part itself
    if isinstance(data, dict) and any(isinstance(value, dict) for value in data.values()):
        names = ", ".join(f"`{str(name)[:80]}`" for name in list(data)[:5])
        return f"part {names} cannot be used: {_describe(error)}"
    return f"the request cannot be used: {_describe(error)}"


def _describe(error: BaseException) -> str:
    text = _one_line(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _one_line(text: str) -> str:
    return " ".join(_ADDRESS.sub("", text).split())[:300]
