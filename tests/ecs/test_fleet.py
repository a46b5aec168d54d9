"""A fleet of two workers on two engines, one of which is lost in the middle."""

from __future__ import annotations

import json
import socket
import threading
from pathlib import Path

import docker
import pytest
from dask_cluster import dask_cluster
from ecs_machine import wait_for
from tiny_package import write_tiny_package

from custom_image.build_context import write_build_context
from custom_image.builders.docker import build
from custom_image.engines.docker.images import RUN_LABEL
from custom_image.fleet.executors import open_executor
from custom_image.fleet.matrix import Matrix
from custom_image.fleet.verification import judge_images

IMAGES = 3


@pytest.fixture
def names(docker_engine, ecs_server, tmp_path):
    """An image under several names, in the engine of this machine and in the server's."""
    context = write_build_context(
        write_tiny_package(tmp_path / "model"), folder=tmp_path / "context"
    )
    built = build(context, "custom-image/tests:fleet", engine=docker_engine).reference
    ecs_server.copy_image(built)
    found = [f"custom-image/tests-fleet:n{number}" for number in range(IMAGES)]
    with ecs_server.docker() as there:
        here = docker.from_env()
        for client in (here, there):
            for name in found:
                client.images.get(built).tag(*name.split(":"))
        yield found
        for name in found:
            docker_engine.remove_image(name)
        here.close()


@pytest.mark.true_time
@pytest.mark.timeout(1800)
def test_the_image_of_a_lost_worker_is_judged_on_the_other_engine(names, ecs_server, tmp_path):
    found: list[Matrix] = []
    with dask_cluster(tmp_path, host=ecs_server.author_address) as cluster:
        cluster.add_worker("here")
        cluster.add_worker(
            "there",
            within=ecs_server.network_of,
            DOCKER_HOST=f"unix://{ecs_server.docker_socket}",
        )
        with open_executor(cluster.address, timeout_s=30) as executor:
            run = threading.Thread(
                target=lambda: found.append(
                    judge_images(names, ["--level", "quick"], executor, tmp_path / "fleet")
                )
            )
            run.start()
            wait_for(lambda: containers(ecs_server), "a container there", timeout_s=120)
            cluster.kill("there")
            run.join()
        wait_for(lambda: not containers(ecs_server), "its containers are gone", timeout_s=60)
        (matrix,) = found

        assert [row.error for row in matrix.rows] == [""] * IMAGES
        assert {row.host for row in matrix.rows} == {socket.gethostname()}
        assert len({row.digest for row in matrix.rows}) == 1
        assert matrix.counts.get("FAILED", 0) == 0
        with open_executor(cluster.address, timeout_s=30) as executor:
            again = judge_images(names, ["--level", "quick"], executor, tmp_path / "fleet")
        assert [row.judged for row in again.rows] == [False] * IMAGES


@pytest.mark.true_time
@pytest.mark.timeout(1800)
def test_a_batch_on_two_engines_has_the_manifest_of_one(names, ecs_server, tmp_path):
    from custom_image.fleet.batch import list_files, run_batch

    seven = Path(__file__).parents[1] / "support" / "samples" / "seven.jpg"
    digits = tmp_path / "digits"
    digits.mkdir()
    for number in range(10):
        (digits / f"{number}.jpg").write_bytes(seven.read_bytes())
    files = list_files(digits)
    with open_executor() as here:
        alone = run_batch(names[0], files, tmp_path / "results", here, shards=1)
    expected = alone.manifest.read_text()
    hosts = set()
    with dask_cluster(tmp_path, host=ecs_server.author_address) as cluster:
        cluster.add_worker("here")
        cluster.add_worker(
            "there",
            within=ecs_server.network_of,
            DOCKER_HOST=f"unix://{ecs_server.docker_socket}",
        )
        with open_executor(cluster.address, timeout_s=30) as executor:
            shared = run_batch(
                names[0],
                files,
                tmp_path / "results",
                executor,
                shards=2,
                told=lambda number, outcome: hosts.add(outcome.host),
            )

    assert shared.answered == len(files)
    assert shared.manifest.read_text() == expected
    assert len(hosts) == 2
    answers = [json.loads(line)["inference-loc"] for line in expected.splitlines()]
    assert [json.loads(Path(answer).read_text()) for answer in answers] == [
        {"mnist_result": 7}
    ] * len(files)


def containers(server) -> list:
    with server.docker() as there:
        return there.containers.list(filters={"label": RUN_LABEL})
