"""The transfer of build contexts beside rsync, over the same SSH connection."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.page import table
from custom_image.ecs.ssh.connection import Connection
from custom_image.ecs.transfer.manifest import Manifest
from custom_image.ecs.transfer.send import STORE, send
from custom_image.errors import CustomImageError

SIZE_BYTES: Final = 150 * 10**6
_CODE_FILES: Final = 200
_RSYNC: Final = "rsync-there"
_STEPS: Final = (
    "weights",
    "code",
    "an edit",
    "weights renamed",
    "weights moved",
    "resumed",
)
_WAYS: Final = ("here", "rsync")


class Bench:
    """A context of weights and code, and two ways to bring it to a server."""

    def __init__(self, connection: Connection, folder: Path, config: str) -> None:
        """Use a connection; ``config`` is the ssh configuration that it was opened with."""
        self.connection = connection
        self._folder = folder
        self._cache = folder / "hashes"
        self.context = folder / "context"
        self._ssh = f"ssh -S {connection._folder / 'control'} -F {config}"
        self._child: subprocess.Popen[Any] | None = None

    def make_context(self) -> None:
        """Write weights that the server has seen nothing of."""
        (self.context / "code").mkdir(parents=True)
        (self.context / "other").mkdir()
        (self.context / "weights.bin").write_bytes(os.urandom(SIZE_BYTES))

    def here(self) -> int:
        """Send as a build does; return the bytes that travelled."""
        before = self.connection.traffic.sent
        send(self.connection, Manifest.read(self.context, self._cache, is_own=True), "ab")
        return self.connection.traffic.sent - before

    def rsync(self) -> int:
        """Send by rsync, told to look for renamed files and to keep halves."""
        options = ["-a", "--delete-delay", "--fuzzy", "--partial", "--stats", "-e", self._ssh]
        target = f"{self.connection.address}:{_RSYNC}/"
        self._child = subprocess.Popen(
            ["rsync", *options, f"{self.context}/", target], stdout=subprocess.PIPE, text=True
        )
        said, _ = self._child.communicate()
        found = re.search(r"Total bytes sent: ([\d,]+)", said)
        return int(found[1].replace(",", "")) if found else 0

    def break_off(self, way: str) -> None:
        """Begin to send, and kill the ssh that carries it when half of the weights is there."""
        sessions: list[Any] = []
        started = self.connection.session

        def session(command: str) -> Any:
            sessions.append(started(command))
            return sessions[-1]

        def send_until_killed() -> None:
            with suppress(CustomImageError):
                getattr(self, way)()

        place = f"{STORE}/uploads" if way == "here" else _RSYNC
        self._child = None
        sender = threading.Thread(target=send_until_killed)
        if way == "here":
            self.connection.session = session  # type: ignore[method-assign]
        sender.start()
        while self._arrived(place, started) < SIZE_BYTES / 2 and sender.is_alive():
            time.sleep(0.02)
        victim: Any = sessions[0]._process if way == "here" else self._child
        victim.kill()
        self.connection.session = started  # type: ignore[method-assign]
        sender.join()
        time.sleep(1)  # the other end notices

    def _arrived(self, place: str, started: Callable[[str], Any]) -> int:
        with started(f"du -sb {place} 2>/dev/null || echo 0") as asked:
            return int(asked.finish(60).output.split()[0])

    def round(self) -> dict[tuple[str, str], tuple[float, int]]:
        """Return seconds and bytes of each step by each way, ways in turn."""
        found: dict[tuple[str, str], tuple[float, int]] = {}

        def step(name: str) -> None:
            for way in _WAYS:
                began = time.monotonic()
                sent = getattr(self, way)()
                found[name, way] = time.monotonic() - began, sent

        self._forget()
        self.make_context()
        step("weights")
        for number in range(_CODE_FILES):
            (self.context / f"code/{number}.py").write_bytes(os.urandom(2000).hex().encode())
        step("code")
        (self.context / "code/0.py").write_text("edited")
        step("an edit")
        (self.context / "weights.bin").rename(self.context / "model.bin")
        step("weights renamed")
        (self.context / "model.bin").rename(self.context / "other/model.bin")
        step("weights moved")
        self._forget()
        self.make_context()
        for way in _WAYS:
            self.break_off(way)
        step("resumed")
        self._check()
        return found

    def _forget(self) -> None:
        subprocess.run(["rm", "-rf", self.context, self._cache], check=True)
        self.connection.run(f"rm -rf {STORE} {_RSYNC}; mkdir -p {_RSYNC}")

    def _check(self) -> None:
        """See that both ways brought the weights whole."""
        there = self.connection.run(
            f"sha256sum {_RSYNC}/weights.bin; find {STORE}/objects -size +9M -exec sha256sum {{}} +"
        ).output.split()[::2]
        whole = subprocess.check_output(["sha256sum", self.context / "weights.bin"], text=True)
        assert there == [whole.split()[0]] * 2, f"{there} instead of {whole}"


def measure(rounds: int) -> str:
    """Return the table."""
    sys.path.insert(0, "tests/support")
    from ecs_server import EcsServer  # type: ignore[import-not-found]

    with (
        tempfile.TemporaryDirectory(dir="build") as name,
        EcsServer.start(Path(name).resolve(), disk_gb=20, with_engine=False) as server,
        Connection.open(server.host, config_file=str(server.ssh_config)) as connection,
    ):
        bench = Bench(connection, Path(name).resolve() / "author", str(server.ssh_config))
        measured = [bench.round() for _ in range(rounds)]
    rows = []
    for step in _STEPS:
        seconds = {way: median(one[step, way][0] for one in measured) for way in _WAYS}
        sent = {way: median(one[step, way][1] for one in measured) / 1e6 for way in _WAYS}
        rows.append(
            (
                step,
                *(f"{seconds[way]:.2f}" for way in _WAYS),
                f"{seconds['rsync'] / seconds['here']:.2f}",
                *(f"{sent[way]:.2f}" for way in _WAYS),
            )
        )
    version = subprocess.check_output(["rsync", "--version"], text=True).split()[2]
    heads = (
        "what is new",
        "here, s",
        f"rsync {version}, s",
        "times",
        "here, MB sent",
        "rsync, MB sent",
    )
    return (
        f"{SIZE_BYTES / 1e6:.0f} MB of weights that nothing compresses, then {_CODE_FILES} files "
        f"of code, to the tests' server by its sshd; medians of {rounds} rounds, ways in turn.\n\n"
        f"{table(heads, rows)}"
    )
