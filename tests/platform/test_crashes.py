"""SIGKILL at any moment: what ran goes on, what was under way is finished."""

from __future__ import annotations

import itertools
import json
import subprocess
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException, ConnectionException
from local_cloud import Cloud, Rehearsal, wait_for
from local_models import call
from small_digits import small_digits

from custom_image.errors import Unavailable
from custom_image.mnist import encode_jpeg


def through(
    rehearsal: Rehearsal, act: Callable[[Cloud], None], done: Callable[[Cloud], bool]
) -> int:
    """Go on until it is done with a platform that dies at its every change of state.

    It dies in turn before a change is written, when its effect is there and its record is not, and
    just after. Returns how often it has died: twice at each change, also of what else is under way.
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


@dataclass
class Survivor:
    """An instance, and the image saved from it, of one name; each verb acts where it may."""

    name: str

    def status(self, cloud: Cloud) -> str:
        return next((n.status for n in cloud.notebooks() if n.name == self.name), "")

    def id(self, cloud: Cloud) -> str:
        return next(n.id for n in cloud.notebooks() if n.name == self.name)

    def saved(self, cloud: Cloud) -> list[str]:
        return [image.status for image in cloud.images() if image.name == self.name]

    def create(self, cloud: Cloud) -> None:
        if not self.status(cloud):
            cloud.create_notebook(name=self.name)

    def stop(self, cloud: Cloud) -> None:
        if self.status(cloud) == "RUNNING":
            cloud.stop(self.id(cloud))

    def start(self, cloud: Cloud) -> None:
        if self.status(cloud) == "STOPPED":
            cloud.start(self.id(cloud))

    def save(self, cloud: Cloud) -> None:
        if not self.saved(cloud):
            cloud.save(self.id(cloud), name=self.name)
        if "ACTIVE" in self.saved(cloud):
            tag = cloud.show_tag(self.name, "1.0")
            assert tag.digest, "an image is ACTIVE that is not in the registry"

    def delete(self, cloud: Cloud) -> None:
        if self.status(cloud) == "STOPPED":
            cloud.delete(self.id(cloud))


@pytest.fixture
def name() -> str:
    """A name of this try alone: what one that failed has left is not taken for its own."""
    return f"survivor-{uuid.uuid4().hex[:8]}"


def test_a_platform_killed_at_every_change_of_state_comes_to_the_same_end(
    rehearsal: Rehearsal, name: str
) -> None:
    one = Survivor(name)
    rehearsal.kill()
    try:
        assert through(rehearsal, one.create, lambda c: one.status(c) == "RUNNING") >= 4
        rehearsal.up().execute(one.id(rehearsal.up()), "echo kept >~/work/kept")
        assert through(rehearsal, one.stop, lambda c: one.status(c) == "STOPPED") >= 4
        assert through(rehearsal, one.start, lambda c: one.status(c) == "RUNNING") >= 4
        assert through(rehearsal, one.save, lambda c: one.saved(c) == ["ACTIVE"]) >= 4
        cloud = rehearsal.restart()
        survivor = one.id(cloud)
        assert cloud.show_tag(name, "1.0").digest
        assert one.status(cloud) == "RUNNING"
        assert cloud.execute(survivor, "cat ~/work/kept") == "kept\n"
        cloud.stop(survivor)
        cloud.settled(survivor)
        rehearsal.kill()
        assert through(rehearsal, one.delete, lambda c: not one.status(c)) >= 4
    finally:
        rehearsal.restart()

    command = ["docker", "ps", "-a", "--format", "{{.Names}}"]
    assert (
        survivor not in subprocess.run(command, check=True, capture_output=True, text=True).stdout
    )


def test_a_batch_of_a_platform_killed_at_every_change_of_state_comes_to_the_same_end(
    rehearsal: Rehearsal, serving_model: str, name: str
) -> None:
    bucket = Path(rehearsal.up().platform.obs_folder) / name
    (bucket / "in").mkdir(parents=True)
    (bucket / "out").mkdir()
    digits = small_digits(test=5).test_images
    for number, picture in enumerate(digits):
        (bucket / f"in/{number}.jpg").write_bytes(encode_jpeg(picture))
    path = "/v1/{project_id}/services"
    entry = {
        "model_id": serving_model,
        "instance_count": 1,
        "src_path": f"obs://{name}/in",
        "dest_path": f"obs://{name}/out",
        "req_uri": "/",
        "mapping_type": "file",
    }
    body = {"service_name": name, "infer_type": "batch", "config": [entry]}

    def batch(cloud: Cloud) -> dict[str, str]:
        services = call(cloud, "GET", path)["services"]
        return next((s for s in services if s["service_name"] == name), {})

    def create(cloud: Cloud) -> None:
        if not batch(cloud):
            call(cloud, "POST", path, body)

    def delete(cloud: Cloud) -> None:
        if found := batch(cloud):
            with suppress(ClientRequestException):  # it is being deleted already, or gone
                call(cloud, "DELETE", f"{path}/{found['service_id']}")

    rehearsal.kill()
    try:
        assert through(rehearsal, create, lambda c: batch(c).get("status") == "finished") >= 6
        rehearsal.kill()
        assert through(rehearsal, delete, lambda c: not batch(c)) >= 4
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
