"""Starting one server at a time, and ending all of its processes."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.heavy.client import HOST, load
from benchmarks.heavy.services import write_package

MODEL_PACKAGE = Path(__file__).parents[3] / "model_package"
READY_S = 90.0
MARK = "HEAVY_BENCHMARK"


@dataclass
class Server:
    """A started server."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    mark: str

    def processes(self) -> list[int]:
        """Return all its processes: BentoML's leave its session, but not their environment."""
        found = []
        for path in Path("/proc").iterdir():
            with suppress(OSError, ValueError):
                fields = (path / "stat").read_text().rpartition(")")[2].split()
                is_marked = f"{MARK}={self.mark}".encode() in (path / "environ").read_bytes()
                if (int(fields[3]) == self.process.pid or is_marked) and fields[0] != "Z":
                    found.append(int(path.name))
        return found

    def pss_mb(self) -> float:
        """Return the memory of all its processes, shared pages split, in 10**6 bytes."""
        total_kib = 0
        for pid in self.processes():
            with suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total_kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return total_kib * 1024 / 1e6


@contextmanager
def started(
    command: Sequence[str], port: int, folder: Path, environment: Mapping[str, str]
) -> Iterator[Server]:
    """Start a command in a session of its own; end all of it afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    log, mark = folder / "log", secrets.token_hex(8)
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment, MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,
        )
    server = Server(port, process, log, mark)
    try:
        yield server
    finally:
        for pid in server.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()


@contextmanager
def runtime(
    folder: Path, service: str, port: int, asked: bytes, **settings: str
) -> Iterator[Server]:
    """Start this project's runtime with a package, and wait until it answers what is asked."""
    package = write_package(folder / "package", service)
    environment = {
        "PYTHONPATH": os.pathsep.join(
            filter(None, [str(MODEL_PACKAGE), os.environ.get("PYTHONPATH", "")])
        ),
        "MODEL_PATH": str(package),
        "HOST": HOST,
        "PORT": str(port),
        "LOG_LEVEL": "WARNING",
        **settings,
    }
    command = [sys.executable, "-m", "model_service"]
    with started(command, port, folder, environment) as server:
        wait_until_answers(server, asked)
        yield server


def wait_until_answers(server: Server, asked: bytes) -> None:
    """Ask until there is a good answer.

    Raises:
        RuntimeError: the server ended, or none came in time.
    """
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline and server.process.poll() is None:
        # Whole answers and streams alike: what counts is the status.
        if _status(server.port, asked) == 200:
            return
        time.sleep(0.1)
    raise RuntimeError(f"no answer of {server.process.args!r}: {server.log.read_text()[-800:]}")


def wait_for_workers(port: int, number: int) -> None:
    """Wait until so many workers of this project's runtime are ready."""
    wanted = f'model_service_workers{{state="ready"}} {number}'
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        if wanted in _get(port, "/metrics"):
            return
        time.sleep(0.1)
    raise RuntimeError(f"fewer than {number} workers became ready")


def _status(port: int, asked: bytes) -> int:
    import socket

    with suppress(OSError), socket.create_connection((HOST, port), 10) as connection:
        connection.sendall(asked)
        return int(connection.recv(64).split()[1])
    return 0


def _get(port: int, path: str) -> str:
    import urllib.request

    with suppress(OSError), urllib.request.urlopen(f"http://{HOST}:{port}{path}") as answer:
        return str(answer.read().decode())
    return ""


def warm_up(port: int, asked: bytes, clients: int) -> None:
    """Load a server for a second, unmeasured."""
    load(port, asked, clients, 1)
