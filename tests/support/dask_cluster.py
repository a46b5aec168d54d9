"""A Dask scheduler and its workers, as processes on loopback or behind a command."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WAIT_S = 120


@dataclass
class Cluster:
    """A scheduler; ``add_worker`` gives it workers.

    Attributes:
        options: of the scheduler and of each worker, such as those of TLS.
    """

    folder: Path
    host: str = "127.0.0.1"
    options: Sequence[str] = ()
    address: str = ""
    processes: dict[str, subprocess.Popen[Any]] = field(default_factory=dict)

    def start(self) -> None:
        command = ["dask_scheduler", "--host", self.host, "--port", "0", "--no-dashboard"]
        self._start("scheduler", [sys.executable], command)
        text = self._wait_for("scheduler", rf"((?:tcp|tls)://{re.escape(self.host)}:\d+)")
        self.address = text

    def add_worker(self, name: str, *, within: Sequence[str] = (), **environment: str) -> None:
        """Start a worker of one thread, behind a command such as nsenter."""
        command = ["dask_worker", self.address, "--name", name, "--nthreads", "1"]
        command += ["--no-nanny", "--no-dashboard", "--local-directory", str(self.folder / name)]
        self._start(name, [*within, sys.executable], command, environment)
        self._wait_for(name, r"(Registered to)")

    def children(self, name: str) -> list[int]:
        """Return the processes that a worker has started: the commands of its units."""
        pid = self.processes[name].pid
        found = Path(f"/proc/{pid}/task").glob("*/children")
        return [int(child) for path in found for child in path.read_text().split()]

    def kill(self, name: str) -> None:
        """End a worker as a machine ends that lost its power."""
        self.processes[name].send_signal(signal.SIGKILL)
        self.processes[name].wait()

    def end(self) -> None:
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def _start(
        self, name: str, python: list[str], command: list[str], environment: dict | None = None
    ) -> None:
        module, *arguments = command
        whole = [*python, "-m", f"distributed.cli.{module}", *arguments, *self.options]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                whole,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **(environment or {})},
            )

    def _wait_for(self, name: str, pattern: str) -> str:
        deadline = time.monotonic() + WAIT_S
        while not (found := re.search(pattern, self.log(name))):
            assert self.processes[name].poll() is None, self.log(name)
            assert time.monotonic() < deadline, self.log(name)
            time.sleep(0.05)
        return found[1]


@contextmanager
def dask_cluster(folder: Path, **options: Any) -> Iterator[Cluster]:
    """Give a scheduler that has answered; it and its workers end with the block."""
    cluster = Cluster(folder, **options)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.end()
