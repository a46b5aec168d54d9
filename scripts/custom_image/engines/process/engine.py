"""Boot files as processes of this machine, for where no Docker engine answers.

A rehearsal without the image: the files, the boot file, the server and its signals are the real
ones; the user, the limits and the file system around them are this machine's.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Self

from custom_image.engines import Lookup, Process, Socket, StartOptions
from custom_image.engines.process import procfs
from custom_image.errors import Unavailable, UsageError
from custom_image.specification import BOOT_FILE

_HOME = "/home"
_RUN_VARIABLE = "CUSTOM_IMAGE_RUN"
_KILL_TIMEOUT_S = 10


class ProcessEngine:
    """Starts ``sh <folder>/run.sh``, where ``folder`` mirrors ``/home`` of an image."""

    name = "process"

    def start(self, target: str, options: StartOptions | None = None) -> LocalProcess:
        """Start a boot file on a free port, told to it as ``PORT``, and return.

        Raises:
            UsageError: ``target`` is no such folder.
            Unavailable: an option asks for what only a container has.
        """
        options = options or StartOptions()
        folder = Path(target).resolve()
        if not options.command and not (folder / Path(BOOT_FILE.value).name).is_file():
            raise UsageError(
                f"{target} mirrors no /home: expected {Path(BOOT_FILE.value).name} in it.\n"
                "Name the folder rootfs/home of a build context, or an image for a Docker engine."
            )
        of_a_process = ("port", "environment", "command")
        names = [f.name for f in fields(options) if f.name not in of_a_process]
        wanted = [name for name in names if getattr(options, name)]
        if wanted:
            raise Unavailable(
                f"a process of this machine cannot be started with {', '.join(wanted)}.\n"
                "That takes a container: start a Docker engine (scripts/ensure_docker.sh)."
            )
        return LocalProcess(folder, options)


class LocalProcess:
    """A boot file that runs here, in a session of its own, killed whole when its block is left."""

    def __init__(self, folder: Path, options: StartOptions) -> None:
        self._folder = folder
        self._run_id = uuid.uuid4().hex
        # No name, so nothing to clean up; both streams append to it as they would to a container's.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        self._last_log: str | None = None
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        # The author's own Python comes first: its environment has what the image installs.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        self._environment = {
            **os.environ,
            "PATH": path,
            "HOST": "127.0.0.1",
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **options.environment,
            "PORT": str(port),
            _RUN_VARIABLE: self._run_id,
        }
        self._command = self._mapped(options.command or ["sh", BOOT_FILE.value])
        self._process = self._begin()
        atexit.register(self.stop)

    def _begin(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def is_running(self) -> bool:
        """Tell whether its first process still runs."""
        return self._process.poll() is None

    def logs(self) -> str:
        """Return all it wrote to standard output and standard error, even after its end."""
        if self._last_log is not None:
            return self._last_log
        return os.pread(self._log.fileno(), os.fstat(self._log.fileno()).st_size, 0).decode(
            errors="replace"
        )

    def send_signal(self, name: str) -> None:
        """Send a signal such as ``SIGTERM`` to its first process; harmless where it has exited."""
        self._process.send_signal(signal.Signals[name])

    def wait(self, timeout_s: float) -> int | None:
        """Return its exit code, or None where it still runs after ``timeout_s``.

        Death by a signal counts as a shell and Docker count it: 128 and the signal's number.
        """
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        return code if code >= 0 else 128 - code

    def processes(self) -> list[Process]:
        """Return what runs in it now, with this machine's ids."""
        _require_proc("processes")
        return [Process(e.host_pid, e.parent_host_pid, e.command) for e in self._entries()]

    def listening(self) -> list[Socket]:
        """Return the TCP sockets it listens on.

        Raises:
            Unavailable: this system has no ``/proc``.
        """
        _require_proc("sockets")
        inodes: set[int] = set()
        for entry in self._entries():
            inodes |= procfs.socket_inodes(entry.host_pid)
        sockets = procfs.parse_listening(procfs.read_tcp_tables(os.getpid()))
        return [sockets[inode] for inode in sorted(inodes & sockets.keys())]

    def read_file(self, path: str) -> bytes | None:
        """Return one file below ``/home``, or None where there is none, or it is elsewhere."""
        if not path.startswith(f"{_HOME}/"):
            return None  # a file of this machine is not one of the image
        try:
            return Path(self._mapped([path])[0]).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None

    def execute(self, command: Sequence[str]) -> tuple[int, str]:
        """Run a command in its folder and environment; return its exit code and its output."""
        try:
            done = subprocess.run(
                self._mapped(command),
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
        except OSError as error:
            return 127, str(error)
        return done.returncode, done.stdout.decode(errors="replace")

    def lookups(self) -> list[Lookup]:
        """Return nothing: a process has the network of this machine."""
        return []

    def restart(self) -> None:
        """Kill it with everything it started, and start it again; the port stays."""
        self._kill()
        self._process = self._begin()

    def stop(self) -> None:
        """Kill it with everything it started, keeping its log. Idempotent."""
        if self._last_log is not None:
            return
        self._kill()
        self._last_log = self.logs()
        self._log.close()
        atexit.unregister(self.stop)

    def _kill(self) -> None:
        # The group first, at once; then whoever left it (a double fork, another session).
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for entry in self._entries():
            with suppress(ProcessLookupError):
                os.kill(entry.host_pid, signal.SIGKILL)
        self._process.wait(_KILL_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _entries(self) -> list[procfs.Entry]:
        # By session, and by environment for those that opened one of their own.
        marker = f"{_RUN_VARIABLE}={self._run_id}"
        return [
            entry
            for entry in procfs.entries()
            if entry.session == self._process.pid
            or procfs.contains(entry.host_pid, "environ", marker)
        ]

    def _mapped(self, command: Sequence[str]) -> list[str]:
        """Turn paths below ``/home`` of the image into paths of the folder that mirrors it."""
        return [
            str(self._folder) + part[len(_HOME) :] if part.startswith(f"{_HOME}/") else part
            for part in command
        ]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _require_proc(what: str) -> None:
    if not procfs.PROC.joinpath("self").exists():
        raise Unavailable(f"the {what} of a process are read from /proc, which this system lacks.")
