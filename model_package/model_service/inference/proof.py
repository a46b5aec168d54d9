"""The proof that a model can answer: samples that it is asked, and what became of them."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Callable

from model_service.http.bodies import decode_body
from model_service.http.messages import Request
from model_service.http.streams import Coroutines, is_stream, listen
from model_service.http.surface import Api, Surface
from model_service.inference.lane import BrokenOff, Lane
from model_service.inference.steps import Steps, describe
from model_service.package.samples import SAMPLE_FILES, Sample, make_sample
from model_service.package.source import PackageCode
from model_service.settings import Settings

log = logging.getLogger("model_service")

PROBE_SECONDS = 1.0
"""A model that answers the sample within this time is asked once more, in another thread."""

EXAMPLE_BYTES = 2**20
"""How large a request may be that is kept to ask the model again."""

_NO_PROOF = (
    "a request made up from config.json for %s failed with %s: no proof, since nobody can tell "
    "whether it fits; the first real request decides. A good one beside config.json, as "
    "warm_up.json or warm_up.<type of file>, lets health tell"
)


class Proof:
    """Asks the samples: the author's own, made up ones, or a request that was answered.

    Attributes:
        example: a request that was answered, where no sample could tell.
        sample_answers: whether a sample was answered.
        seconds: how long the last answer took.
        asked_at: when samples were asked last, by the monotonic clock.
    """

    def __init__(
        self,
        settings: Settings,
        surface: Surface,
        code: PackageCode,
        lane: Lane | None,
        coroutines: Coroutines,
        is_loading: Callable[[], bool],
    ) -> None:
        self.example: tuple[Api, Request] | None = None
        self.sample_answers = False
        self.seconds = 0.0
        self.asked_at = 0.0
        self._settings = settings
        self._surface = surface
        self._code = code
        self._lane = lane
        self._coroutines = coroutines
        self._is_loading = is_loading
        self._warned: set[str] = set()

    @property
    def is_at_hand(self) -> bool:
        """Whether there is something to ask that the model has answered before."""
        return self.sample_answers or self.example is not None

    def keep(self, api: Api, request: Request) -> None:
        """Keep a request that was answered, where no sample is one."""
        if not self.is_at_hand and len(request.body) <= EXAMPLE_BYTES:
            self.example = (api, request)

    def ask(self, steps: Steps) -> str:
        """Ask a sample of each api; return what went wrong, or nothing."""
        self.asked_at = time.monotonic()
        if self.example is not None:
            api, request = self.example
            data = decode_body(api, request, steps.reads_body)
            return self._ask_sample(steps, api, Sample(data, own=True, fits=True))
        for api in self._surface.apis:
            try:
                sample = self._make_sample(steps, api)
            except (OSError, ValueError) as error:
                return f"{SAMPLE_FILES} cannot be read: {describe(error)}"
            fault = self._ask_sample(steps, api, sample)
            if fault:
                return fault
        return ""

    def _make_sample(self, steps: Steps, api: Api) -> Sample:
        return make_sample(api, self._settings.model_path, self._code, steps.reads_body)

    def _ask_sample(self, steps: Steps, api: Api, sample: Sample) -> str:
        counts, started = sample.own, time.perf_counter()
        try:
            prepared = steps.prepare(sample.data)
            counts = counts or sample.fits
            answer = steps.ask(prepared)
            self._take(steps, answer, sample)
        except BrokenOff:
            raise
        except BaseException as error:
            log.debug("a sample of %s failed", api.url, exc_info=True)
            if steps.blames_input(error):
                counts = sample.own
            if counts or self._is_loading():
                return f"a sample request for {api.url} failed with {describe(error)}"
            if api.url not in self._warned:
                self._warned.add(api.url)
                log.warning(_NO_PROOF, api.url, describe(error))
        else:
            self.sample_answers = self.sample_answers or self.example is None
            self.seconds = time.perf_counter() - started
            if not is_stream(answer):  # whose parts are made in the thread of predictions anyway
                self._find_out_whether_bound(steps, api)
        return ""

    def _take(self, steps: Steps, answer: Any, sample: Sample) -> None:
        """Take an answer to a sample as a client would, a stream whole."""
        if is_stream(answer):
            listen(answer, self._coroutines)
        else:
            steps.encode(answer, sample.data)

    def _find_out_whether_bound(self, steps: Steps, api: Api) -> None:
        """Ask a quick model the sample in another thread, too: some answer only in their own."""
        lane = self._lane
        if lane is None or lane.bound is not None or self.seconds > PROBE_SECONDS:
            return

        def ask() -> None:
            try:
                sample = self._make_sample(steps, api)
                self._take(steps, steps.ask(steps.prepare(sample.data)), sample)
                lane.bound = False
            except BaseException:
                log.debug("the sample failed in another thread", exc_info=True)
                lane.bound = True

        thread = threading.Thread(target=ask, name="probe", daemon=True)
        thread.start()
        thread.join()
        if lane.bound:
            log.info("the service answers only in the thread that loaded it: it stays there")
