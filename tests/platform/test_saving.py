"""What a save refuses, in the platform's words, and that a failed one leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkmodelarts import v1 as modelarts
from local_cloud import Cloud, Rehearsal, wait_for

# A parent in vfork(2) sleeps uninterruptibly until its child has ended or become another program.
STUCK = """
import ctypes, time
libc = ctypes.PyDLL(None)
libc.vfork()
time.sleep(600)
"""


@pytest.fixture
def limited(rehearsal: Rehearsal) -> Iterator[Rehearsal]:
    """The platform, to be restarted with other limits; it has its own again behind the test."""
    yield rehearsal
    rehearsal.restart()


def refusal(cloud: Cloud, notebook_id: str, name: str) -> str:
    """Save, expect it to fail, and return the platform's words."""
    image = cloud.saved(cloud.save(notebook_id, name=name).id)
    assert image.status == "CREATE_FAILED"
    assert cloud.notebook(notebook_id).status == "RUNNING", "the instance did not come back"
    assert name not in images_of_the_engine()
    with pytest.raises(ClientRequestException):
        cloud.show_tag(name, "1.0")
    return image.status_message


def layer_count(image: str) -> int:
    command = ["docker", "inspect", "-f", "{{len .RootFS.Layers}}", image]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def images_of_the_engine() -> str:
    command = ["docker", "images", "--format", "{{.Repository}}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("save_size_bytes=1000000", "container size 0G is greater than threshold 0G"),
        ("save_layers={layers}", "too many layers in your image"),
        ("save_reserve_s=259200", "the lease ends before the image can be saved; renew it first"),
    ],
    ids=["too large", "too many layers", "lease ending"],
)
def test_what_is_over_a_limit_is_not_saved(
    setting: str, words: str, limited: Rehearsal, shared_notebook: str
) -> None:
    cloud = limited.restart(setting.format(layers=layer_count(limited.preset)))

    assert refusal(cloud, shared_notebook, "over") == words


def test_what_is_at_the_limit_of_layers_is_saved(limited: Rehearsal, shared_notebook: str) -> None:
    cloud = limited.restart(f"save_layers={layer_count(limited.preset) + 1}")

    assert cloud.saved(cloud.save(shared_notebook, name="at-the-limit").id).status == "ACTIVE"


def test_an_instance_with_a_process_in_uninterruptible_sleep_is_not_saved(cloud: Cloud) -> None:
    notebook_id = cloud.running_notebook()
    subprocess.run(
        [
            *("docker", "exec", "--detach", f"local-modelarts-notebook-{notebook_id}"),
            *("python3", "-c", STUCK),
        ],
        check=True,
    )
    wait_for(
        lambda: " D " in cloud.execute(notebook_id, "cat /proc/[0-9]*/stat"), "a process sticks"
    )

    assert refusal(cloud, notebook_id, "stuck") == (
        "there are processes in 'D' status, please check process status using 'ps -aux' "
        "and kill all the 'D' status processes"
    )


def test_a_save_fails_when_the_lease_ends_meanwhile(cloud: Cloud) -> None:
    notebook_id = cloud.running_notebook()
    # Random, so that it takes a while to push.
    cloud.execute(notebook_id, "head -c 40000000 /dev/urandom >/home/ma-user/infer/weights")
    image = cloud.save(notebook_id, name="lease")
    cloud.modelarts.renew_lease(modelarts.RenewLeaseRequest(id=notebook_id, duration=1))

    saved = cloud.saved(image.id)

    assert (saved.status, saved.status_message) == (
        "CREATE_FAILED",
        "the instance has been stopped because its lease ended while the image was saved",
    )
    assert cloud.settled(notebook_id).status == "STOPPED"


def test_one_instance_is_saved_once_at_a_time(rehearsal: Rehearsal, shared_notebook: str) -> None:
    cloud = rehearsal.up()
    image = cloud.save(shared_notebook, name="first")

    with pytest.raises(ClientRequestException) as refused:
        cloud.save(shared_notebook, name="second")
    with pytest.raises(ClientRequestException) as stopping:
        cloud.stop(shared_notebook)

    assert "is being saved" in refused.value.error_msg
    assert "SNAPSHOTTING" in stopping.value.error_msg
    assert cloud.saved(image.id).status == "ACTIVE"
    assert cloud.notebook(shared_notebook).status == "RUNNING"


def test_two_instances_are_saved_at_once_but_not_under_one_name(
    cloud: Cloud, shared_notebook: str
) -> None:
    other = cloud.running_notebook()
    with ThreadPoolExecutor() as threads:
        images = list(
            threads.map(lambda n: cloud.save(n, name=f"twin-{n[:8]}"), [shared_notebook, other])
        )
    assert {cloud.saved(image.id).status for image in images} == {"ACTIVE"}

    def attempt(notebook_id: str) -> str:
        try:
            return cloud.save(notebook_id, name="same").status
        except ClientRequestException as error:
            return str(error.error_code)

    with ThreadPoolExecutor() as threads:
        outcomes = sorted(threads.map(attempt, [shared_notebook, other]))

    assert outcomes == ["CREATING", "ModelArts.6737"]
    (image,) = [image for image in cloud.images() if image.name == "same"]
    assert cloud.saved(image.id).status == "ACTIVE"
    assert attempt(other) == "ModelArts.6737", "it is registered, so its name is taken"


def test_a_registry_that_dies_in_mid_push_fails_the_save_and_is_started_again(
    cloud: Cloud, rehearsal: Rehearsal
) -> None:
    notebook_id = cloud.running_notebook()
    cloud.execute(notebook_id, "head -c 120000000 /dev/urandom >/home/ma-user/infer/weights")
    registry = rehearsal.folder / "registry"
    before = images_of_the_engine()  # what a killed run of these tests left is not this one's
    image = cloud.save(notebook_id, name="interrupted")
    wait_for(lambda: uploaded_bytes(registry, "interrupted") > 10**6, "the push is under way")

    os.kill(int((registry / "registry.pid").read_text()), signal.SIGKILL)

    failed = cloud.saved(image.id)
    assert failed.status == "CREATE_FAILED"
    assert failed.status_message.startswith("failed to push the image to SWR")
    assert cloud.settled(notebook_id).status == "RUNNING"
    assert cloud.execute(notebook_id, "wc -c <~/infer/weights").strip() == "120000000"
    assert images_of_the_engine().count("interrupted") == before.count("interrupted")
    assert image.id not in [found.id for found in cloud.images() if found.status == "ACTIVE"]
    again = cloud.saved(cloud.save(notebook_id, name="interrupted").id)
    assert again.status == "ACTIVE", again.status_message


def test_a_call_right_after_the_death_of_the_registry_starts_it_again(
    cloud: Cloud, rehearsal: Rehearsal, shared_notebook: str
) -> None:
    pid = int((rehearsal.folder / "registry/registry.pid").read_text())
    os.kill(pid, signal.SIGKILL)

    saved = cloud.saved(cloud.save(shared_notebook, name="after-a-death").id)

    assert saved.status == "ACTIVE", saved.status_message
    assert int((rehearsal.folder / "registry/registry.pid").read_text()) != pid


def uploaded_bytes(registry: Path, name: str) -> int:
    folder = registry / "storage/docker/registry/v2/repositories/team" / name / "_uploads"
    return max((path.stat().st_size for path in folder.glob("*/data")), default=0)
