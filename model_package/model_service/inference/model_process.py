"""The process that holds the model, where workers only decode and encode.

Workers connect once the model is loaded, and are told what of the service they need. Their inputs
wait in one queue; the thread that loaded the model takes them out, in batches.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from model_service.inference.batches import NoBatch, join, kind_of, split
from model_service.inference.link import Link
from model_service.inference.one_copy import pack_attributes, why_not
from model_service.package.loader import load_service
from model_service.package.source import PackageCode
from model_service.package.working_folder import enter
from model_service.processes.board import Board, State
from model_service.settings import Settings

log = logging.getLogger("model_service")

BEAT_SECONDS = 0.2
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Input(NamedTuple):
    """What one request brings, and who waits for its output."""

    link: Link
    number: int
    value: Any


def run_model_process(
    settings: Settings, board: Board, slot: int, listener: socket.socket, root: Path | None
) -> None:
    """Serve workers until the supervisor ends this process. Called in the forked child."""
    for variable in THREAD_VARIABLES:
        os.environ[variable] = str(settings.model_threads)
    inputs: SimpleQueue[Input] = SimpleQueue()
    fault, service = "", None
    stop_beating = threading.Event()
    threading.Thread(target=_beat, args=(board, slot, stop_beating), daemon=True).start()
    try:
        folder, code = settings.model_path, PackageCode(settings.model_path)
        fault = why_not(folder)
        if fault:
            fault = f"the steps cannot run in different processes (MODEL_PROCESSES): {fault}"
        else:
            if root is not None and folder.is_dir():
                folder = enter(root, slot, folder, code)
            service = load_service(folder, settings.model_name, code, settings.weights_path)
    except BaseException as error:
        log.exception("the model could not be loaded")
        fault = f"the model could not be loaded: {type(error).__name__}: {error}"
    stop_beating.set()
    hello = (fault, pack_attributes(service) if service else {})
    threading.Thread(target=_accept, args=(listener, hello, inputs), daemon=True).start()
    board.set_state(slot, State.FAILED if fault else State.READY)
    if fault:
        log.error("the model package cannot be served: %s", fault)
    infer: Any = service._inference if service else None
    batches = Batches(infer, settings.batch_size)
    while True:
        board.beat(slot)
        taken = take(inputs, settings.batch_size, settings.batch_wait_ms / 1000)
        if taken:
            board.count_batch(slot, len(taken))
            for each, outcome in batches.run(taken):
                _reply(each, outcome)


def _beat(board: Board, slot: int, stop: threading.Event) -> None:
    """Show signs of life while the model loads, which may take as long as it likes."""
    while not stop.wait(BEAT_SECONDS):
        board.beat(slot)


def take(inputs: SimpleQueue[Input], size: int, wait_s: float) -> list[Input]:
    """Return a batch: the first input, and what comes within ``wait_s`` of it; none if idle."""
    try:
        taken = [inputs.get(timeout=BEAT_SECONDS)]
    except Empty:
        return []
    until = time.monotonic() + wait_s
    while len(taken) < size:
        left_s = until - time.monotonic()
        try:
            taken.append(inputs.get(timeout=left_s) if left_s > 0 else inputs.get_nowait())
        except Empty:
            break
    return taken


class Batches:
    """Runs inputs through the model, those of one kind together."""

    def __init__(self, infer: Callable[[Any], Any], size: int) -> None:
        self._infer = infer
        self._in_batches = size > 1

    def run(self, inputs: list[Input]) -> list[tuple[Input, Any]]:
        """Return each input with its output, or the exception that it alone caused."""
        if not self._in_batches:
            return [(each, self._alone(each)) for each in inputs]
        kinds: dict[Any, list[Input]] = {}
        for each in inputs:
            kinds.setdefault(kind_of(each.value), []).append(each)
        return [found for group in kinds.values() for found in self._together(group)]

    def _together(self, group: list[Input]) -> list[tuple[Input, Any]]:
        values = [each.value for each in group]
        try:
            return list(zip(group, split(self._infer(join(values)), values)))
        except NoBatch as fault:
            if len(group) == 1:
                return [(group[0], fault)]
            log.error("batches are off: of _inference %s", fault)
            self._in_batches = False
            return [(each, self._alone(each)) for each in group]
        except BaseException as error:
            if len(group) == 1:
                log.exception("the model failed")
                return [(group[0], error)]
            log.warning("a batch of %d failed; each is tried alone", len(group))
            return [found for each in group for found in self._together([each])]

    def _alone(self, each: Input) -> Any:
        try:
            return self._infer(each.value)
        except BaseException as error:
            log.exception("the model failed")
            return error


def _reply(each: Input, outcome: Any) -> None:
    """Send an output, or the name and the words of an exception, whose class may travel badly."""
    try:
        if not isinstance(outcome, BaseException):
            try:
                each.link.send((each.number, "", outcome))
                return
            except OSError:
                raise
            except Exception as error:  # a generator, for example
                log.exception("the output of _inference cannot be sent to a worker")
                outcome = error
        words = outcome.args[0] if isinstance(outcome, KeyError) and outcome.args else outcome
        each.link.send((each.number, type(outcome).__name__, str(words)))
    except OSError:
        each.link.close()  # the worker is gone, or frozen and about to be replaced


def _accept(listener: socket.socket, hello: Any, inputs: SimpleQueue[Input]) -> None:
    while True:
        connection, _ = listener.accept()
        link = Link(connection)
        threading.Thread(target=_read, args=(link, hello, inputs), daemon=True).start()


def _read(link: Link, hello: Any, inputs: SimpleQueue[Input]) -> None:
    try:
        link.send(hello)
        while True:
            number, value = link.receive()
            inputs.put(Input(link, number, value))
    except (EOFError, OSError):
        link.close()
    except Exception:
        log.exception("a message of a worker cannot be read")
        link.close()
