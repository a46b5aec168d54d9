"""SIGKILL at any moment: what ran goes on, what was under way is finished."""

from __future__ import annotations

import itertools
import json
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException, ConnectionException
from local_cloud import Cloud, Rehearsal, wait_for
from local_models import call
from small_digits import small_digits

from custom_image.errors import Unavailable
from custom_image.mnist import encode_jpeg

NAME = "survivor"


def through(
    rehearsal: Rehearsal, act: Callable[[Cloud], None], done: Callable[[Cloud], bool]
) -> int:
    """Go on until it is done with a platform that dies at its every change of state.

    It dies in turn before a change is written, when its effect is there and its record is not, and
    just after. Returns how often it has died.
    """
    deaths = 0
    for die in itertools.cycle(("before", "after")):
        try:
            cloud = rehearsal.up([f"die={die}"])
            while not done(cloud):
                act(cloud)
            return deaths
        except (ConnectionException, Unavailable):
            rehearsal.wait_until_dead()
            deaths += 1
            assert deaths < 20, "it comes no further"
    raise AssertionError


def status(cloud: Cloud) -> str:
    return next((n.status for n in cloud.notebooks() if n.name == NAME), "")


def notebook_id(cloud: Cloud) -> str:
    return next(n.id for n in cloud.notebooks() if n.name == NAME)


def saved_images(cloud: Cloud) -> list[str]:
    return [image.status for image in cloud.images() if image.name == NAME]


def create(cloud: Cloud) -> None:
    if not status(cloud):
        cloud.create_notebook(name=NAME)


def stop(cloud: Cloud) -> None:
    if status(cloud) == "RUNNING":
        cloud.stop(notebook_id(cloud))


def start(cloud: Cloud) -> None:
    if status(cloud) == "STOPPED":
        cloud.start(notebook_id(cloud))


def save(cloud: Cloud) -> None:
    if not saved_images(cloud):
        cloud.save(notebook_id(cloud), name=NAME)
    if "ACTIVE" in saved_images(cloud):
        assert cloud.show_tag(NAME, "1.0").digest, "an image is ACTIVE that is not in the registry"


def delete(cloud: Cloud) -> None:
    if status(cloud) == "STOPPED":
        cloud.delete(notebook_id(cloud))


def test_a_platform_killed_at_every_change_of_state_comes_to_the_same_end(
    rehearsal: Rehearsal,
) -> None:
    rehearsal.kill()
    try:
        assert through(rehearsal, create, lambda c: status(c) == "RUNNING") == 4
        rehearsal.up().execute(notebook_id(rehearsal.up()), "echo kept >~/work/kept")
        assert through(rehearsal, stop, lambda c: status(c) == "STOPPED") == 4
        assert through(rehearsal, start, lambda c: status(c) == "RUNNING") == 4
        assert through(rehearsal, save, lambda c: saved_images(c) == ["ACTIVE"]) == 4
        cloud = rehearsal.restart()
        survivor = notebook_id(cloud)
        assert cloud.show_tag(NAME, "1.0").digest
        assert status(cloud) == "RUNNING"
        assert cloud.execute(survivor, "cat ~/work/kept") == "kept\n"
        cloud.stop(survivor)
        cloud.settled(survivor)
        rehearsal.kill()
        assert through(rehearsal, delete, lambda c: not status(c)) == 4
    finally:
        rehearsal.restart()

    command = ["docker", "ps", "-a", "--format", "{{.Names}}"]
    assert (
        survivor not in subprocess.run(command, check=True, capture_output=True, text=True).stdout
    )


def test_a_batch_of_a_platform_killed_at_every_change_of_state_comes_to_the_same_end(
    rehearsal: Rehearsal, serving_model: str
) -> None:
    bucket = Path(rehearsal.up().platform.obs_folder) / "killed"
    (bucket / "in").mkdir(parents=True)
    (bucket / "out").mkdir()
    digits = small_digits(test=5).test_images
    for number, picture in enumerate(digits):
        (bucket / f"in/{number}.jpg").write_bytes(encode_jpeg(picture))
    path = "/v1/{project_id}/services"
    entry = {
        "model_id": serving_model,
        "instance_count": 1,
        "src_path": "obs://killed/in",
        "dest_path": "obs://killed/out",
        "req_uri": "/",
        "mapping_type": "file",
    }
    body = {"service_name": NAME, "infer_type": "batch", "config": [entry]}

    def batch(cloud: Cloud) -> dict[str, str]:
        services = call(cloud, "GET", path)["services"]
        return next((s for s in services if s["service_name"] == NAME), {})

    def create(cloud: Cloud) -> None:
        if not batch(cloud):
            call(cloud, "POST", path, body)

    def delete(cloud: Cloud) -> None:
        if found := batch(cloud):
            with suppress(ClientRequestException):  # it is being deleted already, or gone
                call(cloud, "DELETE", f"{path}/{found['service_id']}")

    rehearsal.kill()
    try:
        assert through(rehearsal, create, lambda c: batch(c).get("status") == "finished") == 6
        rehearsal.kill()
        assert through(rehearsal, delete, lambda c: not batch(c)) == 4
    finally:
        rehearsal.restart()

    (manifest,) = (bucket / "out").glob("*.manifest")
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert [line["result"] for line in lines] == ["SUCCESSFUL"] * len(digits)
    assert len(list((bucket / "out").glob("*/*_result.txt"))) == len(digits)


@pytest.mark.parametrize("phase", ["snapshot", "push"])
def test_a_save_that_a_kill_interrupts_is_finished_by_the_next_platform(
    phase: str, rehearsal: Rehearsal, cloud: Cloud
) -> None:
    interrupted = cloud.running_notebook()
    cloud.execute(interrupted, "head -c 60000000 /dev/urandom >/home/ma-user/infer/weights")
    image = cloud.save(interrupted, name=f"killed-in-{phase}")
    if phase == "push":
        uploads = rehearsal.folder / "registry/storage/docker/registry/v2/repositories/team"
        wait_for(
            lambda: list((uploads / image.name / "_uploads").glob("*/data")), "the push begins"
        )

    cloud = rehearsal.restart()

    assert cloud.image(image.id).status == "CREATING"
    assert cloud.notebook(interrupted).status == "SNAPSHOTTING"
    assert cloud.saved(image.id).status == "ACTIVE"
    assert cloud.notebook(interrupted).status == "RUNNING"
    assert cloud.show_tag(image.name, "1.0").size > 60_000_000


def test_a_running_instance_does_not_notice_a_kill(rehearsal: Rehearsal, cloud: Cloud) -> None:
    running = cloud.running_notebook()
    cloud.execute(running, "touch /tmp/still-the-same-container")

    cloud = rehearsal.restart()

    assert cloud.notebook(running).status == "RUNNING"
    assert cloud.execute(running, "ls /tmp") == "still-the-same-container\n"


def test_an_instance_that_died_while_the_platform_was_dead_is_not_running(
    rehearsal: Rehearsal, cloud: Cloud
) -> None:
    running = cloud.running_notebook()
    rehearsal.kill()
    subprocess.run(
        ["docker", "rm", "-f", f"local-modelarts-notebook-{running}"],
        check=True,
        capture_output=True,
    )

    cloud = rehearsal.up()

    wait_for(lambda: cloud.notebook(running).status == "ERROR", "its death is noticed")
