"""A small image that stands in for a preset notebook image, and a platform that offers it."""

from __future__ import annotations

import io
import json
import os
import sqlite3
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from local_cloud import QUICK, Cloud, Rehearsal, wait_for
from local_models import build_image, call, docker, publish_model, push_image
from sleeper import SLEEPER, SLEEPER_CONFIG
from tiny_package import write_tiny_package

from custom_image.build_context import write_build_context
from custom_image.builders.base import ensure_base_image
from custom_image.builders.docker import build
from custom_image.specification import MODEL_DIR

ENSURE_REGISTRY = Path(__file__).parents[2] / "scripts/ensure_registry.sh"
IMAGE = "custom-image/tests:notebook"
DOCKERFILE = b"""
ARG BASE
FROM $BASE
RUN if ! id ma-user; then useradd --uid 1000 --gid 100 --create-home ma-user; fi \\
    && install -d -o 1000 -g 100 /home/ma-user /home/ma-user/infer
USER 1000:100
CMD ["sleep", "infinity"]
"""


@pytest.fixture(scope="session")
def notebook_image(docker_engine) -> str:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(DOCKERFILE)
        archive.addfile(member, io.BytesIO(DOCKERFILE))
    context.seek(0)
    base = ensure_base_image(engine=docker_engine)
    messages = list(docker_engine.build(context, IMAGE, {"BASE": base}))
    assert not [message for message in messages if "error" in message], messages[-3:]
    return IMAGE


@pytest.fixture(scope="session")
def registry_program() -> None:
    """Where no registry can be had, a printed skip, or a failure under REQUIRE_DOCKER=1."""
    done = subprocess.run(["sh", ENSURE_REGISTRY], capture_output=True, text=True)
    if done.returncode:
        if os.environ.get("REQUIRE_DOCKER") == "1":
            pytest.fail(done.stderr, pytrace=False)
        pytest.skip(done.stderr.splitlines()[-2])


@pytest.fixture(scope="session")
def rehearsal(notebook_image, registry_program, tmp_path_factory) -> Iterator[Rehearsal]:
    """The platform that most tests share; who needs other limits restarts it."""
    rehearsal = Rehearsal(tmp_path_factory.mktemp("platform"), notebook_image)
    cloud = rehearsal.up()
    cloud.create_organization("team")
    yield rehearsal
    rehearsal.end()


@pytest.fixture
def cloud(rehearsal) -> Iterator[Cloud]:
    """The SDK's clients; what a test has started is stopped and deleted behind it."""
    cloud = rehearsal.up()
    before = {notebook.id for notebook in cloud.notebooks()}
    yield cloud
    cloud = rehearsal.up()
    for notebook in cloud.notebooks():
        if notebook.id not in before:
            cloud.remove(notebook.id)


@pytest.fixture(scope="module")
def shared_notebook(rehearsal) -> Iterator[str]:
    """One running instance for the tests of a module that only save it or look at it."""
    cloud = rehearsal.up()
    notebook_id = cloud.running_notebook(name="shared")
    yield notebook_id
    rehearsal.up().remove(notebook_id)


@pytest.fixture(scope="session")
def serving_image(docker_engine, tmp_path_factory) -> str:
    """The example's code on a model of one layer, which knows most digits."""
    folder = tmp_path_factory.mktemp("serving")
    package = write_tiny_package(folder / "model")
    config = folder / "model/config.json"
    document = json.loads(config.read_text())
    # More patience than a busy machine needs: waits are a sixtieth of the platform's here.
    document["health"]["failure_threshold"] = "200"
    config.write_text(json.dumps(document))
    context = write_build_context(package, folder=folder / "context")
    return build(context, "custom-image/tests:tiny", engine=docker_engine).reference


@pytest.fixture(scope="session")
def sleeper_image(docker_engine, serving_image) -> str:
    """The same image with a model that takes as long as its request says."""
    files = {"customize_service.py": SLEEPER, "config.json": json.dumps(SLEEPER_CONFIG)}
    return build_image(docker_engine, "custom-image/tests:sleeper", serving_image, files)


# --- services -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def quick(rehearsal) -> Iterator[Cloud]:
    """The platform whose services wait a twentieth of the platform's times, without its limits."""
    yield rehearsal.restart(*QUICK)
    end_services(rehearsal)


def end_services(rehearsal: Rehearsal) -> None:
    """End all services, at a speed that leaves them no time; later tests count what goes on."""
    cloud = rehearsal.restart("speed=1000000", "stop_delay_s=0")
    for service in call(cloud, "GET", "/v1/{project_id}/services")["services"]:
        call(cloud, "DELETE", f"/v1/{{project_id}}/services/{service['service_id']}")
    while newer := call(cloud, "GET", "/v2/{project_id}/services")["data"]:
        ids = [service["id"] for service in newer]
        call(cloud, "POST", "/v2/{project_id}/services/delete", {"service_ids": ids})
    left = "SELECT id FROM resources WHERE kind IN ('service', 'serving_instance')"
    with closing(sqlite3.connect(rehearsal.folder / "state.sqlite")) as database:
        wait_for(lambda: not database.execute(left).fetchall(), "all services have ended")
    rehearsal.kill()


@pytest.fixture(scope="session")
def serving_config(serving_image) -> dict[str, Any]:
    """The config.json of the image."""
    text = docker("run", "--rm", "--entrypoint", "cat", serving_image, f"{MODEL_DIR}/config.json")
    found: dict[str, Any] = json.loads(text)
    return found


@pytest.fixture(scope="session")
def serving_address(rehearsal, serving_image) -> str:
    """The image in the registry."""
    return push_image(rehearsal.up(), serving_image, "serving")


@pytest.fixture(scope="session")
def sleeper_address(rehearsal, sleeper_image) -> str:
    """The image of the sleeper in the registry."""
    return push_image(rehearsal.up(), sleeper_image, "sleeper")


@pytest.fixture(scope="session")
def serving_model(rehearsal, serving_address, serving_config) -> str:
    """A published model of it."""
    return publish_model(rehearsal.up(), serving_address, serving_config, "serving")
