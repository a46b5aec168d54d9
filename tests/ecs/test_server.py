"""The stand-in is what the tests of a build server take it for."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import docker
import pytest
from ecs_machine import PROJECT, wait_for

START_AND_WAIT = """\
import sys
from pathlib import Path
from ecs_server import EcsServer
server = EcsServer.start(Path(sys.argv[1]), disk_gb=1)
print(server.name, flush=True)
sys.stdin.read()
"""


def test_the_server_is_a_machine_of_its_own(ecs_server):
    seen = ecs_server.ssh(f"hostname; touch /etc/mine /root/mine; cat {PROJECT}/README.md")

    assert seen.stdout.split() == ["ecs-server"], "it sees files of this machine"
    assert not Path("/etc/mine").exists()
    assert not Path("/root/mine").exists()


def test_the_server_reaches_its_neighbour_and_nothing_else(ecs_server):
    routes = ecs_server.run("ip route").splitlines()

    assert not [route for route in routes if "default" in route]
    assert ecs_server.author_address in ecs_server.ssh("echo $SSH_CLIENT").stdout


def test_an_unprivileged_user_may_use_the_engine(ecs_server):
    answer = ecs_server.ssh("docker info --format '{{.Driver}}'", user="builder")

    assert answer.stdout == "overlay2\n", answer.stderr


def test_its_engine_is_not_the_one_of_this_machine(ecs_server, docker_engine):
    here = docker.from_env()
    with ecs_server.docker() as there:
        assert there.info()["Name"] == "ecs-server"
        assert there.info()["ID"] != here.info()["ID"]
    here.close()
    assert Path("/sys/class/net/docker0").exists(), "the second engine took this machine's bridge"


def test_a_build_runs_on_its_engine(ecs_server):
    ecs_server.run(
        "mkdir /tmp/context; cat >/tmp/context/Dockerfile", input=b"FROM scratch\nCOPY . /"
    )

    built = ecs_server.ssh("docker build -q -t stand-in /tmp/context && docker rmi stand-in")

    assert "Untagged: stand-in:latest" in built.stdout, built.stderr


def test_a_silent_cut_makes_a_connection_wait_and_go_on(ecs_server):
    counting = ecs_server.popen_ssh("for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.1; done")
    assert counting.stdout.readline() == b"1\n"

    ecs_server.cut()
    assert not ecs_server.sshd_answers()
    assert counting.poll() is None
    ecs_server.restore()

    assert counting.communicate(timeout=30)[0].split()[-1] == b"9"


def test_ended_connections_break_off_and_new_ones_are_taken(ecs_server):
    waiting = ecs_server.popen_ssh("echo here; sleep 60")
    assert waiting.stdout.readline() == b"here\n"

    ecs_server.end_ssh_connections()

    assert waiting.wait(timeout=20) == 255
    waiting.communicate()
    assert ecs_server.ssh("echo again").stdout == "again\n"


def test_a_changed_host_key_is_refused_by_ssh(ecs_server):
    ecs_server.change_host_key()
    refused = ecs_server.ssh("true")
    ecs_server.restore_host_key()

    assert refused.returncode == 255
    assert "HOST IDENTIFICATION HAS CHANGED" in refused.stderr
    assert ecs_server.ssh("true").returncode == 0


def test_a_limited_rate_slows_both_ways(ecs_server):
    ecs_server.limit_rate(kbit=2000)
    start = time.monotonic()
    there = ecs_server.ssh("cat >/dev/null; head -c 100000 /dev/zero", input="x" * 100_000)
    limited_s = time.monotonic() - start

    assert there.returncode == 0
    assert limited_s > 0.6  # 200 kB at 250 kB/s
    ecs_server.restore()


def test_the_engine_survives_its_own_death(ecs_server):
    with ecs_server.docker() as client:
        before = client.info()["ID"]

    ecs_server.restart_engine(signal.SIGKILL)

    with ecs_server.docker() as client:
        assert client.info()["ID"] == before


def test_its_disk_is_as_small_as_asked_and_can_be_full(start_server, tmp_path):
    with start_server(tmp_path, disk_gb=0.2, with_engine=False) as server:
        assert 100e6 < server.free_bytes() < 200e6

        filled = server.ssh("cat /dev/zero >/var/lib/docker/zeros")

        assert "No space left on device" in filled.stderr


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_test_run_leaves_nothing_of_its_server(end, tmp_path, shared_server):
    support = PROJECT / "tests/support"
    owner = subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT, tmp_path],
        cwd=support,
        env={"PYTHONPATH": str(support), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    name = owner.stdout.readline().strip()
    assert Path(f"/sys/class/net/{name}").exists()

    owner.send_signal(end)
    owner.communicate()

    wait_for(lambda: not Path(f"/sys/class/net/{name}").exists(), "its network is gone")
    wait_for(lambda: str(tmp_path) not in _all_commands(), "its processes are gone")
    wait_for(lambda: str(tmp_path) not in _loop_files(), "its disk is gone")
    assert not list(tmp_path.glob("disk.img"))


def _all_commands() -> str:
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout


def _loop_files() -> str:
    files = Path("/sys/block").glob("loop*/loop/backing_file")
    return "".join(file.read_text() for file in files)
