"""Pushing from an engine with containerd's image store, as Docker 29 has it: SWR's way in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from fake_docker import FakeDocker, fake_docker
from image_archives import configuration, containerd_archive, digest, gzipped, layer_of
from local_cloud import Rehearsal
from local_models import docker

from custom_image import cloud
from custom_image.cloud.images import log_in
from custom_image.cloud.upload.repository import Repository
from custom_image.engines.docker.host import DockerHost
from custom_image.errors import Unavailable
from custom_image.image_archive import media_types

LAYERS = [layer_of({"a": b"a" * 3000}), layer_of({"b": b"b" * 3000}), layer_of({"c": b"c" * 3000})]
PACKED = [gzipped(LAYERS[0]), zstandard.compress(LAYERS[1]), LAYERS[2]]
IMAGE_ID = digest(configuration(LAYERS))


@pytest.fixture(scope="module")
def here(rehearsal: Rehearsal) -> cloud.Cloud:
    rehearsal.up()
    return cloud.open_cloud("local", folder=rehearsal.folder)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDocker]:
    """An engine that keeps an index: two platforms, an attestation, one layer of each packing."""
    store = [["driver-type", "io.containerd.snapshotter.v1"]]
    image = {"Id": f"sha256:{'9' * 64}", "Size": 1, "RootFS": {"Layers": ["a", "b", "c"]}}
    image |= {"Config": {"Labels": {"maker": "tests"}}, "Architecture": "amd64", "Os": "linux"}
    with fake_docker(tmp_path / "docker.sock") as fake:
        fake.answers |= {
            "GET /info": (200, {"MemTotal": 2**33, "DriverStatus": store}),
            "GET /images/any:1/json": (200, image),
            f"GET /images/{image['Id']}/history": (200, []),
            "POST /images/any:1/tag": (201, {}),
            "GET /images/any:1/get": (200, containerd_archive(LAYERS, PACKED)),
            "GET /containers/json": (200, []),
        }
        monkeypatch.setenv("DOCKER_HOST", fake.url)
        yield fake


def test_the_image_alone_arrives_as_docker_sends_it_and_a_real_engine_pulls_it(
    rehearsal, here, engine, monkeypatch
):
    pushed = cloud.push("any:1", "team/any:1.0.0", cloud=here)
    tag = rehearsal.up().show_tag("any", "1.0.0")
    saves = len(engine.asked("GET /images/any:1/get"))
    again = cloud.push("any:1", "team/any:1.0.0", cloud=here)

    manifest = json.loads(tag.manifest)
    assert manifest["mediaType"] == media_types.DOCKER_IMAGE
    assert manifest["config"]["digest"] == IMAGE_ID
    assert {layer["mediaType"] for layer in manifest["layers"]} == {media_types.DOCKER_LAYER}
    assert (pushed.was_there, pushed.digest, tag.tag_type) == (False, tag.digest, 0)
    assert "left out: an attestation" in str(pushed)
    assert (again.was_there, again.digest) == (True, pushed.digest)
    assert saves == 2, "one look, one sending"
    assert len(engine.asked("GET /images/any:1/get")) == 3
    assert [call.partition("?")[0] for call in engine.asked("POST")] == ["POST /images/any:1/tag"]
    monkeypatch.delenv("DOCKER_HOST")
    assert pulled_id(here, tag.path) == IMAGE_ID


def pulled_id(here: cloud.Cloud, reference: str) -> str:
    """Return the id of an image that the real engine has pulled, and forgets again."""
    login = log_in(here)
    DockerHost.connect().pull(reference, login.user, login.password)
    try:
        return docker("image", "inspect", "--format", "{{.Id}}", reference).strip()
    finally:
        docker("rmi", reference)


def test_the_index_that_the_engine_itself_would_push_is_refused_in_swrs_words(here):
    login = log_in(here)
    index = json.dumps({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": []})
    with (
        Repository(login.registry, "team/index", login.user, login.password) as repository,
        pytest.raises(
            Unavailable, match=r"400 MANIFEST_INVALID: Invalid image, fail to parse 'man"
        ),
    ):
        repository.put_manifest("1", media_types.OCI_INDEX, index.encode())


def test_a_login_that_is_refused_is_told_in_the_registrys_words(here):
    login = log_in(here)
    with (
        Repository(login.registry, "team/any", login.user, "wrong") as repository,
        pytest.raises(Unavailable, match=r"refuses the login: 401 UNAUTHORIZED"),
    ):
        repository.send([b"x"])
