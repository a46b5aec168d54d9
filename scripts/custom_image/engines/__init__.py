"""Engines that run an image's boot file: Docker, or this machine's own processes.

Two nouns: an :class:`Engine` starts things, an :class:`Instance` is a started thing. Everything
above (rules, notebooks, the CLI) speaks to these protocols and never to a client library, so that
a rehearsal without Docker and one on a remote engine run the same drills.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from custom_image.errors import Unavailable, UsageError
from custom_image.progress import say
from custom_image.specification import PORT


@dataclass(frozen=True)
class ImageFacts:
    """What the metadata of an image says, before anything runs.

    Attributes:
        reference: as the user named it.
        id: the digest of the image's configuration, ``sha256:...``.
        size_bytes: uncompressed, the sum of all layers.
        layers: digests of the uncompressed layers, lowest first.
        command: ``CMD`` (and ``ENTRYPOINT`` before it) as an exec-form list.
        shell_form: true where ``CMD`` or ``ENTRYPOINT`` was written in shell form.
        environment: of the image's configuration.
        exposed_ports: TCP ports.
        history: (instruction, bytes) of every step, oldest first, empty layers included.
        recorded: the same steps as the builder wrote them down, values of build arguments included.
    """

    reference: str
    id: str
    size_bytes: int
    layers: tuple[str, ...]
    command: tuple[str, ...]
    shell_form: bool
    user: str
    working_dir: str
    environment: Mapping[str, str]
    exposed_ports: tuple[int, ...]
    architecture: str
    os: str
    labels: Mapping[str, str]
    history: tuple[tuple[str, int], ...]
    recorded: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageFile:
    """A file of an image, with what decides who may read it.

    Attributes:
        mode: the permission bits, for example ``0o755``.
    """

    content: bytes
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True)
class Process:
    """One process of an instance, with ids as the instance itself sees them."""

    pid: int
    parent_pid: int
    command: str


@dataclass(frozen=True)
class Socket:
    """A listening TCP socket, ``address`` as the instance itself sees it (``0.0.0.0``, ``::``)."""

    address: str
    port: int


@dataclass(frozen=True)
class Volume:
    """A folder or file of the engine's machine that an instance sees, read-only unless said."""

    source: str
    target: str
    is_writable: bool = False

    def __str__(self) -> str:
        return f"{self.source}:{self.target}:{'rw' if self.is_writable else 'ro'}"


@dataclass(frozen=True)
class Lookup:
    """A name that an instance without a network asked for.

    Attributes:
        name: of the host, for example ``huggingface.co``.
        after_s: seconds after the start, when it was first asked for.
        times: how often, both address families counted.
        last_s: when it was last asked for.
        process: who asked, where that could be seen.
    """

    name: str
    after_s: float
    times: int = 1
    process: str = ""
    last_s: float = 0.0


@dataclass(frozen=True)
class StartOptions:
    """How to start an instance.

    Attributes:
        port: the TCP port inside the instance that :attr:`Instance.url` leads to; a process of
            this machine is told a free one as ``PORT`` instead.
        environment: added to the image's own.
        command: replaces the image's own, entry point included, where not empty.
        user: ``uid:gid``; empty for the image's own.
        read_only: the root file system cannot be written; ``/tmp`` can.
        memory_bytes: the ceiling; 0 for none.
        cpus: the CPU quota; 0 for none.
        tmp_bytes: the size of ``/tmp``; 0 for the image's own.
        shm_bytes: the size of ``/dev/shm``; 0 for the engine's own, 64 MB.
        volumes: what it sees of the engine's machine; nothing of it unless named here.
        gpus: ``all``, a number, or ids such as ``0,1``; empty for none.
        devices: such as ``/dev/davinci0``; none unless named here.
        is_offline: it has no network, and :attr:`Instance.url` leads to it all the same.
        cpuset: CPUs that it may run on, such as ``1``; empty for all.
        seccomp: a filter of system calls in the engine's JSON; empty for the engine's own.
    """

    port: int = PORT.value
    environment: Mapping[str, str] = field(default_factory=dict)
    command: Sequence[str] = ()
    user: str = ""
    read_only: bool = False
    memory_bytes: int = 0
    cpus: float = 0
    tmp_bytes: int = 0
    shm_bytes: int = 0
    volumes: Sequence[Volume] = ()
    gpus: str = ""
    devices: Sequence[str] = ()
    is_offline: bool = False
    cpuset: str = ""
    seccomp: str = ""


class Instance(Protocol):
    """A started service. Leaving its ``with`` block removes it, whatever happened inside."""

    url: str
    """Where it answers from here, for example ``http://127.0.0.1:49153``; no trailing slash."""

    def is_running(self) -> bool:
        """Tell whether its first process still runs."""
        ...

    def logs(self) -> str:
        """Return all it wrote to standard output and standard error."""
        ...

    def send_signal(self, name: str) -> None:
        """Send a signal such as ``SIGTERM`` to its first process."""
        ...

    def wait(self, timeout_s: float) -> int | None:
        """Return its exit code, or None where it still runs after ``timeout_s``."""
        ...

    def processes(self) -> list[Process]:
        """Return what runs in it now."""
        ...

    def listening(self) -> list[Socket]:
        """Return the TCP sockets it listens on.

        Raises:
            Unavailable: nothing here can look inside it.
        """
        ...

    def read_file(self, path: str) -> bytes | None:
        """Return one file of it, or None where there is none."""
        ...

    def execute(self, command: Sequence[str]) -> tuple[int, str]:
        """Run a command inside it; return its exit code and what it printed."""
        ...

    def lookups(self) -> list[Lookup]:
        """Return the names that it asked for in vain, in order of time, where it is offline."""
        ...

    def restart(self) -> None:
        """Kill its first process and start it again, on the files that it left; moves `url`."""
        ...

    def stop(self) -> None:
        """Stop and remove it. Idempotent."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Engine(Protocol):
    """Starts instances."""

    name: str
    """``docker`` or ``process``."""

    def start(self, target: str, options: StartOptions | None = None) -> Instance:
        """Start ``target`` (an image reference, or a folder that mirrors ``/home``) and return.

        The instance need not be ready yet: see :mod:`custom_image.engines.readiness`.

        Raises:
            UsageError: there is no such image or folder.
            ServiceNotReady: its first process could not be started.
            Unavailable: this engine cannot honour one of the options.
        """
        ...


def open_engine(name: str = "auto") -> Engine:
    """Return the engine ``docker`` or ``process``; ``auto`` is Docker where one answers.

    Raises:
        Unavailable: ``docker`` was asked for by name and no engine answers.
        UsageError: there is no engine of that name.
    """
    from custom_image.engines.docker.engine import DockerEngine  # heavy: the Docker SDK
    from custom_image.engines.process.engine import ProcessEngine

    if name == "process":
        return ProcessEngine()
    if name not in ("auto", "docker"):
        raise UsageError(f"engine is {name!r}; expected one of: auto, docker, process.")
    try:
        return DockerEngine.connect()
    except Unavailable as error:
        if name == "docker":
            raise
        say(f"{error}\nGoing on with the process engine; rules about images are not checked.")
        return ProcessEngine()
