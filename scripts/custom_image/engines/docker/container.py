"""A container as an :class:`custom_image.engines.Instance`."""

from __future__ import annotations

import io
import posixpath
import tarfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import docker.errors
import requests.exceptions

from custom_image.engines import ImageFile, Lookup, Process, Socket
from custom_image.engines.docker.exec import execute
from custom_image.engines.process import procfs
from custom_image.errors import CustomImageError, ServiceNotReady, Unavailable, UsageError
from custom_image.specification import MIB

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.models.containers import Container

_POLL_S = 0.05
_KILLED_S = 10.0
_CONFLICT = 409
_REMOVAL_S = 60.0
LARGEST_FILE_BYTES = 256 * MIB
_LONGEST_LINK_CHAIN = 8
# Directories, devices, pipes and sockets in Go's os.FileMode, which the engine's API speaks.
# Source: https://pkg.go.dev/io/fs#FileMode
_GO_MODE_TYPE = 1 << 31 | 1 << 26 | 1 << 25 | 1 << 24 | 1 << 21 | 1 << 19
# Prints the same files that engines.process.procfs reads, for a container that cannot be seen
# from here: one record a process, its parts divided by the control character US (octal 037).
_PROCESSES_SCRIPT = r"""
for folder in /proc/[0-9]*; do
  pid=${folder#/proc/}
  [ "$pid" = $$ ] || { read -r stat <"$folder/stat" &&
    printf '%s\037%s\n' "$stat" "$(tr '\0' ' ' <"$folder/cmdline")"; } 2>/dev/null
done
"""


class DockerContainer:
    """A running container, removed when its ``with`` block is left.

    It is looked into from outside, through ``/proc`` of this machine, which changes nothing in it
    and works for images without a shell. Where that is closed to us (the engine in a virtual
    machine, this Python in another pid namespace), commands are run inside instead.
    """

    def __init__(
        self,
        container: Container,
        port: int,
        proc_folder: Path = procfs.PROC,
        lead: Callable[[int], int] = int,
    ) -> None:
        """Look at a container that was started.

        Args:
            container: as the SDK knows it.
            port: of the service inside it.
            proc_folder: where the engine's machine shows its processes.
            lead: returns the port of this machine that leads to one of the engine's machine.
        """
        self._container = container
        self._port = port
        self._proc = proc_folder
        self._lead = lead
        self._last_log: str | None = None
        self.url = f"http://127.0.0.1:{self._published_port(port)}"

    @property
    def id(self) -> str:
        """The engine's id of the container."""
        return str(self._container.id)

    def is_running(self) -> bool:
        """Tell whether its first process still runs."""
        return bool(self._state().get("Running", False))

    def logs(self) -> str:
        """Return all it wrote to standard output and standard error, even after its removal."""
        if self._last_log is not None:
            return self._last_log
        return self._container.logs(stdout=True, stderr=True).decode(errors="replace")

    def send_signal(self, name: str) -> None:
        """Send a signal such as ``SIGTERM`` to its first process; harmless where it has exited."""
        try:
            self._container.kill(signal=name)
        except docker.errors.APIError:
            if self.is_running():
                raise

    def wait(self, timeout_s: float) -> int | None:
        """Return its exit code, or None where it still runs after ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while True:
            state = self._state()
            if not state.get("Running", False):
                return int(state.get("ExitCode", -1))
            if time.monotonic() >= deadline:
                return None
            time.sleep(min(_POLL_S, max(0.0, deadline - time.monotonic())))

    def processes(self) -> list[Process]:
        """Return what runs in it now, with ids as the container sees them."""
        if not self._host_pid():
            return self._processes_from_inside()
        # The engine names every container's control group after its id, and /proc/<pid>/cgroup is
        # readable by all. `docker top` would need `ps` on the engine's machine.
        entries = [
            entry
            for entry in procfs.entries(self._proc)
            if procfs.contains(entry.host_pid, "cgroup", self.id, self._proc)
        ]
        inner = {entry.host_pid: entry.pid for entry in entries}
        found = [Process(e.pid, inner.get(e.parent_host_pid, 0), e.command) for e in entries]
        return sorted(found, key=lambda process: process.pid)

    def listening(self) -> list[Socket]:
        """Return the TCP sockets it listens on.

        Raises:
            Unavailable: its ``/proc`` can be read neither from here nor from inside.
        """
        pid = self._host_pid()
        try:
            if pid:
                return list(
                    procfs.parse_listening(procfs.read_tcp_tables(pid, self._proc)).values()
                )
        except OSError:  # not ours to read, or gone
            pass
        code, tables = self.execute(["cat", "/proc/net/tcp", "/proc/net/tcp6"])
        if code not in (0, 1):  # 1: this kernel has no IPv6
            if not self.is_running():
                return []
            raise Unavailable(
                f"the sockets of container {self.id[:12]} cannot be read: /proc of this machine "
                f"does not show it, and `cat` in it exits with {code}.\n"
                "Run this as root, beside the engine."
            )
        return list(procfs.parse_listening(tables).values())

    def read_file(self, path: str) -> bytes | None:
        """Return one file of it, or None where there is none."""
        return read_file(self._container, path)

    def execute(self, command: Sequence[str]) -> tuple[int, str]:
        """Run a command inside it; return its exit code (126, 127: not started) and its output."""
        try:
            code, output, error = execute(self._container, command)
        except docker.errors.APIError as problem:
            if self.is_running():
                raise
            return 126, f"the container has ended: {problem.explanation}"
        return code, (output + error).decode(errors="replace")

    def lookups(self) -> list[Lookup]:
        """Return nothing: it has a network, whose names are not watched."""
        return []

    def restart(self) -> None:
        """Kill its first process and start it again, on the files that it left; moves `url`."""
        self.send_signal("SIGKILL")
        self.wait(_KILLED_S)
        self._container.start()
        self.url = f"http://127.0.0.1:{self._published_port(self._port)}"

    def stop(self) -> None:
        """Kill and remove it, keeping its log. Idempotent."""
        if self._last_log is not None:
            return
        try:
            self._last_log = self.logs()
            remove_container(self._container)
        except (docker.errors.NotFound, requests.exceptions.ConnectionError):
            # Gone, or its engine is: the next one to use that engine removes it, by its owner.
            self._last_log = self._last_log or ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _published_port(self, port: int) -> int:
        self._container.reload()
        published = self._container.ports.get(f"{port}/tcp")
        # A container that exited at once has no ports any more; nothing ever answers on port 0.
        return self._lead(int(published[0]["HostPort"])) if published else 0

    def _state(self) -> dict[str, Any]:
        try:
            self._container.reload()
        except docker.errors.NotFound:
            return {"Running": False, "ExitCode": -1}
        state: dict[str, Any] = self._container.attrs["State"]
        return state

    def _host_pid(self) -> int:
        """Return the id of its first process on this machine, or 0 where that cannot be seen."""
        pid = int(self._state().get("Pid", 0))
        return pid if pid and procfs.contains(pid, "cgroup", self.id, self._proc) else 0

    def _processes_from_inside(self) -> list[Process]:
        code, output = self.execute(["sh", "-c", _PROCESSES_SCRIPT])
        if not self.is_running():
            return []
        if code in (126, 127):
            raise Unavailable(
                f"the processes of container {self.id[:12]} cannot be read: /proc of this machine "
                "does not show it, and it has no shell.\nRun this as root, beside the engine."
            )
        found = []
        for line in output.splitlines():
            stat, _, arguments = line.partition("\x1f")
            pid, _, rest = stat.partition(" (")
            name, _, fields = rest.rpartition(") ")
            if pid.isdigit() and fields:
                command = arguments.strip() or f"[{name}]"
                if "for folder in /proc/" not in command:  # this script's own shells
                    found.append(Process(int(pid), int(fields.split()[1]), command))
        return sorted(found, key=lambda process: process.pid)


def start_container(
    client: DockerClient,
    image: str,
    *,
    prepare: Callable[[Container], object] = lambda _: None,
    **creation: Any,
) -> None:
    """Start a container that outlives this Python; one that cannot be started is removed.

    Args:
        client: of the engine.
        image: of the engine.
        prepare: called with the container before its first process starts.
        creation: as the SDK's ``containers.create`` takes it.

    Raises:
        UsageError: the engine has no such image.
        ServiceNotReady: its first process could not be started.
    """
    container = None
    try:
        container = client.containers.create(image, **creation)
        prepare(container)
        container.start()
    except docker.errors.ImageNotFound as error:
        raise UsageError(f"image {image!r} is not in the Docker engine.") from error
    except docker.errors.APIError as error:
        if container is not None:
            remove_container(container)
        raise ServiceNotReady(
            f"image {image!r} could not be started: {error.explanation}", ""
        ) from error


def remove_container(container: Container) -> None:
    """Kill and remove a container with its unnamed volumes: it is gone when this returns.

    Idempotent, and safe to call from several threads at once.
    """
    deadline = time.monotonic() + _REMOVAL_S
    with suppress(docker.errors.NotFound):
        while True:
            try:
                return container.remove(force=True, v=True)
            except docker.errors.APIError as error:
                if error.status_code != _CONFLICT or time.monotonic() > deadline:
                    raise
                # Another removes it. `wait` for that may never return: Docker 20.10 answers the
                # head of a container that is going, and now and then nothing after it.
                time.sleep(0.05)


def read_file(container: Container, path: str) -> bytes | None:
    """Return the content of one file of a container; see :func:`find_file`."""
    found = find_file(container, path)
    return found.content if found else None


def find_file(
    container: Container, path: str, limit_bytes: int = LARGEST_FILE_BYTES
) -> ImageFile | None:
    """Return one file of a container, running or not, or None where there is no such file.

    Raises:
        CustomImageError: it is larger than ``limit_bytes``.
    """
    for _ in range(_LONGEST_LINK_CHAIN):
        try:
            stream, stat = container.get_archive(path)
        except docker.errors.NotFound:
            return None
        stat = stat or {}
        if stat["linkTarget"]:
            b"".join(stream)  # one header; an answer left unread would keep its connection
            path = posixpath.join(posixpath.dirname(path), stat["linkTarget"])
            continue
        if stat["mode"] & _GO_MODE_TYPE:
            _break_off(stream)
            return None
        if stat["size"] > limit_bytes:
            _break_off(stream)
            raise CustomImageError(
                f"{path} is {stat['size']:,} bytes; at most {limit_bytes:,} are read into memory."
            )
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
            member = archive.next()
            content = archive.extractfile(member) if member and member.isfile() else None
            if member is None or content is None:
                return None
            return ImageFile(content.read(), member.mode & 0o7777, member.uid, member.gid)
    return None


def _break_off(answer: Any) -> None:
    """Close an answer that nobody wants to read: the engine locks the container until it ends.

    Only an answer that was begun is closed with its connection.
    """
    next(answer, None)
    answer.close()
