"""Starting one peer at a time, seeing all of its processes, and leaving none behind."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import client
from benchmarks.environments import Environment
from benchmarks.peer import PEERS_DIR, Peer
from benchmarks.workload import Workload
from custom_image.errors import Unavailable

MARK = "SERVING_BENCHMARK"
POLL_S = 0.01
START_TIMEOUT_S = 60.0
# Below the range from which the system takes a client's own ports: a client that knocks at a dead
# port of that range can be given the same port and then talks to itself.
PORTS = range(18_000, 32_000)


class NotServing(Unavailable):
    """A peer did not start, or did not answer as it should; the message is the reason."""


@dataclass
class Installed:
    """A peer that can be started: its environment, its folder, and what it serves."""

    peer: Peer
    environment: Environment
    folder: Path
    workload: Workload
    workers: int

    def lay_out(self) -> None:
        """Copy the peer's files into its folder, with bytecode, as an image has them."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        for destination, source in self.peer.files.items():
            origin, target = Path(self.peer.filled(source)), self.folder / destination
            target.parent.mkdir(parents=True, exist_ok=True)
            copy = shutil.copytree if origin.is_dir() else shutil.copy2
            copy(origin, target)
        python = str(self.environment.python)
        compile_all = [python, "-m", "compileall", "-q", str(self.folder), str(PEERS_DIR)]
        subprocess.run(compile_all, check=True, stdout=subprocess.DEVNULL)


@dataclass
class Server:
    """A started peer."""

    peer: Peer
    port: int
    workload: Workload
    process: subprocess.Popen[bytes]
    log_path: Path
    mark: str
    started_at: float = field(default_factory=time.monotonic)

    @property
    def url(self) -> str:
        """Where predictions are asked for."""
        return f"http://{client.HOST}:{self.port}{self.peer.predict}"

    def predict(self, body: bytes | None = None, timeout_s: float = 10.0) -> client.Answer:
        """Upload the digit, or ``body``."""
        return client.post(
            self.port,
            self.peer.predict,
            self.workload.body if body is None else body,
            self.workload.content_type,
            timeout_s,
        )

    def is_right(self) -> bool:
        """Tell whether the digit comes back."""
        return self.predict().digit() == self.workload.expected

    def wait_until_ready(self) -> tuple[float, float]:
        """Return the seconds from process start to the first 200 of health and the first digit.

        Raises:
            NotServing: it ended, or did not get that far in a minute.
        """
        self._wait_for(lambda: client.get(self.port, self.peer.health).status == 200, "health")
        ready_s = time.monotonic() - self.started_at
        self._wait_for(self.is_right, "a right prediction")
        return round(ready_s, 3), round(time.monotonic() - self.started_at, 3)

    def _wait_for(self, condition: object, what: str) -> None:
        assert callable(condition)
        while not condition():
            if self.process.poll() is not None:
                reason = f"ended with code {self.process.returncode} before {what}"
            elif time.monotonic() - self.started_at > START_TIMEOUT_S:
                reason = f"{what} not seen in {START_TIMEOUT_S:.0f} s"
            else:
                time.sleep(POLL_S)
                continue
            raise NotServing(f"{reason}: {self.last_words()}")

    def last_words(self) -> str:
        """Return the last line of its log."""
        lines = [line for line in self.log_path.read_text(errors="replace").splitlines() if line]
        return lines[-1].strip()[:200] if lines else "(its log is empty)"

    def first_process(self) -> int:
        """Return the process that a container would signal: the one started by the command."""
        if self.process.args[0] != "unshare":  # type: ignore[index]
            return self.process.pid
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return int(children.split()[0])

    def processes(self) -> list[int]:
        """Return all living processes it started, those that left its session included."""
        return [pid for pid in _all_processes() if _belongs(pid, self.process.pid, self.mark)]

    def pss_mb(self) -> float:
        """Return the memory of all its processes, shared pages split, in 10**6 bytes."""
        total_kib = 0
        for pid in self.processes():
            with suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total_kib += int(line.split()[1])
        return round(total_kib * 1024 / 1e6, 1)

    def end(self) -> None:
        """Kill every process of it.

        Raises:
            NotServing: some outlived that, or its port is still taken.
        """
        deadline = time.monotonic() + 10
        # A killed process is a zombie before its last thread has let go of the port: wait for both.
        while (alive := self.processes()) or not is_free(self.port):
            for pid in alive:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.poll()
            if time.monotonic() > deadline:
                raise NotServing(
                    f"{self.peer.name} leaves processes {alive}, or port {self.port} taken"
                )
            time.sleep(POLL_S)
        self.process.wait()


@contextmanager
def started(
    installed: Installed,
    *,
    drain_s: float,
    model_path: Path | None = None,
    as_first_process: bool = False,
) -> Iterator[Server]:
    """Start a peer on a port proven free, and end every process of it afterwards.

    It is told to go on serving for ``drain_s`` after SIGTERM, if it can. ``model_path`` is served
    instead of the workload's. ``as_first_process`` makes it process 1 of a PID namespace, as a
    container does: a signal that it has no handler for is then ignored.
    """
    peer, workload = installed.peer, installed.workload
    port, grpc_port, metrics_port = free_ports(3)
    mark = secrets.token_hex(8)
    values = {
        "port": port,
        "grpc_port": grpc_port,
        "metrics_port": metrics_port,
        "workers": installed.workers,
        "drain_s": f"{drain_s:g}",
    }
    environment = {
        "PATH": f"{installed.environment.folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": f"{installed.folder}:{PEERS_DIR}",
        "HOME": str(installed.folder),
        "LANG": "C.UTF-8",
        "PORT": str(port),
        "WORKERS": str(installed.workers),
        "MODEL_FILE": str(model_path or workload.model_path),
        "WEIGHTS_FILE": str(model_path or workload.weights_path),
        "SLOW_FILE": str(workload.slow_path),
        MARK: mark,
    } | {name: peer.filled(value, **values) for name, value in peer.environment.items()}
    command = [peer.filled(word, **values) for word in peer.command]
    log_path = installed.folder / f"server-{port}.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [*(NAMESPACE if as_first_process else []), *command],
            cwd=installed.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(peer, port, workload, process, log_path, mark)
    try:
        yield server
    finally:
        server.end()


NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--"]


def can_unshare() -> bool:
    """Tell whether this user may make a PID namespace."""
    return subprocess.run([*NAMESPACE, "true"], capture_output=True).returncode == 0


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on."""
    candidates = random.sample(PORTS, 50 * count)
    return [port for port in candidates if is_free(port)][:count]


def is_free(port: int) -> bool:
    """Tell whether ``port`` can be listened on: nobody else does."""
    with socket.socket() as probe:
        # As servers do: connections that merely wait to be forgotten are no listener.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
        return True


def _all_processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _belongs(pid: int, session: int, mark: str) -> bool:
    try:
        # Behind the command's name, which may hold anything: state, parent, group, session.
        behind_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
        state, _, _, its_session = behind_name.split()[:4]
        if state == "Z":
            return False
        return int(its_session) == session or (
            f"{MARK}={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes()
        )
    except (OSError, ValueError):
        return False
