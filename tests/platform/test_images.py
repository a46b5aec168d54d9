"""Registering, listing and deleting images that somebody has pushed, and their tags in SWR."""

from __future__ import annotations

import base64
import hashlib
import hmac
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import huaweicloudsdkswr.v2 as swr
import pytest
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkmodelarts import v1 as modelarts
from local_cloud import Cloud, Rehearsal
from local_models import docker

from custom_image.engines.docker.host import DockerHost
from custom_image.errors import Unavailable


@pytest.fixture(scope="module")
def pushed(rehearsal: Rehearsal, docker_engine) -> Iterator[tuple[Cloud, str]]:
    """The preset image under two tags of one repository, pushed with a SWR login."""
    cloud = rehearsal.up()
    path = f"{cloud.platform.registry}/team/pushed"
    for tag in ("1.0", "twin"):
        docker_tag(rehearsal.preset, f"{path}:{tag}")
        push(cloud, f"{path}:{tag}")
    yield cloud, path
    for tag in ("1.0", "twin"):
        docker_engine.remove_image(f"{path}:{tag}")


def docker_tag(image: str, reference: str) -> None:
    subprocess.run(["docker", "tag", image, reference], check=True)


def login(cloud: Cloud) -> tuple[str, str]:
    secret = cloud.swr.create_secret(swr.CreateSecretRequest(projectname="local"))
    auth = base64.b64decode(secret.auths[cloud.platform.registry].auth).decode()
    user, _, password = auth.partition(":")
    return user, password


def push(cloud: Cloud, reference: str) -> None:
    list(DockerHost.connect().push(reference, *login(cloud)))


def test_a_pushed_image_is_registered_listed_shown_and_deleted(pushed) -> None:
    cloud, path = pushed
    image = cloud.register(swr_path=f"{path}:1.0", service_type="INFERENCE", description="mine")

    assert (image.status, image.name, image.tag) == ("ACTIVE", "pushed", "1.0")
    assert (image.service_type, image.visibility, image.arch) == ("INFERENCE", "PRIVATE", "X86_64")
    assert cloud.image(image.id).swr_path == f"{path}:1.0"
    assert image.id in [found.id for found in cloud.images()]
    assert image.id not in [found.id for found in cloud.images("BUILD_IN")], "the default type"
    with pytest.raises(ClientRequestException) as twice:
        cloud.register(swr_path=f"{path}:1.0")
    assert twice.value.error_code == "ModelArts.6737"

    cloud.modelarts.delete_image(modelarts.DeleteImageRequest(id=image.id))

    assert image.id not in [found.id for found in cloud.images()]
    assert cloud.show_tag("pushed", "1.0").digest, "deleting it from ModelArts keeps it in SWR"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"swr_path": "a/b/c:1"}, "ModelArts.0104"),  # 7 of at least 16 characters
        ({"swr_path": "h/" + "n" * 2044 + "/i:1"}, "ModelArts.0104"),  # 2,050 of at most 2,048
        ({"swr_path": "h/" + "n" * 2042 + "/i:1"}, "ModelArts.6797"),  # 2,048, but not there
        ({"swr_path": "127.0.0.1/team/no-tag"}, "ModelArts.0104"),
        ({"swr_path": "swr.elsewhere.com/team/image:1"}, "ModelArts.6797"),
        ({"arch": "RISCV"}, "ModelArts.0104"),
        ({"tags": ["tag"] * 21}, "ModelArts.0104"),
        ({"read_me": "x" * 3001}, "ModelArts.0104"),
        ({"description": "x" * 513}, "ModelArts.0104"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_registration_that_breaks_a_rule_is_refused(
    fields: dict[str, object], code: str, pushed
) -> None:
    cloud, path = pushed
    with pytest.raises(ClientRequestException) as refused:
        cloud.register(**({"swr_path": f"{path}:1.0"} | fields))

    assert (refused.value.status_code, refused.value.error_code) == (400, code)


def test_deleting_one_tag_keeps_the_others_of_the_same_image(pushed) -> None:
    cloud, path = pushed
    push(cloud, f"{path}:twin")
    before = cloud.show_tag("pushed", "1.0").digest

    cloud.swr.delete_repo_tag(
        swr.DeleteRepoTagRequest(namespace="team", repository="pushed", tag="twin")
    )

    listed = cloud.swr.list_repository_tags(
        swr.ListRepositoryTagsRequest(namespace="team", repository="pushed")
    )
    assert [tag.tag for tag in listed.body] == ["1.0"]
    assert cloud.show_tag("pushed", "1.0").digest == before


def test_an_organization_with_images_is_not_deleted(pushed) -> None:
    cloud, _ = pushed
    listed = cloud.swr.list_namespaces(swr.ListNamespacesRequest()).namespaces
    repositories = cloud.swr.list_repos_details(swr.ListReposDetailsRequest(namespace="team"))

    assert "team" in [organization.name for organization in listed]
    assert "pushed" in [repository.name for repository in repositories.body]
    with pytest.raises(ClientRequestException) as refused:
        cloud.swr.delete_namespaces(swr.DeleteNamespacesRequest(namespace="team"))
    assert refused.value.error_code == "SVCSTG.SWR.4060074"


def test_a_push_to_an_organization_that_is_not_there_is_denied(
    pushed, docker_engine, rehearsal: Rehearsal
) -> None:
    cloud, _ = pushed
    nowhere = f"{cloud.platform.registry}/nobody/image:1.0"
    docker_tag(rehearsal.preset, nowhere)
    try:
        with pytest.raises(Unavailable, match="denied"):
            push(cloud, nowhere)
    finally:
        docker_engine.remove_image(nowhere)


def test_a_temporary_and_a_long_term_login_pull_and_an_altered_one_does_not(pushed) -> None:
    cloud, path = pushed
    user, password = login(cloud)
    sealed_for_another_moment = f"{int(password[:8], 16) + 1:08x}{password[8:]}"
    key, message = cloud.secret_key.encode(), cloud.access_key.encode()
    long_term = hmac.new(key, message, hashlib.sha256).hexdigest()
    host = DockerHost.connect()

    host.pull(f"{path}:1.0", user, password)
    host.pull(f"{path}:1.0", user, long_term)
    for wrong in ("", "0" * 72, sealed_for_another_moment):
        with pytest.raises(Unavailable, match="unauthorized"):
            host.pull(f"{path}:1.0", user, wrong)


def test_a_container_that_several_remove_at_once_is_gone_for_each_of_them(notebook_image) -> None:
    host = DockerHost.connect()
    name = docker("run", "--detach", "--entrypoint", "sleep", notebook_image, "60").strip()

    def remove(_: int) -> bool:
        host.remove(name)
        return name in docker("ps", "--all", "--quiet", "--no-trunc").split()

    with ThreadPoolExecutor() as threads:
        assert not any(threads.map(remove, range(6)))


def test_a_preset_image_is_not_deleted(pushed) -> None:
    cloud, _ = pushed
    with pytest.raises(ClientRequestException) as refused:
        cloud.modelarts.delete_image(modelarts.DeleteImageRequest(id=cloud.preset_id()))

    assert refused.value.error_code == "ModelArts.0104"
