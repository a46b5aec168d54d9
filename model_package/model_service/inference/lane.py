"""The lane of a prediction: in the event loop, or in a thread beside it.

Handing a prediction of 0.4 ms to a thread and back costs more than half the throughput; running one
of 5 s in the event loop stops every other connection of the worker, health included. No declaration
tells them apart, so they are told apart by measurement, and trust is earned: predictions start in
a thread, move into the loop after many quick ones, and move back at the first slow one. That one is
broken off by an alarm and begun again in a thread, so that it holds up nobody else for long.

What no alarm breaks off (native code that does not return) holds its worker up until the supervisor
replaces it. A service that must not be begun twice asks for ``PREDICT_IN_THREADS=always``.

Services keep state on ``self`` between the steps, so that predictions run one at a time unless
``PREDICT_THREADS`` says otherwise. And some are bound to the thread that loaded them, as graphs of
TensorFlow 1: the model is loaded in the thread that predicts, and one that answers nowhere else
never leaves it. By hand: executors of the standard library know neither a change of place nor a
limit of who may wait.
"""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import threading
import time
from collections import deque
from enum import Enum, auto
from queue import SimpleQueue
from types import FrameType
from typing import Any, Callable

from model_service.http.messages import Refused, overloaded
from model_service.settings import Settings

log = logging.getLogger("model_service")

QUICK_SECONDS = 0.005
SLOW_SECONDS = 0.1
TRUST_NEEDED = 200
HICCUP_COST = 5
"""What a prediction between quick and slow costs: on a busy machine quick ones are delayed too."""
SMALL_BYTES = 64 * 1024
"""A larger body may take long to decode however quick the model is."""
HOLD_UP_SECONDS = 0.5
"""How long a prediction may hold up the event loop, health included, before it is broken off."""
THREAD_NAME = "predict"
MAX_STUCK = 8
TURN_SECONDS = 0.02
"""How long the event loop waits for a prediction in the thread to end; then it queues up."""
WORTH_STARTING = 0.9
"""A prediction that has waited for so much of its time is not begun: it would only be given up."""

_LATE = "the prediction took longer than PREDICT_TIMEOUT_SECONDS"

Call = Callable[[], Any]


class BrokenOff(BaseException):
    """Raised into a prediction that holds up the event loop; ``except Exception`` lets it by."""


class JobState(Enum):
    """How far a prediction came."""

    WAITING = auto()
    RUNNING = auto()
    DONE = auto()
    GIVEN_UP = auto()


class Job:
    """One prediction on its way through a thread."""

    __slots__ = ("call", "deliver", "replaced", "start_by", "state", "trial")

    def __init__(
        self, call: Call, deliver: Callable[[Any], None], start_by: float, trial: bool = False
    ) -> None:
        self.call = call
        self.deliver = deliver
        self.start_by = start_by
        self.state = JobState.WAITING
        self.trial = trial
        self.replaced = False


class Lane:
    """Decides, runs what goes to threads, and refuses what would only wait.

    Attributes:
        in_flight: predictions in threads, waiting ones included.
        stuck: threads whose prediction was given up and still runs.
        bound: whether the service answers only in the thread that loaded it; None where nobody
            knows yet.
    """

    def __init__(self, settings: Settings) -> None:
        self.in_flight = 0
        self.stuck = 0
        self.bound: bool | None = None
        self._choice = settings.predict_in_threads
        self._threads = settings.predict_threads
        self._patience_s = settings.predict_timeout_seconds or math.inf
        self._limit = settings.predict_threads + settings.max_waiting
        self._queue: SimpleQueue[Job | Callable[[], None] | None] = SimpleQueue()
        self._first: deque[Callable[[], None]] = deque()
        self._turn: Any = threading.Lock()
        self._in_loop = False
        self._failed_in_loop: Call | None = None
        self._lock = threading.Lock()
        self._running = 0
        self._trust = 0
        self._trust_needed = TRUST_NEEDED
        self._alarm_s = 0.0

    def set_alarm(self) -> None:
        """Break off what holds up the event loop from now on; called in its thread, the main one.

        Where threads are not wanted at all, only what is past its time is broken off.
        """
        patience_s = 0.0 if math.isinf(self._patience_s) else self._patience_s
        signal.signal(signal.SIGALRM, _break_off)
        if self._choice == "never":
            self._alarm_s = patience_s
        else:
            self._alarm_s = min(HOLD_UP_SECONDS, patience_s or HOLD_UP_SECONDS)

    def inline(self, body_bytes: int) -> bool:
        """Tell whether to run the next prediction in the event loop."""
        if self._choice != "auto":
            return self._choice == "never"
        if self.bound or (self.bound is None and not body_bytes):
            return False
        return self._trust >= self._trust_needed and body_bytes <= SMALL_BYTES

    @property
    def blocked(self) -> bool:
        """Whether predictions that ran past their time leave no thread for others."""
        return self.stuck >= (1 if self.bound else MAX_STUCK)

    def run(self, call: Call) -> Any:
        """Run a prediction in the event loop; return None where a thread is to begin it again.

        Raises:
            Refused: 504, it was past its time, and threads are not wanted.
        """
        turn = self._turn
        if not turn.acquire(timeout=-1 if self._choice == "never" else TURN_SECONDS):
            return None
        self._in_loop = True
        signal.setitimer(signal.ITIMER_REAL, self._alarm_s)
        try:
            response = _run_until_broken_off(call)
            if self.bound is None and self._choice != "never":
                if response.status >= 400:  # the client's fault, or the wrong thread?
                    self._failed_in_loop = call
                    return None
                if response.stream is None:  # nothing of a stream was made yet
                    self.bound = False
            return response
        except BrokenOff:
            self.took(max(self._alarm_s, SLOW_SECONDS), 0)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._in_loop = False
            turn.release()
        if self._choice == "never":
            raise Refused(504, _LATE)
        return None

    def took(self, seconds: float, body_bytes: int) -> None:
        """Learn from a prediction how quick the next ones will be."""
        if body_bytes > SMALL_BYTES:
            return
        trusted = self._trust >= self._trust_needed
        if seconds < QUICK_SECONDS:
            self._trust = min(self._trust + 1, 2 * self._trust_needed)
        elif seconds < SLOW_SECONDS:
            self._trust = max(0, self._trust - HICCUP_COST)
        else:
            self._trust_needed *= 2 if trusted else 1
            self._trust = 0
        if trusted is not (self._trust >= self._trust_needed):
            place = "in threads" if trusted else "in the event loop"
            log.info("predictions now run %s; the last took %.1f ms", place, seconds * 1000)

    def submit(self, call: Call, deliver: Callable[[Any], None]) -> Job:
        """Run ``call`` in a thread, which then hands the response to ``deliver``.

        Raises:
            Refused: 503, too many predictions wait already, or too many threads are stuck.
        """
        with self._lock:
            refused = self._refusal()
            if refused is not None:
                raise refused
            self._enter()
        return self._put(call, deliver)

    def refusal(self, body_bytes: int) -> Refused | None:
        """Return why a prediction would be refused now; known before its body is read."""
        return None if self.inline(body_bytes) else self._refusal()

    def _refusal(self) -> Refused | None:
        if self.blocked:
            return overloaded(f"{self.stuck} predictions ran past their time and still run")
        if self.in_flight >= self._limit:
            return overloaded(f"{self.in_flight} predictions wait already; come back later")
        return None

    def go_on(self, call: Call, deliver: Callable[[Any], None]) -> Job | None:
        """Run what belongs to a prediction that was admitted: it is not refused.

        Where threads are not wanted it runs here and now, and the job is None.
        """
        if self._choice == "never":
            try:
                deliver(self.run(call))
            except Refused as refused:
                deliver(refused)
            return None
        with self._lock:
            self._enter()
        return self._put(call, deliver)

    def first(self, call: Callable[[], None]) -> None:
        """Run ``call`` in the next thread that is free, before whatever waits; it raises nothing.

        Where threads are not wanted it runs here and now.
        """
        if self._choice == "never":
            call()
            return
        self._first.append(call)
        with self._lock:
            if not self._running:
                self._start_thread()
        self._queue.put(None)

    def _enter(self) -> None:
        self.in_flight += 1
        if self._running < self._threads:
            self._start_thread()

    def _put(self, call: Call, deliver: Callable[[Any], None]) -> Job:
        start_by = time.monotonic() + WORTH_STARTING * self._patience_s
        job = Job(call, deliver, start_by, trial=call is self._failed_in_loop)
        self._queue.put(job)
        return job

    def run_in_turn(self, call: Callable[[], None]) -> None:
        """Run what is no prediction, loading the model for example, in the thread of predictions.

        Within a prediction that may run where it does, it runs here and now.
        """
        if threading.current_thread().name == THREAD_NAME or (
            self._in_loop and self.bound is False
        ):
            call()
            return
        with self._lock:
            if not self._running:
                self._start_thread()
        self._queue.put(call)

    def give_up(self, job: Job) -> Refused:
        """Stop waiting for a job; return what to tell its client.

        A thread cannot be ended from outside. Its prediction runs on, unwatched, and another thread
        takes over the queue; the first one leaves when it is done. Where the service is bound to
        its thread, the queue waits instead.
        """
        with self._lock:
            found, job.state = job.state, JobState.GIVEN_UP
            if found is JobState.WAITING:
                return overloaded("the prediction waited too long to be started; come back later")
            if found is JobState.RUNNING:
                self.stuck += 1
                self.in_flight -= 1
                if not self.bound:
                    job.replaced = True
                    self._running -= 1
                    self._turn = threading.Lock()
                    self._start_thread()
        return Refused(504, _LATE)

    def _start_thread(self) -> None:
        self._running += 1
        threading.Thread(target=self._work, name=THREAD_NAME, daemon=True).start()

    def _work(self) -> None:
        while True:
            job = self._queue.get()
            while self._first:
                with contextlib.suppress(IndexError):  # another thread was quicker
                    self._first.popleft()()
            if job is None:
                continue
            if not isinstance(job, Job):
                try:
                    with self._turn:
                        job()
                except Exception:
                    log.exception("the runtime failed")
                continue
            with self._lock:
                if job.state is JobState.GIVEN_UP or time.monotonic() > job.start_by:
                    self.in_flight -= 1
                    continue
                job.state = JobState.RUNNING
            if self._threads > 1:
                response = job.call()
            else:
                with self._turn:
                    response = job.call()
            if job.trial and response.status < 400:
                self.bound = True
                log.info("the service answers only in the thread that loaded it: it stays there")
            with self._lock:
                if job.state is JobState.GIVEN_UP:
                    self.stuck -= 1
                    if job.replaced:
                        return
                    continue
                job.state = JobState.DONE
                self.in_flight -= 1
            job.deliver(response)


def _run_until_broken_off(call: Call) -> Any:
    return call()


def _break_off(_number: int, frame: FrameType | None) -> None:
    """Handle the alarm, unless its prediction has returned meanwhile, or waits in a greenlet."""
    while frame is not None:
        if frame.f_code is _run_until_broken_off.__code__:
            raise BrokenOff
        frame = frame.f_back
