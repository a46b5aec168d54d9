"""A limit of memory: as many workers as fit, and no loop where one is killed."""

from __future__ import annotations

import io
import tarfile
from contextlib import contextmanager

import docker
import pytest
from runtime import wait_for

MIB = 2**20
MODEL_MIB = 100
HUNGRY = f"""
from model_service.model_service import SingleNodeService

class Hungry(SingleNodeService):
    def __init__(self, model_name, model_path):
        self.weights = bytearray({MODEL_MIB} * 2**20)
        self.weights[::4096] = b"x" * len(self.weights[::4096])

    def _preprocess(self, data):
        return "ready"
"""


@pytest.fixture
def start(docker_engine, tiny_image):
    """Start a package of 100 MiB for each worker, in a container with so much memory."""

    @contextmanager
    def start(mib: int, workers: str):
        client = docker.from_env()
        container = client.containers.create(
            tiny_image.reference,
            environment={"WORKERS": workers, "DRAIN_SECONDS": "0.2"},
            labels={"custom-image.run": docker_engine.run_id},
            mem_limit=mib * MIB,
            memswap_limit=mib * MIB,
        )
        try:
            packed = io.BytesIO()
            with tarfile.open(fileobj=packed, mode="w") as tar:
                entry = tarfile.TarInfo("customize_service.py")
                entry.size, entry.mode = len(HUNGRY), 0o644
                tar.addfile(entry, io.BytesIO(HUNGRY.encode()))
            container.put_archive("/home/ma-user/infer/model/1", packed.getvalue())
            container.start()
            yield container
        finally:
            container.remove(force=True)
            client.close()

    return start


def logs_of(container) -> str:
    return container.logs().decode()


def workers_of(container) -> int:
    script = "cat /proc/1/task/1/children"
    return len(container.exec_run(["sh", "-c", script]).output.split())


def test_auto_starts_no_more_than_the_limit_has_room_for(start):
    with start(230, "auto") as container:
        wait_for(lambda: "workers: 1, by memory" in logs_of(container), "the decision", 60)

        assert workers_of(container) == 1
        assert "killed" not in logs_of(container)


def test_workers_that_are_killed_for_memory_become_fewer_once_and_for_all(start):
    with start(420, "8") as container:
        said = "the kernel killed what was too much"
        wait_for(lambda: said in logs_of(container), "fewer workers", 60)
        wait_for(lambda: logs_of(container).count("ready after") >= 1, "one to be ready", 60)
        number = workers_of(container)

        assert 1 <= number < 8
        assert logs_of(container).count(said) == 1
        assert "replaced" not in logs_of(container)


def test_one_worker_that_does_not_fit_is_not_restarted_in_a_loop(start):
    with start(90, "auto") as container:
        said = "one worker alone does not fit"
        wait_for(lambda: said in logs_of(container), "the reason", 60)

        assert logs_of(container).count(said) == 1
        assert "replaced" not in logs_of(container)
        assert container.exec_run(["true"]).exit_code == 0
