"""scripts/ensure_docker.sh on machines that it has never seen: root or not, with an engine or not.

Every program it calls that would change this machine is a small script here.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_docker import fake_docker

SCRIPT = Path(__file__).parents[2] / "scripts/ensure_docker.sh"
SUPPORT = Path(__file__).parents[1] / "support"
# What the script itself needs of a machine.
TOOLS = ("sh", "cat", "rm", "sleep", "setsid", "nohup", "chmod", "cp")
ENGINE = """#!{python}
import pathlib, sys, time
sys.path.insert(0, {support!r})
from fake_docker import fake_docker
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
pathlib.Path({record!r}).write_text(repr(sys.argv[1:]))
with fake_docker(pathlib.Path(arguments["--host"].removeprefix("unix://"))):
    time.sleep(60)
"""


class Machine:
    """A machine: what is on its PATH, and what was done to it."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.socket = folder / "docker.sock"
        self.record = folder / "engine-arguments"
        self.done = folder / "done"
        for tool in TOOLS:
            found = next(p for d in ("/usr/bin", "/bin") if (p := Path(d, tool)).exists())
            (self.bin / tool).symlink_to(found)
        (self.bin / "python3").symlink_to(sys.executable)
        self.environment = {
            "PATH": str(self.bin),
            "DOCKER_SOCKET": str(self.socket),
            "TMPDIR": str(folder),
        }

    def add(self, program: str, script: str) -> None:
        path = self.bin / program
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def add_engine(self, name: str = "dockerd") -> Path:
        path = self.bin / name
        text = ENGINE.format(python=sys.executable, support=str(SUPPORT), record=str(self.record))
        path.write_text(text)
        path.chmod(0o755)
        return path

    def run(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", SCRIPT],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    machine.add("id", "echo 0")
    yield machine
    for pid in _engines(machine):
        os.kill(pid, signal.SIGKILL)


def _engines(machine: Machine) -> list[int]:
    """Return the ids of the engines that were started on this machine's own socket."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if f"unix://{machine.socket}".encode() in arguments:
            found.append(int(folder.name))
    return found


def test_an_engine_that_answers_is_used(machine: Machine) -> None:
    with fake_docker(machine.socket):
        done = machine.run(REQUIRE_DOCKER="1")

    assert done.returncode == 0
    assert f"using the Docker engine at unix://{machine.socket}" in done.stderr


def test_one_that_is_installed_but_not_running_is_started(machine: Machine) -> None:
    machine.add_engine()

    done = machine.run(REQUIRE_DOCKER="1")

    assert done.returncode == 0, done.stderr
    assert "started the Docker engine" in done.stderr
    assert f"unix://{machine.socket}" in machine.record.read_text()
    assert machine.run().stderr.startswith("ensure_docker: using the Docker engine"), "second run"


def test_without_one_the_distributions_is_installed_and_started(machine: Machine) -> None:
    engine = machine.add_engine("not-yet-installed")
    machine.add(
        "apt-get",
        f'echo "$*" >>{machine.done}; [ "$1" = update ] || cp {engine} {machine.bin}/dockerd',
    )

    done = machine.run()

    assert done.returncode == 0, done.stderr
    assert "installing the distribution's engine (docker.io)" in done.stderr
    update, install = machine.done.read_text().splitlines()
    assert update.startswith("update")
    assert {"docker.io", "iptables", "--no-install-recommends"} <= set(install.split())


def test_package_lists_that_cannot_be_updated_are_no_reason_to_give_up(machine: Machine) -> None:
    engine = machine.add_engine("not-yet-installed")
    machine.add("apt-get", f'[ "$1" != update ] && cp {engine} {machine.bin}/dockerd')

    done = machine.run()

    assert done.returncode == 0, done.stderr
    assert "trying with the package lists at hand" in done.stderr
    assert "started the Docker engine" in done.stderr


@pytest.mark.parametrize(
    ("program", "script", "why"),
    [
        ("id", "echo 1000", "Only root can install one"),
        ("true", "", "not Debian or Ubuntu"),
        ("apt-get", "exit 100", "apt-get could not install docker.io"),
        ("dockerd", "exit 1", "dockerd ended at once"),
    ],
    ids=["not root", "no apt-get", "nothing to install", "engine that ends"],
)
def test_where_none_can_be_had_it_says_why_and_what_is_then_not_checked(
    program: str, script: str, why: str, machine: Machine
) -> None:
    machine.add(program, script)

    done = machine.run()

    assert done.returncode == 0
    assert why in done.stderr
    assert "going on with the process engine" in done.stderr
    assert "NOT CHECKED" in done.stderr


def test_where_one_is_required_its_lack_is_an_error(machine: Machine) -> None:
    machine.add("dockerd", "exit 1")

    done = machine.run(REQUIRE_DOCKER="1")

    assert done.returncode == 3
    assert "REQUIRE_DOCKER=1, so this is an error" in done.stderr
    assert "going on" not in done.stderr


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("unix:///nowhere/docker.sock", "No such file or directory"),
        ("tcp://127.0.0.1:1", "Connection refused"),
        ("tcp://192.0.2.1:2375", "it is another machine"),
        ("ssh://ecs-user@192.0.2.1", "it is another machine"),
    ],
)
def test_an_engine_that_the_user_names_is_never_replaced(
    host: str, why: str, machine: Machine
) -> None:
    machine.add_engine()

    done = machine.run(DOCKER_HOST=host)

    assert done.returncode == 0
    assert f"DOCKER_HOST={host}: {why}" in done.stderr
    assert not machine.record.exists(), "it started another engine"


def test_a_socket_of_something_else_is_not_taken_for_an_engine(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fake_docker(machine.socket) as server:
        monkeypatch.setattr(server.RequestHandlerClass, "_answer", lambda self: None)
        monkeypatch.setattr(server.RequestHandlerClass, "do_GET", _teapot)
        done = machine.run(DOCKER_HOST=server.url)

    assert "it answers, but not as a Docker engine does" in done.stderr


def _teapot(handler: object) -> None:
    handler.send_error(418)  # type: ignore[attr-defined]


def test_a_pid_file_left_by_an_engine_that_is_gone_is_removed(machine: Machine) -> None:
    machine.add_engine()
    stale = machine.socket.with_suffix(".pid")
    gone = subprocess.Popen(["true"])
    gone.wait()
    stale.write_text(str(gone.pid))

    assert machine.run(REQUIRE_DOCKER="1").returncode == 0
    assert not stale.exists()
