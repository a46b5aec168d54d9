"""The process engine with a boot file of six lines; tests/service runs the real one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from custom_image.engines import Socket, StartOptions
from custom_image.engines.process.engine import ProcessEngine
from custom_image.engines.readiness import wait_until_ready
from custom_image.errors import Unavailable, UsageError

SERVER = """\
import http.server, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("port", os.environ["PORT"], flush=True)
server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])),
                                         http.server.SimpleHTTPRequestHandler)
server.serve_forever()
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    (folder / "ma-user").mkdir(parents=True)
    (folder / "run.sh").write_text('exec python3 "$(dirname "$0")/ma-user/server.py"\n')
    (folder / "ma-user/server.py").write_text(SERVER)
    return folder


def test_a_boot_file_runs_on_a_free_port_with_the_python_of_this_environment(home: Path) -> None:
    with ProcessEngine().start(str(home)) as service:
        seconds = wait_until_ready(service, "/", timeout_s=20)
        executable = service.execute(["python3", "-c", "import sys; print(sys.executable)"])

        assert seconds > 0
        assert requests.get(service.url, timeout=5).status_code == 200
        assert Path(executable[1].strip()).parent == Path(sys.executable).parent
        assert service.logs().startswith(f"port {service.url.rpartition(':')[2]}\n")


def test_two_at_once_do_not_meet(home: Path) -> None:
    with ProcessEngine().start(str(home)) as one, ProcessEngine().start(str(home)) as other:
        wait_until_ready(one, "/", timeout_s=20)
        wait_until_ready(other, "/", timeout_s=20)

        assert one.url != other.url
        assert len(one.processes()) == len(other.processes()) == 1


def test_its_socket_and_its_processes_are_seen(home: Path) -> None:
    with ProcessEngine().start(str(home)) as service:
        wait_until_ready(service, "/", timeout_s=20)

        assert service.listening() == [
            Socket("127.0.0.1", int(service.url.rpartition(":")[2])),
        ]
        (process,) = service.processes()
        assert process.command.endswith("ma-user/server.py")
        assert process.parent_pid == os.getpid()


def test_it_takes_signals_and_gives_its_exit_code(home: Path) -> None:
    with ProcessEngine().start(str(home)) as service:
        wait_until_ready(service, "/", timeout_s=20)

        assert service.wait(0.05) is None
        service.send_signal("SIGTERM")
        assert service.wait(10) == 0
        assert not service.is_running()
        service.send_signal("SIGTERM")  # harmless by now


def test_death_by_a_signal_counts_as_docker_counts_it(home: Path) -> None:
    with ProcessEngine().start(str(home)) as service:
        service.send_signal("SIGKILL")

        assert service.wait(10) == 137


def test_leaving_the_block_kills_children_in_sessions_of_their_own(home: Path) -> None:
    pid_file = home / "pid"
    (home / "run.sh").write_text(f"setsid sh -c 'echo $$ >{pid_file}; exec sleep 600' & wait\n")

    with ProcessEngine().start(str(home)) as service:
        _wait_until(lambda: pid_file.exists() and pid_file.read_text().strip() != "")
        child = int(pid_file.read_text())
        _wait_until(lambda: "sleep 600" in [p.command for p in service.processes()])

    _wait_until(lambda: not Path(f"/proc/{child}").exists() or _is_zombie(child))
    assert service.processes() == []
    service.stop()  # idempotent


def test_its_log_outlives_it(home: Path) -> None:
    (home / "run.sh").write_text("echo to standard output; echo to standard error >&2\n")

    with ProcessEngine().start(str(home)) as service:
        assert service.wait(10) == 0

    assert service.logs() == "to standard output\nto standard error\n"


def test_it_is_killed_when_python_ends_without_leaving_the_block(home: Path) -> None:
    script = (
        "from custom_image.engines.process.engine import ProcessEngine\n"
        f"service = ProcessEngine().start({str(home)!r})\n"
        "print(service.processes()[0].pid)\n"
    )

    done = subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE)

    pid = int(done.stdout)
    _wait_until(lambda: not Path(f"/proc/{pid}").exists() or _is_zombie(pid))


def test_paths_below_home_are_those_of_the_folder(home: Path) -> None:
    with ProcessEngine().start(str(home)) as service:
        assert service.read_file("/home/ma-user/server.py") == SERVER.encode()
        assert service.read_file("/home/nothing") is None
        assert service.read_file("/home/ma-user") is None
        assert service.read_file("/etc/passwd") is None, "a file of this machine is no answer"
        assert service.execute(["cat", "/home/run.sh"]) == (0, (home / "run.sh").read_text())
        assert service.execute(["no-such-command"])[0] == 127
        assert service.execute(["sh", "-c", "echo no >&2; exit 3"]) == (3, "no\n")


def test_another_command_and_environment_can_be_given(home: Path) -> None:
    (home / "other.sh").write_text('echo "$GREETING"\n')
    options = StartOptions(command=["sh", "/home/other.sh"], environment={"GREETING": "hello"})

    with ProcessEngine().start(str(home), options) as service:
        service.wait(10)

        assert service.logs() == "hello\n"


@pytest.mark.parametrize(
    "options",
    [
        StartOptions(user="1000:100"),
        StartOptions(read_only=True),
        StartOptions(memory_bytes=1),
        StartOptions(cpus=1),
    ],
)
def test_what_only_a_container_can_do_is_refused_rather_than_ignored(
    options: StartOptions, home: Path
) -> None:
    with pytest.raises(Unavailable, match="takes a container"):
        ProcessEngine().start(str(home), options)


def test_a_folder_without_a_boot_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected run\.sh in it"):
        ProcessEngine().start(str(tmp_path))


def _wait_until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
