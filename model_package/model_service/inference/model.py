"""The user's model, and whether it can answer: what health tells."""

from __future__ import annotations

import logging
import socket
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, Callable

from model_service.http.bodies import decode_body
from model_service.http.messages import RECOGNITION_FAILED, Refused, Request
from model_service.http.streams import Coroutines, is_stream
from model_service.http.surface import Api, Surface
from model_service.inference.lane import BrokenOff, Lane
from model_service.inference.model_client import ModelClient
from model_service.inference.one_copy import make_stand_in
from model_service.inference.proof import Proof
from model_service.inference.steps import Steps, blame_input, describe
from model_service.package.loader import PackageFault, load_class, load_service
from model_service.package.source import PackageCode
from model_service.package.working_folder import enter
from model_service.processes.board import State
from model_service.settings import Settings

log = logging.getLogger("model_service")

RETRY_SECONDS = 1.0
IDLE_SECONDS = 10.0
CHEAP_SECONDS = 0.1
DAEMON_SECONDS = 60.0
"""How long a daemon thread of the constructor counts as one that loads: many run for ever."""


class Model:
    """Loads the service, asks it a sample, and from then on asks it what clients ask.

    It is ready once it has answered the sample, and no longer once it fails the sample: a request
    that fails is first taken for the client's own fault. Where nobody can tell whether the sample
    fits, the model is ready once it is loaded, and the first real answer or failure decides; a
    request that was answered is the sample from then on.

    Attributes:
        reason: why it is not ready; one sentence.
        admits: whether requests are let in; also while only a real one can tell whether it works.
        coroutines: where asynchronous streams run.
    """

    def __init__(
        self,
        settings: Settings,
        surface: Surface,
        publish: Callable[[State], None],
        lane: Lane | None = None,
        root: Path | None = None,
        slot: int = 0,
        models: list[socket.socket] | None = None,
        idle_s: float = IDLE_SECONDS,
        retry_s: float = RETRY_SECONDS,
        daemon_s: float = DAEMON_SECONDS,
    ) -> None:
        self.state = State.LOADING
        self.reason = "the model is loading"
        self.admits = False
        self.coroutines = Coroutines()
        self._settings = settings
        self._surface = surface
        self._publish = publish
        self._lane = lane
        self._root = root
        self._slot = slot
        self._models = models or []
        self._idle_s = idle_s
        self._retry_s = retry_s
        self._daemon_s = daemon_s
        self._computing = threading.Lock()
        self._code = PackageCode(settings.model_path)
        self._steps: Steps | None = None
        self._proof = Proof(
            settings, surface, self._code, lane, self.coroutines, self._loads_in_background
        )
        self._own_threads: set[threading.Thread] = set()
        self._answered = False
        self._loaded_at = 0.0
        self._last_answer = 0.0

    @property
    def ready(self) -> bool:
        """Whether the model has answered a sample, and has not failed one since."""
        return self.state is State.READY

    @property
    def reads_body(self) -> bool:
        """Whether the service gets the bytes of a body."""
        return self._steps is not None and self._steps.reads_body

    @property
    def unseen(self) -> bool:
        """Whether nobody asked a quick model for so long that health should ask it itself."""
        idle_s = time.monotonic() - self._last_answer
        return (
            self.ready
            and self._proof.sample_answers
            and idle_s > self._idle_s
            and self._proof.seconds < CHEAP_SECONDS
        )

    def load(self) -> None:
        """Load the package and ask the model a sample; again later, until it answers."""
        if self._models:
            self._connect()
            return
        before = set(threading.enumerate())
        started = time.perf_counter()
        try:
            if self._surface.problem:
                raise PackageFault(self._surface.problem)
            folder = self._settings.model_path
            if self._root is not None and folder.is_dir():
                folder = enter(self._root, self._slot, folder, self._code)
            service = load_service(
                folder, self._settings.model_name, self._code, self._settings.weights_path
            )
        except PackageFault as fault:
            log.error("the model package cannot be served: %s", fault)
            self._set(State.FAILED, f"the model package cannot be served: {fault}")
            return
        except BaseException as error:  # SystemExit, asyncio.CancelledError ...
            log.exception("the model could not be loaded")
            self._set(State.FAILED, f"the model could not be loaded: {describe(error)}")
            return
        self._own_threads = set(threading.enumerate()) - before
        self._loaded_at = time.monotonic()
        self._steps = Steps(service)
        self._attempt(started)

    def _connect(self) -> None:
        """Let model processes hold the model; only the other two steps run here."""
        if self._lane is not None:
            self._lane.bound = False

        def up(fault: str, attributes: Any) -> None:
            self._in_turn(partial(self._come_up, client, fault, attributes))

        def down() -> None:
            self._set(State.LOADING, "the model process ended, and is started again")

        client = ModelClient(self._models, self._settings.predict_timeout_seconds, up, down)
        client.start()

    def _come_up(self, client: ModelClient, fault: str, attributes: Any) -> None:
        """Take what a model process says of the service, and ask it the sample."""
        if fault:
            if not self.ready:  # by another model process
                self._set(State.FAILED, fault)
            return
        try:
            if self._steps is None:
                folder = self._settings.model_path
                if self._root is not None:
                    folder = enter(self._root, self._slot, folder, self._code)
                service = make_stand_in(load_class(folder), attributes, self._ask(client))
                self._steps = Steps(service, self._computing)
        except BaseException as error:
            log.exception("the model package cannot be used")
            self._set(State.FAILED, f"the model package cannot be used: {describe(error)}")
            return
        self._loaded_at = time.monotonic()
        self._attempt(time.perf_counter())

    def _ask(self, client: ModelClient) -> Callable[[Any], Any]:
        """Return an ``_inference`` that lets the steps of other requests run while it waits."""

        def infer(value: Any) -> Any:
            self._computing.release()
            try:
                return client.infer(value)
            finally:
                self._computing.acquire()

        return infer

    def _attempt(self, started: float, wait_s: float = 0.05) -> None:
        """Ask the samples, and again after a while where the model fails them."""
        if self.ready:
            return  # a real request was answered meanwhile
        fault = self._ask_samples()
        if not fault:
            self._set(State.READY, "")
            log.info("ready after %.2f s", time.perf_counter() - started)
            return
        if fault != self.reason:
            log.error("the model does not answer: %s", fault)
        loading = self._loads_in_background()
        self._set(
            State.LOADING if loading else State.FAILED, fault, self._proof.example is not None
        )
        again = partial(self._attempt, started, min(self._retry_s, wait_s * 2))
        timer = threading.Timer(wait_s, self._in_turn, [again])
        timer.daemon = True
        timer.start()

    def _in_turn(self, call: Callable[[], None]) -> None:
        """Run in the thread of predictions, which is the one that loaded the model."""
        if self._lane is None:
            call()
        else:
            self._lane.run_in_turn(call)

    def _loads_in_background(self) -> bool:
        """Whether a thread of the constructor's still loads, as in the platform's sample."""
        young = time.monotonic() - self._loaded_at < self._daemon_s
        return any(
            thread.is_alive() and (young or not (thread.daemon or "PoolExecutor" in thread.name))
            for thread in self._own_threads
        )

    def _ask_samples(self) -> str:
        """Ask a sample of each api; return what went wrong, or nothing."""
        if self._steps is None:
            return "the model is not loaded"
        fault = self._proof.ask(self._steps)
        if not fault:
            self._last_answer = time.monotonic()
        return fault

    def check(self) -> None:
        """Ask the samples again, and stop being ready where the model fails them."""
        if not self.ready or time.monotonic() - self._proof.asked_at < self._retry_s:
            return
        fault = self._ask_samples()
        if fault:
            log.error("the model no longer answers: %s", fault)
            self._set(State.FAILED, fault, self._proof.example is not None)
            again = partial(self._attempt, time.perf_counter())
            threading.Timer(self._retry_s, self._in_turn, [again]).start()

    def predict(self, api: Api, request: Request) -> Any:
        """Run the three steps on one request; return the answer as JSON, or a stream.

        Raises:
            Refused: what :func:`decode_body` says of the body; 422 where ``_preprocess`` raised;
                where a later step did, what :meth:`failed` returns.
        """
        steps = self._steps
        if steps is None:
            raise Refused(503, self.reason)
        data = decode_body(api, request, steps.reads_body)
        try:
            prepared = steps.prepare(data)
        except BrokenOff:
            raise
        except BaseException as error:
            log.debug("_preprocess raised", exc_info=True)
            raise blame_input(error, data) from None
        try:
            answer = steps.ask(prepared)
        except (BrokenOff, Refused):
            raise
        except BaseException as error:
            if steps.blames_input(error):
                log.debug("_preprocess raised", exc_info=True)
                raise blame_input(error, data) from None
            log.exception("the model failed")
            raise self.failed(error, isinstance(error, (KeyError, TypeError))) from None
        if is_stream(answer):
            return answer
        try:
            encoded = steps.encode(answer, data)
        except Exception as error:
            log.exception("the answer cannot be sent")
            raise self.failed(error) from None
        self._last_answer = time.monotonic()
        if not self._answered or self.state is not State.READY:
            self.has_answered(api, request)
        return encoded

    def failed(self, error: BaseException, clients_fault: bool = False) -> Refused:
        """Take note that a step after ``_preprocess`` raised; return the client's answer.

        That is 500, and 400 for ``KeyError`` and ``TypeError``, which the platform takes for the
        client's fault. The sample tells whether it was the request's fault after all. Without one
        that fits, the first failure counts, until a request is answered.
        """
        if self._proof.is_at_hand:
            self._in_turn(self.check)
        elif not (self._answered or clients_fault):
            reason = f"the first real request failed with {describe(error)}"
            self._set(State.FAILED, reason, admits=True)
        sentence = f"the model failed with {describe(error)}"
        return Refused(400 if clients_fault else 500, sentence, error=RECOGNITION_FAILED)

    def has_answered(self, api: Api | None = None, request: Request | None = None) -> None:
        """Take note of an answer, or of a part of a stream: the proof that no sample could give.

        A request that is handed over is asked again when others fail.
        """
        self._last_answer = time.monotonic()
        self._answered = True
        if api and request:
            self._proof.keep(api, request)
        if self.admits and self.state is not State.READY:
            self._set(State.READY, "")

    def _set(self, state: State, reason: str, admits: bool = False) -> None:
        self.reason = reason
        self.admits = admits or state is State.READY
        self.state = state
        self._publish(state)
