"""The stand-in of an ECS: a Linux machine with a real sshd and a second Docker engine."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
from ecs_machine import PROJECT, Machine, Unable, wait_for

PORT = 2222  # not 22, so that whoever forgets the port finds nothing
USER = "builder"
SSHD_CONFIG = f"""\
Port {PORT}
HostKey /etc/ssh/host_key
PidFile /run/sshd.pid
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
SetEnv DOCKER_HOST=unix:///run/docker.sock
Subsystem sftp internal-sftp
MaxStartups 100
"""


class EcsServer(Machine):
    """The server; ``start`` it, use it as a context manager.

    Attributes:
        host: ``root@address``, as ssh takes it.
        ssh_config: a configuration file with port, key and known hosts: ``ssh -F``.
        docker_socket: of its engine, on the author's machine, past SSH.
        sshd_log: what sshd said; dockerd_log: what the engine said.
    """

    port = PORT

    @classmethod
    def start(
        cls,
        folder: Path,
        *,
        disk_gb: float = 60,
        root: Path = Path("/"),
        with_engine: bool = True,
    ) -> EcsServer:
        """Start one and wait until its sshd and its engine answer.

        Args:
            folder: an existing one, for keys, logs and sockets.
            disk_gb: size of its disk, which takes space as it is written to.
            root: the file system it starts from, with an sshd in it; this machine's, unless told.
            with_engine: whether to start one.

        Raises:
            Unable: not root, or no namespaces, loop devices or sshd here.
        """
        overlay = _find_sshd() if root == Path("/") else ""
        server = cls(folder, disk_gb=disk_gb, root=root, overlay=overlay)
        try:
            server._prepare_ssh()
            server.start_sshd()
            if with_engine:
                server.start_engine()
        except BaseException:
            server.end()
            raise
        return server

    @property
    def host(self) -> str:
        return self.host_of("root")

    def host_of(self, user: str = USER) -> str:
        """Return the address with a user; ``builder`` is in the group docker."""
        return f"{user}@{self.address}"

    @property
    def ssh_config(self) -> Path:
        return self.folder / "ssh_config"

    @property
    def key_file(self) -> Path:
        return self.folder / "key"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def docker_socket(self) -> Path:
        return self.share / "docker.sock"

    @property
    def sshd_log(self) -> Path:
        return self.share / "sshd.log"

    @property
    def dockerd_log(self) -> Path:
        return self.share / "dockerd.log"

    def ssh(
        self, *command: str, user: str = "root", **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command over SSH with the system's ssh, as a person would."""
        whole = ["ssh", "-F", self.ssh_config, self.host_of(user), *command]
        return subprocess.run(whole, capture_output=True, text=True, **options)

    def popen_ssh(self, *command: str, user: str = "root") -> subprocess.Popen[bytes]:
        """Start the system's ssh, with pipes for its input, output and errors."""
        whole = ["ssh", "-F", self.ssh_config, self.host_of(user), *command]
        pipe = subprocess.PIPE
        return subprocess.Popen(whole, stdin=pipe, stdout=pipe, stderr=pipe)

    def repair(self) -> None:
        """Undo what a test may have done to the network, the host key, sshd and the engine."""
        self.restore()
        if self.run("cat /etc/ssh/host_key.pub").strip() != self._public("host_key"):
            self.restore_host_key()
        if not self.sshd_answers():
            self.start_sshd()
        if not self._engine_answers():
            self.restart_engine(signal.SIGKILL)

    # --- sshd -------------------------------------------------------------------------------------

    def _prepare_ssh(self) -> None:
        for name in ("key", "host_key", "other_host_key"):
            key = self.folder / name
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        self.run(
            "getent passwd sshd >/dev/null || useradd --system --home-dir /run/sshd"
            " --shell /usr/sbin/nologin sshd\n"
            "getent group docker >/dev/null || groupadd --system docker\n"
            f"useradd --create-home --shell /bin/sh {USER}\n"
            f"usermod --append --groups docker {USER}\n"
            f"usermod --password '*' {USER}; usermod --password '*' root\n"  # a `!` locks out keys
            f"mkdir -p -m 700 /root/.ssh /home/{USER}/.ssh /etc/ssh\n"
            f"tee /home/{USER}/.ssh/authorized_keys >/root/.ssh/authorized_keys\n"
            f"chown -R {USER}: /home/{USER}\n",
            input=self._public("key").encode(),
        )
        self.run("cat >/etc/ssh/sshd_config", input=SSHD_CONFIG.encode())
        self._write_host_key("host_key")
        self.known_hosts.write_text(f"[{self.address}]:{PORT} {self._public('host_key')}\n")
        self.ssh_config.write_text(
            f"Host {self.address}\n"
            f"  Port {PORT}\n"
            f"  IdentityFile {self.key_file}\n"
            "  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.known_hosts}\n"
            "  GlobalKnownHostsFile /dev/null\n"
            "  StrictHostKeyChecking yes\n"
            "  BatchMode yes\n"
        )

    def _public(self, name: str) -> str:
        return (self.folder / f"{name}.pub").read_text().strip()

    def _write_host_key(self, name: str) -> None:
        private = (self.folder / name).read_bytes()
        self.run("umask 077; cat >/etc/ssh/host_key", input=private)
        self.run("cat >/etc/ssh/host_key.pub", input=self._public(name).encode())

    def start_sshd(self) -> None:
        """Start sshd and wait until it answers."""
        self.run("setsid /usr/sbin/sshd -E /run/share/sshd.log </dev/null >/dev/null 2>&1")
        wait_for(self.sshd_answers, f"sshd at {self.address}:{PORT}, see {self.sshd_log}")

    def sshd_answers(self) -> bool:
        with suppress(OSError), socket.create_connection((self.address, PORT), timeout=1) as asked:
            return asked.recv(4) == b"SSH-"
        return False

    def stop_sshd(self) -> None:
        """End sshd; connections that are open stay."""
        self.run("kill $(cat /run/sshd.pid); while [ -e /run/sshd.pid ]; do :; done")

    def end_ssh_connections(self) -> None:
        """Kill what serves the open connections; sshd goes on listening."""
        self.run(
            "listener=$(cat /run/sshd.pid)\n"
            "for process in $(pgrep -x sshd); do\n"
            '  [ "$process" = "$listener" ] || kill -9 "$process" || true\n'
            "done"
        )

    def change_host_key(self) -> None:
        """Show another key to new connections, as an impostor would."""
        self._use_host_key("other_host_key")

    def restore_host_key(self) -> None:
        """Show the key again that ``known_hosts`` knows."""
        self._use_host_key("host_key")

    def _use_host_key(self, name: str) -> None:
        self._write_host_key(name)
        self.stop_sshd()  # it reads its keys when it starts
        self.start_sshd()

    # --- the engine -------------------------------------------------------------------------------

    def start_engine(self) -> None:
        """Start the engine and wait until it answers."""
        self.run(
            "setsid dockerd --host unix:///run/docker.sock --host unix:///run/share/docker.sock"
            f" --cgroup-parent /{self.name} </dev/null >>/run/share/dockerd.log 2>&1 &"
        )
        wait_for(self._engine_answers, f"the engine, see {self.dockerd_log}", timeout_s=60)

    def _engine_answers(self) -> bool:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(5)
            asked.connect(str(self.docker_socket))
            asked.sendall(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n")
            return b" 200 " in asked.recv(64)
        return False

    def stop_engine(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the engine; by SIGTERM it ends its containers first."""
        self.run(
            f"pkill -{int(how)} -x dockerd || true\n"
            "while pgrep -x dockerd >/dev/null; do :; done\n"
            "pkill -KILL -x containerd || true; rm -f /run/docker.pid"
        )

    def restart_engine(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the engine, as a crash does where told SIGKILL, and start it again."""
        self.stop_engine(how)
        self.start_engine()

    @contextmanager
    def docker(self) -> Iterator[docker.DockerClient]:
        """Give a client of the server's engine, past SSH."""
        client = docker.DockerClient(f"unix://{self.docker_socket}", timeout=60)
        try:
            yield client
        finally:
            client.close()

    def copy_image(self, reference: str) -> None:
        """Bring an image of this machine's engine to the server's, past SSH."""
        here = docker.from_env(timeout=60)
        try:
            with self.docker() as there:
                there.images.load(here.images.get(reference).save(named=True))
        finally:
            here.close()


def _find_sshd() -> str:
    """Return the folder to lay over the server's /usr; empty where this machine has an sshd."""
    done = subprocess.run([PROJECT / "scripts/ensure_sshd.sh"], capture_output=True, text=True)
    if done.returncode:
        raise Unable(done.stderr.strip().splitlines()[-2])
    own = PROJECT / "build/sshd"
    return str(own) if done.stdout.startswith(str(own)) else ""
