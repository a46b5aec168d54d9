"""A Linux machine without a machine: namespaces, a disk and a network cable of its own.

It has one neighbour, the author's machine, and no route to anywhere else. All of it ends when this
process does, however that ends: see ``ecs_host.sh``.
"""

from __future__ import annotations

import ipaddress
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

PROJECT = Path(__file__).parents[2]
HOST_SCRIPT = Path(__file__).with_name("ecs_host.sh")
NAMESPACES = ("--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child")
PROGRAMS = (
    *("ssh", "ssh-keygen", "unshare", "nsenter", "setpriv"),
    *("ip", "tc", "iptables", "mkfs.ext4"),
)
NETWORK = ipaddress.ip_network("10.213.0.0/16")
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "DOCKER_HOST": "unix:///run/docker.sock",
}
# One comment marks the rules of ``cut``, so that ``restore`` finds no others.
CUT = "-m comment --comment cut -j DROP"


class Unable(Exception):
    """This machine cannot carry the stand-in; the message says what it lacks."""


class Machine:
    """The machine; use it as a context manager.

    Attributes:
        address: of it, as the author's machine sees it.
        author_address: of the author's machine, as it sees it.
        share: a folder of the author's machine that it sees as ``/run/share``.
    """

    def __init__(
        self, folder: Path, *, disk_gb: float = 60, root: Path = Path("/"), overlay: str = ""
    ) -> None:
        """Start it.

        Args:
            folder: an existing one; the file of the disk is in it, without a name.
            disk_gb: size of its disk, which takes space as it is written to.
            root: the file system it starts from; never changed. This machine's, unless told.
            overlay: a folder whose ``usr`` is laid over it.

        Raises:
            Unable: not root, or no namespaces or no loop devices here.
        """
        check_abilities()
        sweep_cgroups()
        self.folder = folder
        self.share = folder / "share"
        self.share.mkdir()
        self.name = f"ecs{secrets.token_hex(3)}"
        disk_bytes = str(int(disk_gb * 10**9))
        # What this machine alone has must not be of use to the server by accident.
        hidden = [PROJECT, "/usr/local"]
        self._init = subprocess.Popen(
            [
                *("unshare", *NAMESPACES, "sh", HOST_SCRIPT),
                *(folder, self.share, root, overlay, disk_bytes, *hidden),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._init.stdout is not None
        assert self._init.stderr is not None
        if self._init.stdout.readline() != b"ready\n":
            reason = self._init.stderr.read().decode().strip()
            self.end()
            raise Unable(f"the stand-in of a build server: {reason}")
        pid = self._init.pid
        self._pid = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0]
        self._connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def popen(self, *command: str | Path, **options: Any) -> subprocess.Popen[Any]:
        """Start a program on it, as root, past SSH."""
        # The clock is the one thing that it shares with this machine, so it may not set it.
        enter = ["setpriv", "--bounding-set", "-sys_time", "--inh-caps", "-sys_time"]
        enter += ["nsenter", "-t", self._pid, "-m", "-p", "-u", "-i", "-n"]
        return subprocess.Popen([*enter, *command], env=ENVIRONMENT, **options)

    def run(self, script: str, *, check: bool = True, input: bytes = b"") -> str:
        """Run a shell script on it, as root, past SSH; return what it printed."""
        process = self.popen(
            *("sh", "-euc", script),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output = process.communicate(input, timeout=250)[0].decode(errors="replace")
        assert not check or process.returncode == 0, f"{script}: {process.returncode}: {output}"
        return output

    @property
    def network_of(self) -> tuple[str, ...]:
        """The words before a program of this machine that give it the other's network and name."""
        return ("nsenter", "-t", self._pid, "-n", "-u")

    def free_bytes(self) -> int:
        """Return what is free on its disk."""
        return int(self.run("df -B1 --output=avail /var/lib/docker").split()[-1])

    def end(self) -> None:
        """End all that runs on it, and remove what it holds."""
        assert self._init.stdin is not None
        self._init.stdin.close()  # its first process reads it
        try:
            self._init.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._init.kill()
            self._init.wait()
        for stream in (self._init.stdout, self._init.stderr):
            assert stream is not None
            stream.close()
        sweep_cgroups(self.name)

    # --- its network ------------------------------------------------------------------------------

    def _connect(self) -> None:
        first = NETWORK[4 * secrets.randbelow(NETWORK.num_addresses // 4)]
        self.author_address, self.address = str(first + 1), str(first + 2)
        _run(f"ip link add {self.name} type veth peer name eth0 netns {self._pid}")
        _run(f"ip addr add {self.author_address}/30 dev {self.name}")
        _run(f"ip link set {self.name} up")
        self._in_network("ip link set lo up")
        self._in_network(f"ip addr add {self.address}/30 dev eth0")
        self._in_network("ip link set eth0 up")

    def _in_network(self, command: str, check: bool = True) -> None:
        """Run a program of this machine inside the network of the other, which may lack it."""
        _run(f"nsenter -t {self._pid} -n {command}", check)

    def reach(self, address: str) -> None:
        """Let it reach one more address of the author's machine, such as a registry's."""
        self._in_network(f"ip route replace {address}/32 via {self.author_address}")

    def cut(self) -> None:
        """Drop every packet, silently, as a network does that went away."""
        for way in ("INPUT", "OUTPUT"):
            self._in_network(f"iptables -w -I {way} {CUT}")

    def unplug(self) -> None:
        """Take the link down: the author's machine notices at once."""
        _run(f"ip link set {self.name} down")

    def limit_rate(self, kbit: int) -> None:
        """Limit the traffic each way; ``restore`` ends it."""
        limit = f"root tbf rate {kbit}kbit burst 16kb latency 200ms"
        _run(f"tc qdisc replace dev {self.name} {limit}")
        self._in_network(f"tc qdisc replace dev eth0 {limit}")

    def restore(self) -> None:
        """Undo ``cut``, ``unplug`` and ``limit_rate``, where there was one."""
        _run(f"ip link set {self.name} up")
        for way in ("INPUT", "OUTPUT"):
            with suppress(subprocess.CalledProcessError):
                while True:
                    self._in_network(f"iptables -w -D {way} {CUT}")
        _run(f"tc qdisc del dev {self.name} root", check=False)
        self._in_network("tc qdisc del dev eth0 root", check=False)


def check_abilities() -> None:
    """Raise Unable where this machine cannot carry another."""
    if os.geteuid() != 0:
        raise Unable("the stand-in of a build server needs root (network and mount namespaces)")
    for program in PROGRAMS:
        if not shutil.which(program):
            raise Unable(f"the stand-in of a build server needs the program {program}")


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 20) -> None:
    """Poll until something is true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.05)


def sweep_cgroups(name: str = "") -> None:
    """Remove the empty control groups of a machine, or of all that are gone.

    They are the one thing of an engine that outlives its processes.
    """
    for found in Path("/sys/fs/cgroup").rglob(name or "ecs*"):
        is_ours = re.fullmatch("ecs[0-9a-f]{6}", found.name)
        if is_ours and not Path(f"/sys/class/net/{found.name}").exists():
            for group in [*sorted(found.rglob("*/"), reverse=True), found]:
                with suppress(OSError):
                    group.rmdir()


def _run(command: str, check: bool = True) -> None:
    subprocess.run(command.split(), check=check, capture_output=True)
