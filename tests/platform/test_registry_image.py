"""The registry as a container, for where its program is not to be had.

The image is made here, of the program that the other tests run as a process: only the way in which
it is started differs from the image that registries offer.
"""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import huaweicloudsdkswr.v2 as swr
import pytest
from local_cloud import Cloud, Rehearsal

from custom_image.builders.base import ensure_base_image
from custom_image.errors import Unavailable
from local_modelarts.registry import process
from local_modelarts.registry.certificates import ensure_certificates
from local_modelarts.storage.paths import Folder, free_port

IMAGE = "custom-image/tests:registry"
NOT_PULLABLE = "127.0.0.1:9/registry:none"


def build(docker_engine, tag: str, dockerfile: str, files: dict[str, bytes]) -> None:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        for name, content in {**files, "Dockerfile": dockerfile.encode()}.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    context.seek(0)
    messages = list(docker_engine.build(context, tag, {}))
    assert not [message for message in messages if "error" in message], messages[-3:]


@pytest.fixture(scope="module")
def registry_image(docker_engine, registry_program) -> str:
    base = ensure_base_image(engine=docker_engine)
    program = Path(process.find_program()).read_bytes()
    dockerfile = f"FROM {base}\nCOPY registry /usr/bin/registry\nCMD ['never']\n"
    build(docker_engine, IMAGE, dockerfile, {"registry": program})
    return IMAGE


@pytest.fixture
def rehearsal_by_image(
    registry_image, notebook_image, tmp_path, monkeypatch
) -> Iterator[tuple[Rehearsal, Cloud]]:
    monkeypatch.setenv(process.IMAGE_VARIABLE, registry_image)
    rehearsal = Rehearsal(tmp_path / "platform", notebook_image)
    yield rehearsal, rehearsal.up()
    rehearsal.end()


def docker(*arguments: str, stdin: str | None = None) -> str:
    done = subprocess.run(
        ["docker", *arguments], check=True, capture_output=True, text=True, input=stdin
    )
    return done.stdout


def test_its_container_takes_pushes_survives_a_kill_and_is_gone_in_the_end(
    rehearsal_by_image, docker_engine
) -> None:
    rehearsal, cloud = rehearsal_by_image
    cloud.create_organization("team")
    registry = cloud.platform.registry
    name = f"{registry}/team/tiny:1"
    build(docker_engine, name, "FROM scratch\nCOPY file /file\n", {"file": b"kept"})
    secret = cloud.swr.create_secret(swr.CreateSecretRequest(projectname="local"))
    user, password = secret.x_swr_dockerlogin.split()[3], secret.x_swr_dockerlogin.split()[5]
    docker("login", "-u", user, "--password-stdin", registry, stdin=password)
    try:
        docker("push", name)
    finally:
        docker("logout", registry)
    container = docker("ps", "--filter", f"ancestor={IMAGE}", "--format", "{{.ID}} {{.Ports}}")
    container_id, ports = container.split(maxsplit=1)

    assert re.fullmatch(r"127\.0\.0\.1:(\d+)->\1/tcp", ports.strip()), "it listens on loopback only"
    assert not (rehearsal.folder / "registry/registry.pid").exists(), "the program runs, too"
    cloud = rehearsal.restart()
    assert cloud.show_tag("tiny", "1").digest
    assert container_id in docker("ps", "--format", "{{.ID}}"), "it was not taken over"
    docker("rm", "--force", container_id)
    restarted = docker_until(f"ancestor={IMAGE}")
    assert restarted != container_id
    rehearsal.end()
    assert restarted not in docker("ps", "--all", "--format", "{{.ID}}")
    docker_engine.remove_image(name)


def docker_until(condition: str) -> str:
    from local_cloud import wait_for

    listing = ("ps", "--filter", condition, "--format", "{{.ID}}")
    return wait_for(lambda: docker(*listing).strip(), "the registry is started again")


def test_the_program_comes_first_and_where_there_is_neither_both_are_named(
    registry_image, docker_engine, tmp_path, monkeypatch
) -> None:
    folder = Folder(tmp_path / "platform")
    certificates = ensure_certificates(folder.certificates)
    parts = (folder.registry, folder.identity(), certificates, free_port())
    monkeypatch.delenv(process.IMAGE_VARIABLE, raising=False)
    assert isinstance(process.choose_server(*parts), process.ProgramServer)

    of_image = process.choose_server(*parts, program="", image=registry_image)
    assert isinstance(of_image, process.ImageServer)

    with pytest.raises(Unavailable, match=r"neither the program docker-registry nor the image 127"):
        process.choose_server(*parts, program="", image=NOT_PULLABLE)
