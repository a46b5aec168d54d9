"""One SSH connection to a build server, by the system's own ``ssh``.

The first process is the master: it alone has a TCP connection, and everything else (commands,
streams, forwarded sockets) goes through it. So the author's ``~/.ssh/config``, agent, jump hosts
and hardware keys work as they do in a terminal, and the server needs no port but that of SSH. By
hand: libraries of SSH (paramiko, asyncssh) read only a part of that configuration.

Source: ControlMaster and ControlPath in ssh_config(5), https://man.openbsd.org/ssh_config
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Final, Self

from custom_image.ecs.ssh.command import Result, Session, Traffic
from custom_image.ecs.ssh.diagnostics import explain_refusal
from custom_image.errors import ConnectionLost, Unavailable, UsageError

_ADDRESS: Final = re.compile(r"(?:[A-Za-z0-9_][\w.-]*@)?[A-Za-z0-9\[][\w.:\]-]*")
_PORT: Final = 22
_CONNECT_S: Final = 10
_OPEN_TIMEOUT_S: Final = 60.0
KEEP_ALIVE_S: Final = 15
"""A link silent for three times as long is gone; a slow one is silent while its queues drain."""
_KEEP_ALIVE_COUNT: Final = 3
_POLL_S: Final = 0.02
_FORWARD_TRIES: Final = 5
SERVER_VARIABLE: Final = "ECS_SERVER"
CONFIG_VARIABLE: Final = "ECS_SSH_CONFIG"


class Connection:
    """An open connection; leaving its ``with`` block closes it, and all that goes through it.

    Attributes:
        traffic: what commands, their input and their output took so far. Forwarded sockets are
            not in it; :meth:`close` returns what ssh counted in all.
    """

    def __init__(self, address: str, folder: Path, master: subprocess.Popen[bytes]) -> None:
        self.address = address
        self.traffic = Traffic()
        self._folder = folder
        self._master = master
        self._sockets = 0

    @classmethod
    def open(
        cls,
        address: str,
        *,
        port: int = _PORT,
        key_file: str = "",
        config_file: str = "",
        known_hosts: str = "",
        keep_alive_s: int = KEEP_ALIVE_S,
    ) -> Connection:
        """Connect to ``user@host``, or to a name of the ssh configuration.

        A server that is not known yet, or that shows another key than it did, is refused.

        Args:
            address: as ssh takes it.
            port: of sshd; 22 leaves it to the ssh configuration.
            key_file: the private key; empty for those that ssh finds by itself.
            config_file: in place of ``~/.ssh/config``.
            known_hosts: in place of ``~/.ssh/known_hosts``.
            keep_alive_s: the connection is lost after three times as long without a sign of life.

        Raises:
            UsageError: ``address`` is none.
            Unavailable: the server does not answer, is not who it was, or refuses the key.
        """
        if not _ADDRESS.fullmatch(address):
            raise UsageError(f"{address!r} is no server; expected user@host, as in root@10.0.0.5.")
        if shutil.which("ssh") is None:
            raise Unavailable("there is no program ssh here; install the package openssh-client.")
        options = {
            "BatchMode": "yes",  # never ask: a notebook and CI have nobody to answer
            "StrictHostKeyChecking": "yes",
            "UpdateHostKeys": "no",
            "ConnectTimeout": _CONNECT_S,
            "ServerAliveInterval": keep_alive_s,
            "ServerAliveCountMax": _KEEP_ALIVE_COUNT,
            "ForwardAgent": "no",
            "ControlPersist": "no",
            "LogLevel": "VERBOSE",  # its last line counts the bytes
        }
        if known_hosts:
            options |= {"UserKnownHostsFile": known_hosts, "GlobalKnownHostsFile": "/dev/null"}
        if key_file:
            options |= {"IdentityFile": key_file, "IdentitiesOnly": "yes"}
        if port != _PORT:
            options["Port"] = port
        folder = Path(tempfile.mkdtemp(prefix="ecs-"))
        command = ["ssh", "-M", "-N", "-S", str(folder / "control")]
        command += ["-F", config_file] if config_file else []
        command += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        with (folder / "log").open("wb") as log:
            # In a session of its own: Ctrl-C is for us, and the connection closes in good order.
            master = subprocess.Popen(
                [*command, "--", address],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        connection = cls(address, folder, master)
        try:
            connection._wait_until_open()
        except BaseException:
            connection.close()
            raise
        return connection

    def session(self, command: str) -> Session:
        """Start a command of the server's shell; to be used in a ``with`` block."""
        self.traffic.sent += len(command)
        return Session(self._through_master("--", self.address, command), self.traffic, self._lost)

    def run(
        self, command: str, *, input: bytes | Iterable[bytes] = b"", timeout_s: float | None = 60.0
    ) -> Result:
        """Run a command of the server's shell and return how it ended.

        ``input`` may be made while it is sent, so a stream of any length is never in memory.

        Raises:
            ConnectionLost: the connection broke off.
            Unavailable: it took longer than ``timeout_s`` after its input was sent.
        """
        with self.session(command) as session:
            for chunk in (input,) if isinstance(input, bytes) else input:
                session.write(chunk)
            return session.finish(timeout_s)

    def script(
        self,
        name: str,
        *arguments: str | int,
        input: bytes | Iterable[bytes] = b"",
        timeout_s: float | None = 60.0,
    ) -> Result:
        """Run a script of ``on_server/`` there; see :meth:`run`."""
        return self.run(script_command(name, *arguments), input=input, timeout_s=timeout_s)

    def forward_socket(self, remote_socket: str) -> str:
        """Return a unix socket of this machine that leads to one of the server.

        Raises:
            Unavailable: the server does not allow it.
        """
        self._sockets += 1
        local = self._folder / f"socket{self._sockets}"
        self._control("forward", f"{local}:{remote_socket}")
        if not local.exists():
            raise Unavailable(
                f"{self.address} does not forward {remote_socket}.\n"
                "Its sshd_config needs AllowStreamLocalForwarding yes, which is the default."
            )
        return str(local)

    def forward_port(self, remote_port: int, remote_host: str = "127.0.0.1") -> int:
        """Return a port of 127.0.0.1 here that leads to one that the server reaches.

        Raises:
            Unavailable: the server does not allow it.
        """
        for _ in range(_FORWARD_TRIES):  # somebody else may be faster to take a free port
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = int(free.getsockname()[1])
            if self._control("forward", f"127.0.0.1:{port}:{remote_host}:{remote_port}"):
                return port
        raise Unavailable(
            f"{self.address} does not forward port {remote_port}.\n"
            "Its sshd_config needs AllowTcpForwarding yes, which is the default."
        )

    def lend_port(self, port: int) -> None:
        """Let the server reach a port of 127.0.0.1 here as its own, until the connection closes.

        Raises:
            Unavailable: the server does not allow it, or uses that port itself.
        """
        if not self._control("forward", f"127.0.0.1:{port}:127.0.0.1:{port}", option="-R"):
            raise Unavailable(
                f"{self.address} does not lead its port {port} back here: the port is taken there, "
                "or its sshd_config forbids it.\nIt needs AllowTcpForwarding yes, the default."
            )

    def is_open(self) -> bool:
        """Tell whether the connection stands, as far as is known."""
        return self._master.poll() is None

    def close(self) -> Traffic:
        """End the connection; return the bytes on the wire, as ssh counted them."""
        if self.is_open():
            # SIGTERM would do as well, but ssh then keeps the count to itself.
            with suppress(Unavailable):
                self._control("exit")
            try:
                self._master.wait(_CONNECT_S)
            except subprocess.TimeoutExpired:
                self._master.kill()
                self._master.wait()
        found = re.search(r"Transferred: sent (\d+), received (\d+) bytes", self._log())
        shutil.rmtree(self._folder, ignore_errors=True)
        return Traffic(int(found[1]), int(found[2])) if found else Traffic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait_until_open(self) -> None:
        deadline = time.monotonic() + _OPEN_TIMEOUT_S
        while not (self._folder / "control").exists():
            if not self.is_open() or time.monotonic() > deadline:
                raise Unavailable(explain_refusal(self.address, self._log()))
            time.sleep(_POLL_S)

    def _through_master(self, *words: str) -> list[str]:
        # Where the master is gone, ssh would connect anew: ProxyCommand keeps it from that.
        options = ["-F", "/dev/null", "-o", "ProxyCommand=false", "-o", "LogLevel=ERROR"]
        return ["ssh", "-S", str(self._folder / "control"), *options, *words]

    def _control(self, verb: str, forwarding: str = "", option: str = "-L") -> bool:
        """Tell the master something; return whether it did it."""
        words = ["-O", verb, *([option, forwarding] if forwarding else []), "--", self.address]
        try:
            done = subprocess.run(
                self._through_master(*words), capture_output=True, timeout=_OPEN_TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            raise self._lost("ssh itself does not answer") from None
        if not self.is_open() and verb != "exit":
            raise self._lost(done.stderr.decode(errors="replace"))
        return done.returncode == 0

    def _lost(self, error: str) -> ConnectionLost:
        with suppress(subprocess.TimeoutExpired):
            self._master.wait(_POLL_S)  # it may be about to say why
        log = self._log() if not self.is_open() else error
        lines = [line for line in log.strip().splitlines() if "Transferred:" not in line]
        telling = [line for line in lines if re.search(r"[Tt]imeout|[Cc]losed|reset", line)]
        reason = (telling or lines or ["no reason given"])[-1].strip()
        return ConnectionLost(f"the connection to {self.address} broke off: {reason}")

    def _log(self) -> str:
        path = self._folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""


def script_command(name: str, *arguments: str | int) -> str:
    """Return the command that runs a script of ``on_server/``, which the server need not have."""
    text = files("custom_image.ecs").joinpath("on_server", name).read_text()
    return shlex.join(["sh", "-c", text, name, *map(str, arguments)])


def open_connection(address: str = "") -> Connection:
    """Connect to a build server; the connection lasts as long as this Python.

    Args:
        address: ``user@host``, or a name of the ssh configuration; empty for the one that the
            variable ``ECS_SERVER`` names, with ``ECS_SSH_CONFIG`` in place of ``~/.ssh/config``.

    Raises:
        UsageError: neither names a server.
        Unavailable: it does not answer, is not who it was, or refuses the key.
    """
    if address:
        return Connection.open(address)
    address = os.environ.get(SERVER_VARIABLE, "").strip()
    if not address:
        raise UsageError(
            "Which server to build on is not known.\n"
            f"Set server to user@host, as ssh takes it, or the variable {SERVER_VARIABLE}; "
            "notebooks/README.md tells how to try it without one."
        )
    return Connection.open(address, config_file=os.environ.get(CONFIG_VARIABLE, ""))
