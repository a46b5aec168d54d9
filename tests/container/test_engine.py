"""The Docker engine for real: containers are started, looked into, signalled and removed."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from interrupting import INTERRUPTIBLE
from PIL import Image
from runtime import wait_for

from custom_image.engines import ImageFile, Socket, StartOptions
from custom_image.engines.client import ask_health, predict
from custom_image.engines.docker.container import find_file
from custom_image.engines.docker.engine import DockerEngine
from custom_image.engines.docker.exec import run_within
from custom_image.engines.docker.images import RUN_LABEL
from custom_image.engines.readiness import wait_until_ready
from custom_image.errors import CustomImageError, ServiceNotReady
from custom_image.specification import PORT

READY_S = 60
IDLE = StartOptions(command=["sleep", "600"])


@pytest.fixture(scope="module")
def digit() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (28, 28), 40).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    "options",
    [
        StartOptions(),
        StartOptions(user="1000:100"),
        StartOptions(user="0:0"),
        StartOptions(user="1000:100", read_only=True),
        StartOptions(memory_bytes=400 * 2**20, cpus=1),
        StartOptions(environment={"MODEL_SERVER": "gunicorn-gevent"}),
    ],
    ids=["as it is", "as ma-user", "as root", "read-only", "limited", "gunicorn"],
)
def test_the_image_serves_however_it_is_started(options, docker_engine, tiny_image, digit):
    with docker_engine.start(tiny_image.reference, options) as service:
        wait_until_ready(service, "/health", READY_S)

        assert predict(service.url, digit).json["mnist_result"] in range(10)
        assert ask_health(service.url).json == {"health": "true"}
        assert predict(service.url, b"no picture").status == 422


def test_it_is_published_on_loopback_alone(docker_engine, tiny_image):
    with docker_engine.start(tiny_image.reference) as service:
        described = _inspect(service)

        bindings = described["NetworkSettings"]["Ports"][f"{PORT}/tcp"]
        assert [binding["HostIp"] for binding in bindings] == ["127.0.0.1"]
        assert urlsplit(service.url).port == int(bindings[0]["HostPort"])
        assert described["Config"]["Labels"][RUN_LABEL] == docker_engine.run_id


def test_two_containers_of_one_image_do_not_meet(docker_engine, tiny_image):
    with (
        docker_engine.start(tiny_image.reference) as one,
        docker_engine.start(tiny_image.reference) as other,
    ):
        assert one.url != other.url
        for service in (one, other):
            wait_until_ready(service, "/health", READY_S)


@pytest.mark.parametrize("proc_folder", ["/proc", "/nonexistent"], ids=["outside", "inside"])
def test_it_is_seen_alike_from_outside_and_from_inside(
    proc_folder, docker_engine, tiny_image, monkeypatch
):
    with docker_engine.start(tiny_image.reference) as service:
        wait_until_ready(service, "/health", READY_S)
        monkeypatch.setattr(service, "_proc", Path(proc_folder))

        first, *workers = service.processes()
        sockets = service.listening()

    assert (first.pid, first.parent_pid) == (1, 0)
    assert first.command.endswith("python3 -m model_service")
    assert workers
    assert {worker.parent_pid for worker in workers} == {1}
    assert Socket("0.0.0.0", PORT.value) in sockets


def test_processes_and_sockets_change_nothing_in_it(docker_engine, tiny_image):
    with docker_engine.start(tiny_image.reference, IDLE) as container:
        for _ in range(3):
            container.listening()
            (process,) = container.processes()

    assert process.command == "sleep 600"


def test_signals_reach_the_first_process_and_its_exit_code_comes_back(docker_engine, tiny_image):
    command = ["sh", "-c", "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.05; done"]
    with docker_engine.start(tiny_image.reference, StartOptions(command=command)) as container:
        _wait_for_log(container, "up\n")

        assert container.wait(0.1) is None
        container.send_signal("SIGTERM")
        assert container.wait(10) == 3
        assert not container.is_running()
        assert container.logs() == "up\nbye\n"
        container.send_signal("SIGTERM")  # harmless by now
        assert container.processes() == []
        assert container.listening() == []


def test_a_killed_container_has_the_code_of_its_signal(docker_engine, tiny_image):
    with docker_engine.start(tiny_image.reference, IDLE) as container:
        container.send_signal("SIGKILL")

        assert container.wait(10) == 137


def test_commands_run_inside_as_its_user(docker_engine, tiny_image):
    with docker_engine.start(tiny_image.reference, IDLE) as container:
        assert container.execute(["id", "-u"]) == (0, "1000\n")
        assert container.execute(["sh", "-c", "echo no >&2; exit 3"]) == (3, "no\n")
        assert container.execute(["no-such-command"])[0] in (126, 127)


def test_a_command_that_does_not_end_in_time_is_killed(docker_engine, tiny_image):
    with docker_engine.start(tiny_image.reference, IDLE) as container:
        assert run_within(container._container, ["sh", "-c", "exit 3"], 10) == 3
        with pytest.raises(TimeoutError, match=r"not done within 0\.5 s"):
            run_within(container._container, ["sleep", "612"], 0.5)

        wait_for(lambda: not any("612" in p.command for p in container.processes()), "its end")


def test_files_are_read_from_a_running_container(docker_engine, tiny_image):
    with docker_engine.start(tiny_image.reference, IDLE) as container:
        container.execute(["sh", "-c", "echo new >$HOME/file; ln -s file $HOME/link"])

        assert container.read_file("/home/ma-user/file") == b"new\n"
        assert container.read_file("/home/ma-user/link") == b"new\n"
        assert container.read_file("/home/ma-user") is None
        assert container.read_file("/nothing/here") is None


def test_files_are_read_from_an_image_without_starting_it(docker_engine, tiny_image):
    paths = ["/home/run.sh", "/bin/sh", "/home", "/nothing", "/dev/null"]

    files = docker_engine.find_files(tiny_image.reference, paths)

    boot_file = files["/home/run.sh"]
    assert isinstance(boot_file, ImageFile)
    assert boot_file.content.startswith(b"#!/bin/sh\n")
    assert (boot_file.mode, boot_file.uid, boot_file.gid) == (0o755, 1000, 100)
    assert files["/bin/sh"].content.startswith(b"\x7fELF"), "links are followed"
    assert [files[path] for path in paths[2:]] == [None, None, None]
    assert docker_engine.read_file(tiny_image.reference, "/home/run.sh") == boot_file.content


def test_a_file_that_does_not_fit_into_memory_is_refused(docker_engine, tiny_image):
    with (
        docker_engine.start(tiny_image.reference, IDLE) as container,
        pytest.raises(CustomImageError, match="at most 100 are read into memory"),
    ):
        find_file(container._container, "/etc/passwd", limit_bytes=100)


def test_limits_are_the_containers_own(docker_engine, tiny_image):
    options = StartOptions(command=IDLE.command, memory_bytes=300 * 2**20, cpus=0.5)
    with docker_engine.start(tiny_image.reference, options) as container:
        host = _inspect(container)["HostConfig"]

    assert (host["Memory"], host["MemorySwap"]) == (300 * 2**20, 300 * 2**20)
    assert host["NanoCpus"] == 500_000_000


def test_a_read_only_container_can_write_below_tmp_alone(docker_engine, tiny_image):
    options = StartOptions(command=IDLE.command, read_only=True)
    with docker_engine.start(tiny_image.reference, options) as container:
        assert container.execute(["touch", "/tmp/file"])[0] == 0
        assert "Read-only file system" in container.execute(["touch", "/home/ma-user/file"])[1]


def test_a_command_that_is_not_in_the_image_says_so(docker_engine, tiny_image):
    with pytest.raises(ServiceNotReady, match=r"could not be started: .*no-such-command"):
        docker_engine.start(tiny_image.reference, StartOptions(command=["no-such-command"]))

    assert docker_engine.remove_run() == 0, "it left a container behind"


def test_a_service_that_ends_at_once_is_shown_with_its_log(docker_engine, tiny_image):
    options = StartOptions(environment={"WORKERS": "many"})
    with (
        docker_engine.start(tiny_image.reference, options) as service,
        pytest.raises(ServiceNotReady, match=r"ended with exit code [1-9][\s\S]*WORKERS"),
    ):
        wait_until_ready(service, "/health", READY_S)


def test_leaving_the_block_removes_the_container_and_keeps_its_log(docker_engine, tiny_image):
    options = StartOptions(command=["echo", "hello"])
    with docker_engine.start(tiny_image.reference, options) as container:
        container.wait(10)

    assert docker_engine.remove_run() == 0
    assert container.logs() == "hello\n"
    assert container.wait(0) == -1
    container.stop()  # idempotent


def test_containers_of_a_run_are_removed_by_its_label_alone(docker_engine, tiny_image):
    other = DockerEngine.connect()
    try:
        other.start(tiny_image.reference, IDLE)
        with docker_engine.start(tiny_image.reference, IDLE) as mine:
            assert other.remove_run() == 1
            assert mine.is_running()
    finally:
        other.close()


@pytest.mark.parametrize("how", ["interrupted", "ends", "fails"])
def test_a_python_that_leaves_without_stopping_leaves_nothing_behind(
    how, docker_engine, tiny_image
):
    run_id = f"child-{time.time_ns()}"
    script = (
        "import time\n"
        "from custom_image.engines import StartOptions\n"
        "from custom_image.engines.docker.engine import DockerEngine\n"
        f"engine = DockerEngine.connect({run_id!r})\n"
        f"engine.start({tiny_image.reference!r}, StartOptions(command=['sleep', '600']))\n"
        "print('started', flush=True)\n"
    )
    script += {"interrupted": "time.sleep(600)", "ends": "", "fails": "1 / 0"}[how]
    child = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE + script],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "started\n"
        if how == "interrupted":
            child.send_signal(signal.SIGINT)
        child.wait(30)

    assert docker_engine.remove_run(run_id) == 0


def _inspect(container) -> dict:
    container._container.reload()
    return container._container.attrs


def _wait_for_log(container, text: str, timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while container.logs() != text:
        assert time.monotonic() < deadline, container.logs()
        time.sleep(0.02)


def test_what_has_ended_is_no_error(docker_engine, tiny_image):
    with docker_engine.start(tiny_image.reference, StartOptions(command=["true"])) as ended:
        assert ended.wait(READY_S) == 0

        assert ended.execute(["cat", "/proc/1/status"])[0] == 126
        assert (ended.listening(), ended.processes()) == ([], [])
