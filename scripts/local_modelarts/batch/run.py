"""One run of a batch: ask the model for every input that has no result yet.

An input that goes down together with its instance may have taken it down, or may only have been
there. Such inputs are asked again at the end, one at a time: who takes an instance down alone has
failed, by name, and the run goes on with a new instance.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import requests

from custom_image.model_config import Api
from local_modelarts.batch.inputs import Input
from local_modelarts.batch.mapping import BadInput, CsvMapping, FileMapping, Question
from local_modelarts.batch.results import Results
from local_modelarts.errors import ApiError
from local_modelarts.storage.obs import Obs

# The words of the page for an input that cannot be read.
_NO_FILE: Final = "Download file failed."
_BUSY: Final = (429, 502, 503, 504)
_SHOWN_BYTES: Final = 300
_CONNECT_S: Final = 10.0


class Crew(Protocol):
    """The instances that a batch works with."""

    def url(self, place: int) -> str:
        """Return where an instance answers, after starting it anew where it has ended."""

    def doubt(self, place: int) -> None:
        """Look, before its address is given again, whether an instance still runs."""

    def __len__(self) -> int:
        """Return how many instances there are."""


class _Lost(Exception):
    """The instance has not answered: it ended, hung up, or was too busy; the message says which."""


@dataclass(frozen=True)
class _Task:
    number: int
    question: Question


class BatchRun:
    """What remains to be done of one batch."""

    def __init__(
        self,
        *,
        obs: Obs,
        inputs: Sequence[Input],
        mapping: FileMapping | CsvMapping,
        api: Api,
        results: Results,
        crew: Crew,
        is_over: Callable[[], bool],
        at_once: int,
        answer_s: float,
    ) -> None:
        self._obs, self._inputs, self._mapping, self._api = obs, inputs, mapping, api
        self._results, self._crew, self._is_over = results, crew, is_over
        self._at_once, self._answer_s = at_once, answer_s
        self._tasks = self._unfinished()
        self._lock = threading.Lock()
        self._suspects: list[_Task] = []
        self._error: Exception | None = None

    def work(self) -> bool:
        """Work until nothing remains; tell whether that is so: False where it was stopped.

        Raises:
            CustomImageError: the engine is gone, or the image no longer starts.
            OSError: a result cannot be written.
        """
        places = [p for p in range(len(self._crew)) for _ in range(self._at_once)]
        threads = [threading.Thread(target=self._pull, args=(p,), daemon=True) for p in places]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._error:
            raise self._error
        session = _session()
        for task in self._suspects:
            if self._is_over():
                break
            self._ask_alone(session, task)
        return not self._is_over()

    def _pull(self, place: int) -> None:
        """Take one task after the other, until there is none or the run is over."""
        session = _session()
        try:
            while not self._is_over() and not self._error:
                with self._lock:
                    task = next(self._tasks, None)
                if task is None:
                    return
                try:
                    self._ask(session, place, task)
                except _Lost:
                    self._suspects.append(task)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run must not look finished
            self._error = error

    def _unfinished(self) -> Iterator[_Task]:
        """Yield what has no result yet; note the inputs that cannot be read."""
        for number, each in enumerate(self._inputs):
            if self._results.is_done(number):
                continue
            if each.fault:
                self._results.fail(number, each.fault)
                continue
            lines = 0
            try:
                for question in self._mapping.questions(self._obs.file(each.source)):
                    lines += 1
                    if question.fault:
                        self._results.refuse(number, question.line, question.fault)
                    elif not self._results.is_done(number, question.line):
                        yield _Task(number, question)
            except BadInput as error:
                self._results.fail(number, str(error))
            except (ApiError, OSError) as error:
                why = error.message if isinstance(error, ApiError) else error.strerror
                self._results.fail(number, f"{_NO_FILE} {why}")
            else:
                self._results.expect(number, lines)

    def _ask_alone(self, session: requests.Session, task: _Task) -> None:
        try:
            self._ask(session, 0, task)
        except _Lost as error:
            if not self._is_over():
                self._results.refuse(task.number, task.question.line, str(error))

    def _ask(self, session: requests.Session, place: int, task: _Task) -> None:
        """Ask for one answer, and keep it.

        Raises:
            _Lost: there was none, and the input need not be the cause.
        """
        question = task.question
        base = self._crew.url(place)
        try:
            response = session.request(
                (self._api.method or "post").upper(),
                f"{base}{self._api.url or '/'}",
                files=dict(question.files) or _as_form(question) or None,
                json=question.json,
                timeout=(_CONNECT_S, self._answer_s),
                allow_redirects=False,
                verify=False,  # https instances have certificates of their own, as on the platform
            )
        except requests.ReadTimeout:
            reason = f"No answer within {self._answer_s:g} s."
            self._results.refuse(task.number, question.line, reason)
            return
        except requests.RequestException as error:
            self._crew.doubt(place)
            raise _Lost("The instance ended, or hung up, while it worked on this input.") from error
        if response.status_code in _BUSY:
            raise _Lost(_refusal(response))
        if response.ok:
            self._results.answer(task.number, question.line, response.content)
        else:
            self._results.refuse(task.number, question.line, _refusal(response))


def _session() -> requests.Session:
    session = requests.Session()
    session.trust_env = False  # no proxy stands between the platform and its instances
    return session


def _as_form(question: Question) -> dict[str, tuple[None, str]]:
    return {name: (None, text) for name, text in question.form.items()}


def _refusal(response: requests.Response) -> str:
    shown = " ".join(response.content[:_SHOWN_BYTES].decode("utf-8", "replace").split())
    return f"The model answered {response.status_code}: {shown}"
