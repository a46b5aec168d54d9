"""A small image that stands in for a preset notebook image, and a platform that offers it."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from local_cloud import Cloud, Rehearsal

from custom_image.builders.base import ensure_base_image

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
        if notebook.id in before:
            continue
        if cloud.settled(notebook.id).status == "RUNNING":
            cloud.stop(notebook.id)
            cloud.settled(notebook.id)
        with suppress(ClientRequestException):
            cloud.delete(notebook.id)


@pytest.fixture(scope="module")
def shared_notebook(rehearsal) -> Iterator[str]:
    """One running instance for the tests of a module that only save it or look at it."""
    cloud = rehearsal.up()
    notebook_id = cloud.running_notebook(name="shared")
    yield notebook_id
    cloud = rehearsal.up()
    cloud.stop(notebook_id)
    cloud.settled(notebook_id)
    cloud.delete(notebook_id)
