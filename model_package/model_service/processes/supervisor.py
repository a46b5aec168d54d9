"""The first process: binds the port, starts and replaces workers, and owns SIGTERM.

On SIGTERM nothing changes at first, because the platform goes on routing to this instance for a
while: new connections, kept-alive ones and health are served for ``DRAIN_SECONDS``. A few seconds
before the end responses start to close their connections; then workers stop accepting, answer what
they have, and leave; what does not leave is killed before ``EXIT_SECONDS``. The exit code is 0. By
hand: the supervisors of gunicorn and uvicorn stop accepting at once on SIGTERM.

Source: Specifications for Custom Images ("wait 60 s, exit within 90 s").
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import importlib
import logging
import os
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from model_service.http.application import make_board
from model_service.http.surface import Surface, read_surface
from model_service.inference.link import listen
from model_service.inference.model_process import run_model_process
from model_service.package.source import SERVICE_FILE, PackageCode
from model_service.package.working_folder import make_root, remove_root, why_one_worker
from model_service.processes.board import Board, Limit, State
from model_service.processes.logs import configure_logging
from model_service.processes.memory import read_gpus
from model_service.processes.signals import Signals
from model_service.processes.sizing import Sizing
from model_service.processes.worker import SERVER_MODULES, follow_the_supervisor, run_worker
from model_service.servers.listener import bind, turn_away_new_connections
from model_service.settings import Settings, SettingsError, Workers, read_settings

log = logging.getLogger("model_service")

TICK_SECONDS = 0.2
STOPPED_TICKS = 5
YOUNG_SECONDS = 5.0
MAX_BACKOFF_SECONDS = 5.0
MAX_PAUSE_SECONDS = 300.0
"""Between two attempts of the only worker, where it is killed for memory each time."""
HASTE_SECONDS = 3.0
USAGE_ERROR = 2

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


def main(signals: Signals, *, no_clone3: bool = False) -> int:
    """Run until SIGTERM, or until the port or a setting cannot be used; return the exit code.

    ``no_clone3``: this host forbids it, and a filter of our own makes up for that.
    """
    # Before an engine is imported: workers are the parallelism, each with one thread.
    threads = os.environ.get(_THREAD_VARIABLES[0], "1")
    for variable in _THREAD_VARIABLES:
        os.environ.setdefault(variable, threads)
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        os.write(1, f"{error}\n".encode())
        return USAGE_ERROR
    configure_logging(settings.log_level)
    if no_clone3:
        log.info("this host forbids clone3: threads start by clone, setuid programs no longer do")
    try:
        listener = bind(settings)
    except OSError as error:
        log.error("%s:%d cannot be bound: %s", settings.host, settings.port, error)
        return USAGE_ERROR
    log.info(
        "listening on %s port %d, %s%d workers, %s",
        *listener.getsockname()[:2],
        "up to " if settings.workers.by is Limit.CORES else "",
        settings.workers,
        settings.model_server,
    )
    try:
        preload(settings)
    except ImportError as error:
        log.error("MODEL_SERVER=%s cannot be used here: %s", settings.model_server, error)
        return USAGE_ERROR
    root = make_root()
    try:
        settings = limit_workers(settings, root)
        Supervisor(settings, read_surface(settings.model_path), listener, signals, root).run()
    finally:
        remove_root(root)
    return 0


def limit_workers(settings: Settings, root: Path | None) -> Settings:
    """Return the settings, with one worker where several would mix up the files of requests."""
    if settings.workers == 1:
        return settings
    reason = why_one_worker(root, settings.model_path, PackageCode(settings.model_path))
    if not reason:
        return settings
    log.warning("one worker instead of %d: of the model package, %s", settings.workers, reason)
    return dataclasses.replace(settings, workers=Workers(1, Limit.PACKAGE))


def preload(settings: Settings) -> None:
    """Import what every worker needs, once, before they are forked: they start faster and share it.

    Only libraries that start no thread on import: a thread does not survive a fork. ONNX Runtime
    starts one, torch several, so that each worker imports those itself.

    Raises:
        ImportError: the server is not installed.
    """
    importlib.import_module(SERVER_MODULES[settings.model_server])
    names = ["uvloop"] if settings.model_server == "uvicorn" else []
    with contextlib.suppress(OSError):
        code = (settings.model_path / SERVICE_FILE).read_text(encoding="utf-8", errors="replace")
        names += ["numpy"] if "numpy" in code or "onnx" in code else []
        names += ["PIL.Image", "PIL.JpegImagePlugin", "PIL.PngImagePlugin"] if "PIL" in code else []
    for name in names:
        with contextlib.suppress(Exception):  # the worker meets it again, and says so in health
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a worker would copy every page it marks


@dataclass
class Worker:
    """A started process.

    Attributes:
        stopped_ticks: for how many rounds in a row it was found stopped (SIGSTOP).
        killed: the supervisor did it.
    """

    slot: int
    pid: int
    started: float
    stopped_ticks: int = 0
    killed: bool = False


class Supervisor:
    """Keeps the workers alive until SIGTERM, and sees them out afterwards."""

    def __init__(
        self,
        settings: Settings,
        surface: Surface,
        listener: socket.socket,
        signals: Signals,
        root: Path | None,
    ) -> None:
        self._settings = settings
        self._surface = surface
        self._listener = listener
        self._signals = signals
        self._root = root
        self._board: Board = make_board(settings, surface)
        self._workers: dict[int, Worker] = {}
        self._sizing = Sizing(settings, self._board)
        # Slots from here on are model processes.
        self._models_from = settings.workers
        self._models = [listen() for _ in range(settings.model_processes)]
        models = range(settings.workers, settings.workers + settings.model_processes)
        self._start_at = dict.fromkeys([*models, *range(self._sizing.number)], 0.0)
        self._backoff = dict.fromkeys(range(models.stop), 0.1)
        self._was_ready = False

    def run(self) -> None:
        """Start the workers and return when SIGTERM has been obeyed."""
        while not self._terminated():
            self._start_missing()
            self._signals.wait(TICK_SECONDS)
            self._look_after_workers()
            self._fill_slots()
        self._drain()

    def _terminated(self) -> bool:
        return bool({signal.SIGTERM, signal.SIGINT} & self._signals.seen.keys())

    # --- life ------------------------------------------------------------------------------------

    def _start_missing(self) -> None:
        now = time.monotonic()
        for slot, due in list(self._start_at.items()):
            if due <= now:
                del self._start_at[slot]
                self._start(slot)

    def _fill_slots(self) -> None:
        """Start workers in free slots, where more are to run than do."""
        taken = {w.slot: w.pid for w in self._workers.values() if w.slot < self._models_from}
        number = self._sizing.look(taken)
        free = [s for s in range(self._models_from) if s not in {*taken, *self._start_at}]
        for slot in free[: max(0, number - (self._models_from - len(free)))]:
            self._start_at[slot] = 0.0

    def _start(self, slot: int) -> None:
        self._board.enter(slot)
        pid = os.fork()
        if pid == 0 and slot >= self._models_from:
            self._become_model_process(slot)
        if pid == 0:
            gpu = self._sizing.gpu_of_slot(slot)
            if gpu:
                os.environ["CUDA_VISIBLE_DEVICES"] = gpu
            run_worker(
                self._settings,
                self._surface,
                self._board,
                slot,
                self._listener,
                self._root,
                self._models,
            )
        self._workers[pid] = Worker(slot, pid, time.monotonic())

    def _become_model_process(self, slot: int) -> None:
        try:
            follow_the_supervisor()
            self._listener.close()
            number = slot - self._models_from
            gpus = [gpu.name for gpu in read_gpus()] if len(self._models) > 1 else []
            if gpus:
                os.environ["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
            run_model_process(self._settings, self._board, slot, self._models[number], self._root)
        except BaseException:
            log.exception("model process %d failed", slot)
        finally:
            os._exit(1)  # as a worker does, and never back into the supervisor's code

    def _look_after_workers(self) -> None:
        self._was_ready = self._was_ready or State.READY in self._board.states()
        self._reap()
        for worker in list(self._workers.values()):
            reason = self._find_frozen(worker)
            if reason:
                log.error("worker %d (pid %d) %s; killing it", worker.slot, worker.pid, reason)
                worker.killed = True
                os.kill(worker.pid, signal.SIGKILL)

    def _find_frozen(self, worker: Worker) -> str:
        worker.stopped_ticks = worker.stopped_ticks + 1 if _is_stopped(worker.pid) else 0
        if worker.stopped_ticks >= STOPPED_TICKS:
            return "was stopped by a signal"
        limit_s = self._settings.predict_timeout_seconds
        silent_s = time.monotonic() - self._board.last_beat(worker.slot)
        if limit_s and silent_s > limit_s + min(5.0, 2.0 + limit_s):
            return f"has not turned its event loop for {silent_s:.0f} s"
        return ""

    def _reap(self) -> None:
        """Take note of every process that ended, orphans of the user's code included (PID 1)."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            worker = self._workers.pop(pid, None)
            if worker is not None and not self._board.stopping:
                self._replace(worker, _to_exit_code(status))

    def _replace(self, worker: Worker, exit_code: int) -> None:
        now = time.monotonic()
        name = "model process" if worker.slot >= self._models_from else "worker"
        if exit_code == -signal.SIGKILL and not worker.killed and name == "worker":
            slots = [*(w.slot for w in self._workers.values()), *self._start_at]
            running = sum(slot < self._models_from for slot in slots)
            if self._sizing.was_killed(running):
                self._board.count_restart()
                self._board.set_state(worker.slot, State.UNUSED)
                if not running:
                    self._board.set_state(worker.slot, State.LOADING)
                    wait_s = self._backoff[worker.slot]
                    self._backoff[worker.slot] = min(MAX_PAUSE_SECONDS, max(5.0, wait_s * 2))
                    self._start_at[worker.slot] = now + self._backoff[worker.slot]
                return
        young = now - worker.started < YOUNG_SECONDS
        wait_s = self._backoff[worker.slot] if young else 0.0
        self._backoff[worker.slot] = min(MAX_BACKOFF_SECONDS, wait_s * 2) if young else 0.1
        self._start_at[worker.slot] = now + wait_s
        self._board.set_state(worker.slot, State.LOADING)
        self._board.count_restart()
        log.error("%s %d (pid %d) %s; replaced", name, worker.slot, worker.pid, _say(exit_code))

    def _has_workers(self) -> bool:
        return any(worker.slot < self._models_from for worker in self._workers.values())

    # --- the end ---------------------------------------------------------------------------------

    def _drain(self) -> None:
        settings, seen = self._settings, self._signals.seen
        began = min(seen[number] for number in (signal.SIGTERM, signal.SIGINT) if number in seen)
        self._look_after_workers()
        # Nobody is routed here before the first 200 of health, and Ctrl-C is not the platform.
        serve_on = self._was_ready and signal.SIGTERM in seen
        stop_at = began + (settings.drain_seconds if serve_on else 0.0)
        kill_after_s = settings.exit_seconds - settings.spare_seconds
        kill_at = began + (kill_after_s if serve_on else min(HASTE_SECONDS, kill_after_s))
        log.info("stopping: serving on for %.1f s", max(0.0, stop_at - time.monotonic()))
        self._board.announce_drain(
            farewell_from=stop_at - settings.farewell_seconds,
            # Before the workers' own limit for what is open, which could not say why it ends.
            streams_until=kill_at - 1.5 * settings.spare_seconds,
        )
        while time.monotonic() < stop_at and (signal.SIGINT not in seen or not serve_on):
            self._start_missing()
            self._signals.wait(min(TICK_SECONDS, max(0.0, stop_at - time.monotonic())))
            self._look_after_workers()
        turn_away_new_connections(self._listener)
        self._board.announce_stop()
        self._listener.close()
        log.info("stopping: finishing open requests")
        while self._has_workers() and time.monotonic() < kill_at:
            self._signals.wait(TICK_SECONDS / 4)
            self._reap()
        for pid, worker in self._workers.items():
            if worker.slot < self._models_from:
                log.warning("worker %d (pid %d) did not leave; killing it", worker.slot, pid)
            os.kill(pid, signal.SIGKILL)
        log.info("stopped")


def _is_stopped(pid: int) -> bool:
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        return stat.rpartition(b")")[2].split()[0] == b"T"
    return False


def _to_exit_code(status: int) -> int:
    """Return the exit code, or minus the signal, of what ``waitpid`` reports."""
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _say(exit_code: int) -> str:
    if exit_code < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-exit_code).name}"
    return f"left with exit code {exit_code}"
