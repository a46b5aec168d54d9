"""One worker: a process with one copy of the model, from its fork to its end."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from model_service.http.application import Application
from model_service.http.surface import Surface
from model_service.processes.board import Board
from model_service.settings import Settings

SERVER_MODULES = {
    "uvicorn": "model_service.servers.uvicorn_server",
    "gunicorn-gevent": "model_service.servers.gunicorn_server",
}
_PR_SET_PDEATHSIG = 1


def run_worker(
    settings: Settings,
    surface: Surface,
    board: Board,
    slot: int,
    listener: socket.socket,
    root: Path | None,
    models: list[socket.socket],
) -> None:
    """Serve until the board says stop. Called in the forked child; never returns."""
    status = 1
    try:
        follow_the_supervisor()
        application = Application(settings, surface, board, slot, root, models)
        application.lane.set_alarm()
        application.lane.run_in_turn(application.model.load)
        server = importlib.import_module(SERVER_MODULES[settings.model_server])
        server.serve(application, listener)
        status = 0
    except BaseException:
        logging.getLogger("model_service").exception("worker %d failed", slot)
    finally:
        # Not sys.exit: threads of the user's code may run for ever, and the state at exit is the
        # supervisor's, copied by fork.
        with contextlib.suppress(Exception):  # the user's code may have detached it
            sys.stdout.flush()
        os._exit(status)


def follow_the_supervisor() -> None:
    """Leave signals to the supervisor, and die with it however it dies.

    A process group gets SIGTERM whole (a shell, an engine without a PID namespace), and a worker
    that left at once would take its requests along. Handlers that do nothing, not SIG_IGN, because
    programs that the user's code starts would inherit that.
    """
    supervisor = os.getppid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(1)
