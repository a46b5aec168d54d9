"""The Docker engine's client, against a socket that speaks the API (support/fake_docker.py)."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_docker import FakeDocker, fake_docker

from custom_image.engines import StartOptions, open_engine
from custom_image.engines.docker.connection import connect
from custom_image.engines.docker.engine import DockerEngine
from custom_image.engines.docker.images import RUN_LABEL
from custom_image.engines.docker.owners import OWNER_LABEL, this_process
from custom_image.engines.image_facts import image_facts
from custom_image.errors import ServiceNotReady, Unavailable, UsageError

CONTAINER = "c" * 64


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDocker]:
    with fake_docker(tmp_path / "engine.sock") as server:
        monkeypatch.setenv("DOCKER_HOST", server.url)
        yield server


@pytest.fixture
def engine(docker: FakeDocker) -> Iterator[DockerEngine]:
    docker.answers["GET /containers/json"] = (200, [])
    engine = DockerEngine.connect("run-1")
    yield engine
    engine.close()


def test_importing_the_engine_connects_to_nothing(docker: FakeDocker) -> None:
    DockerEngine()

    assert docker.requests == []


def test_an_engine_that_is_not_there_is_named_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")

    with pytest.raises(Unavailable) as caught:
        DockerEngine.connect()

    message = str(caught.value)
    assert f"no Docker engine answers at unix://{tmp_path}/nothing.sock" in message
    assert "No such file or directory" in message
    assert "scripts/ensure_docker.sh" in message
    assert len(message.splitlines()) <= 3


def test_a_socket_that_nobody_listens_on_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "left.sock")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(path)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")

    with pytest.raises(Unavailable, match="Connection refused"):
        DockerEngine.connect()


def test_a_socket_without_permission_names_the_group(
    docker: FakeDocker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "connect", refuse)  # root may connect to anything

    with pytest.raises(Unavailable, match=r"permission denied\)[\s\S]*usermod -aG docker"):
        DockerEngine.connect()


@pytest.mark.parametrize("host", ["tcp://192.0.2.1:2375", "ssh://ecs-user@192.0.2.1"])
def test_an_engine_on_another_machine_is_unavailable_for_now(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", host)

    with pytest.raises(Unavailable, match="another machine"):
        DockerEngine.connect()


def test_something_else_on_the_socket_is_unavailable(docker: FakeDocker) -> None:
    docker.answers["GET /version"] = (200, "nonsense")

    with pytest.raises(Unavailable, match="no Docker engine answers"):
        DockerEngine.connect()


def test_an_engine_that_hangs_is_not_waited_for(docker: FakeDocker) -> None:
    hanging = threading.Event()

    def hang(_: bytes) -> tuple[int, object]:
        hanging.wait(20)
        return 200, ""

    docker.answers["GET /version"] = hang

    with pytest.raises(Unavailable, match=r"no Docker engine answers at .*timed out"):
        connect(timeout_s=0.1)

    hanging.set()


def test_auto_falls_back_to_processes_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")

    assert open_engine("auto").name == "process"
    assert "Going on with the process engine" in capsys.readouterr().err
    with pytest.raises(Unavailable):
        open_engine("docker")
    with pytest.raises(UsageError, match="expected one of: auto, docker, process"):
        open_engine("podman")


def test_auto_takes_the_engine_that_answers(docker: FakeDocker) -> None:
    docker.answers["GET /containers/json"] = (200, [])
    engine = open_engine("auto")

    assert isinstance(engine, DockerEngine)
    engine.close()


def test_an_image_that_is_not_there_says_how_to_get_it(engine: DockerEngine) -> None:
    with pytest.raises(UsageError) as caught:
        engine.inspect("mnist:1")

    assert "'mnist:1' is not in the Docker engine" in str(caught.value)
    assert "docker pull mnist:1" in str(caught.value)
    with pytest.raises(UsageError):
        engine.read_file("mnist:1", "/home/run.sh")
    with pytest.raises(UsageError):
        engine.start("mnist:1")
    assert not engine.has_image("mnist:1")


def test_a_container_that_cannot_start_is_removed_and_its_reason_given(
    docker: FakeDocker, engine: DockerEngine
) -> None:
    docker.answers |= {
        "POST /containers/create": (201, {"Id": CONTAINER}),
        f"GET /containers/{CONTAINER}/json": (200, {"Id": CONTAINER}),
        f"POST /containers/{CONTAINER}/start": (400, {"message": 'exec: "sh": not found'}),
        f"DELETE /containers/{CONTAINER}": (204, ""),
    }

    with pytest.raises(ServiceNotReady, match='exec: "sh": not found'):
        engine.start("mnist:1")

    assert docker.asked(f"DELETE /containers/{CONTAINER}")


def test_an_interrupt_while_a_container_starts_removes_it(
    docker: FakeDocker, engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker.answers |= {
        "POST /containers/create": (201, {"Id": CONTAINER}),
        f"GET /containers/{CONTAINER}/json": (200, {"Id": CONTAINER}),
        f"POST /containers/{CONTAINER}/start": (204, ""),
        f"DELETE /containers/{CONTAINER}": (204, ""),
    }

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("custom_image.engines.docker.engine.DockerContainer", interrupt)

    with pytest.raises(KeyboardInterrupt):
        engine.start("mnist:1")

    assert docker.asked(f"DELETE /containers/{CONTAINER}")


def test_options_reach_the_engine(docker: FakeDocker, engine: DockerEngine) -> None:
    seen: dict[str, object] = {}

    def create(body: bytes) -> tuple[int, object]:
        seen.update(json.loads(body))
        return 500, {"message": "enough"}

    docker.answers["POST /containers/create"] = create
    options = StartOptions(
        port=8443,
        environment={"A": "1"},
        command=["sh", "/home/other.sh"],
        user="1000:100",
        read_only=True,
        memory_bytes=2**28,
        cpus=0.5,
    )

    with pytest.raises(Exception, match="enough"):
        engine.start("mnist:1", options)

    host = seen["HostConfig"]
    assert isinstance(host, dict)
    assert seen["Labels"] == {RUN_LABEL: "run-1", OWNER_LABEL: this_process()}
    assert seen["User"] == "1000:100"
    assert seen["Entrypoint"] == ["sh"]
    assert seen["Cmd"] == ["/home/other.sh"]
    assert seen["Env"] == ["A=1"]
    assert host["PortBindings"] == {"8443/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}
    assert host["ReadonlyRootfs"] is True
    assert host["Tmpfs"] == {"/tmp": ""}
    assert host["Memory"] == host["MemorySwap"] == 2**28
    assert host["NanoCpus"] == 500_000_000


def test_a_pull_gives_up_on_a_registry_that_says_nothing(
    docker: FakeDocker, engine: DockerEngine
) -> None:
    silence = threading.Event()

    def hang(_: bytes) -> tuple[int, object]:
        silence.wait(20)
        return 200, ""

    docker.answers["POST /images/create"] = hang
    began = time.monotonic()

    with pytest.raises(Unavailable, match=r"no answer for 0\.1 s"):
        engine.pull("slow/image:1", silence_s=0.1)

    assert time.monotonic() - began < 10, "it waited for the registry"
    silence.set()


@pytest.mark.parametrize(
    "answer",
    [(500, {"message": "no such host"}), (200, {"error": "no such host"})],
    ids=["refused at once", "refused on the way"],
)
def test_a_pull_that_is_refused_gives_the_reason(
    answer: tuple[int, object], docker: FakeDocker, engine: DockerEngine
) -> None:
    docker.answers["POST /images/create"] = answer

    with pytest.raises(Unavailable, match=r"'x/y:1' cannot be pulled: .*no such host"):
        engine.pull("x/y:1", silence_s=5)


def test_only_containers_of_the_run_are_removed(docker: FakeDocker, engine: DockerEngine) -> None:
    docker.answers |= {
        "GET /containers/json": (200, [{"Id": CONTAINER}]),
        f"GET /containers/{CONTAINER}/json": (200, {"Id": CONTAINER}),
        f"DELETE /containers/{CONTAINER}": (204, ""),
    }

    assert engine.remove_run() == 1
    assert '"custom-image.run=run-1"' in docker.asked("GET /containers/json")[-1]


def test_what_is_left_is_removed_when_python_ends(docker: FakeDocker, tmp_path: Path) -> None:
    docker.answers |= {
        "GET /containers/json": (200, [{"Id": CONTAINER}]),
        f"GET /containers/{CONTAINER}/json": (200, {"Id": CONTAINER}),
        f"DELETE /containers/{CONTAINER}": (204, ""),
    }
    script = "from custom_image.engines.docker.engine import DockerEngine; DockerEngine.connect()"

    subprocess.run([sys.executable, "-c", script], check=True)

    assert docker.asked(f"DELETE /containers/{CONTAINER}")


def _attributes(**config: object) -> dict[str, object]:
    return {
        "Id": "sha256:1",
        "Size": 30,
        "Architecture": "amd64",
        "Os": "linux",
        "RootFS": {"Layers": ["sha256:a", "sha256:b"]},
        "Config": config,
    }


def test_facts_are_those_of_the_image() -> None:
    facts = image_facts(
        "mnist:1",
        _attributes(
            Cmd=["sh", "/home/run.sh"],
            User="1000:100",
            WorkingDir="/home/ma-user",
            Env=["PATH=/bin", "EQUATION=a=b"],
            ExposedPorts={"8080/tcp": {}, "53/udp": {}},
            Labels={"a": "b"},
        ),
        [
            {"CreatedBy": '/bin/sh -c #(nop)  CMD ["sh" "/home/run.sh"]', "Size": 0},
            {"CreatedBy": "|1 A=/bin/sh /bin/sh -c echo hi", "Size": 10},
            {"CreatedBy": "", "Size": 20},
        ],
    )

    assert facts.command == ("sh", "/home/run.sh")
    assert not facts.shell_form
    assert facts.environment == {"PATH": "/bin", "EQUATION": "a=b"}
    assert facts.exposed_ports == (8080,)
    assert facts.layers == ("sha256:a", "sha256:b")
    assert facts.size_bytes == 30
    assert facts.history == (
        ("", 20),
        ("RUN echo hi", 10),
        ('CMD ["sh" "/home/run.sh"]', 0),
    )


def test_shell_form_is_told_from_exec_form() -> None:
    assert image_facts("x", _attributes(Cmd=["/bin/sh", "-c", "python3 app.py"]), []).shell_form
    assert image_facts("x", _attributes(Entrypoint=["/bin/sh", "-c", "run"]), []).shell_form
    assert not image_facts("x", _attributes(Cmd=["/bin/sh", "/home/run.sh"]), []).shell_form


def test_an_image_without_any_configuration_has_facts() -> None:
    facts = image_facts("x", _attributes() | {"Config": None}, [])

    assert facts.command == ()
    assert facts.user == ""
    assert facts.labels == {}


def test_a_compressed_size_never_hides_the_true_one() -> None:
    facts = image_facts("x", _attributes(), [{"CreatedBy": "", "Size": 100}])

    assert facts.size_bytes == 100
