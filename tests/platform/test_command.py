"""``custom-image platform up | status | down``, as somebody at a terminal uses it."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from local_cloud import Cloud, Rehearsal
from local_models import docker
from local_services import config_of, deployed, predict

from custom_image.engines.process import procfs


def custom_image(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("custom-image")
    return subprocess.run([program, *arguments], capture_output=True, text=True)


def test_it_goes_up_says_where_it_is_and_comes_down_without_a_trace(
    docker_engine, registry_program, tmp_path: Path
) -> None:
    folder = tmp_path / "platform"
    where = ("--folder", str(folder))
    try:
        up = custom_image("platform", "up", *where, "--format", "json")
        again = custom_image("platform", "up", *where)
        status = custom_image("platform", "status", *where, "--format", "json")
        secret = Path(json.loads(up.stdout)["credentials_file"])
        mode = stat.S_IMODE(secret.stat().st_mode)
    finally:
        down = custom_image("platform", "down", "--purge", *where)
    gone = custom_image("platform", "status", *where, "--format", "json")

    assert up.returncode == 0, up.stderr
    described = json.loads(up.stdout)
    assert json.loads(status.stdout) == described
    assert described["running"] is True
    assert described["endpoint"].startswith("http://127.0.0.1:")
    assert described["endpoint"] in again.stdout
    assert f"process {described['pid']}" in again.stdout
    assert mode == 0o600
    assert (down.returncode, down.stdout) == (0, "stopped\n")
    assert (gone.returncode, json.loads(gone.stdout)) == (3, {"running": False})
    assert not folder.exists()
    networks = subprocess.run(["docker", "network", "ls"], capture_output=True, text=True).stdout
    assert described["network"] not in networks


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        (
            "--preset",
            "no/such:image",
            "--preset no/such:image: the Docker engine has no such image",
        ),
        (
            "--set",
            "save_sise_bytes=1",
            "there is no setting 'save_sise_bytes'; there are save_size_bytes",
        ),
        ("--set", "save_layers=many", "'many' is no whole number"),
    ],
)
def test_a_wrong_option_is_named(
    option: str, value: str, message: str, docker_engine, registry_program, tmp_path: Path
) -> None:
    where = ("--folder", str(tmp_path / "platform"))
    done = custom_image("platform", "up", *where, option, value)
    custom_image("platform", "down", "--purge", *where)

    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_down_ends_what_a_killed_platform_has_left_running(cloud: Cloud, rehearsal) -> None:
    notebook_id = cloud.running_notebook()
    registry_pid = int((rehearsal.folder / "registry/registry.pid").read_text())
    rehearsal.kill()

    down = custom_image("platform", "down", "--folder", str(rehearsal.folder))
    names = ["docker", "ps", "--format", "{{.Names}}"]
    running = subprocess.run(names, capture_output=True, text=True).stdout

    assert (down.returncode, down.stdout) == (0, "it was not running\n")
    assert notebook_id not in running
    assert not procfs.contains(registry_pid, "cmdline", "docker-registry")
    assert rehearsal.up().notebook(notebook_id).status == "STOPPED"


def test_down_stops_the_services_and_what_comes_up_can_start_them_again(
    rehearsal: Rehearsal, serving_model: str
) -> None:
    settings = ("speed=20", "services=100")
    config = config_of(serving_model, envs={"DRAIN_SECONDS": "0", "EXIT_SECONDS": "1"})
    with deployed(rehearsal.restart(*settings), "overnight", config) as service:
        service.running()
        name = predict(service).headers["X-Served-By"].split()[-1]
        assert name in docker("ps", "--format", "{{.Names}}")

        down = custom_image("platform", "down", "--folder", str(rehearsal.folder))

        assert (down.returncode, down.stdout) == (0, "stopped\n")
        assert name not in docker("ps", "--all", "--format", "{{.Names}}")
        service.cloud = rehearsal.up(settings)
        assert service.show()["status"] == "stopped"
        service.set_status("running")
        assert predict(service.running()).json() == {"mnist_result": 7}


def test_only_one_platform_runs_in_a_folder(rehearsal) -> None:
    rehearsal.up()
    command = [sys.executable, "-m", "local_modelarts", "--folder", str(rehearsal.folder)]

    second = subprocess.run(command, capture_output=True, text=True)

    assert second.returncode == 3
    assert "a local ModelArts runs in" in second.stderr
