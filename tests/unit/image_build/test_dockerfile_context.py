"""A folder with a Dockerfile of one's own: what is sent of it, and what is refused before."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from custom_image.build_context import BuildContext
from custom_image.builders import build, ma_cli
from custom_image.dockerfile_context import write_dockerfile_context
from custom_image.ecs.transfer.manifest import Manifest
from custom_image.engines.process.engine import ProcessEngine
from custom_image.errors import Unavailable, UsageError

KEY = "AKIA" + "Q7RT2XW5M9PLK3VB"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    (folder / "app").mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (folder / "app/serve").write_text("#!/bin/sh\n")
    (folder / "app/serve").chmod(0o700)
    (folder / "app/data.bin").write_bytes(b"data")
    return folder


@pytest.fixture
def write(source: Path, tmp_path: Path):
    def write(**options: object) -> BuildContext:
        return write_dockerfile_context(source, folder=tmp_path / "build/context", **options)

    return write


def members(context: BuildContext) -> dict[str, tarfile.TarInfo]:
    with context.tar() as stream, tarfile.open(fileobj=io.BytesIO(stream.read())) as archive:
        return {member.name: member for member in archive.getmembers()}


def test_the_folder_is_sent_with_its_execute_bits(write) -> None:
    context = write()

    found = members(context)
    assert sorted(found) == [".dockerignore", "Dockerfile", "app", "app/data.bin", "app/serve"]
    assert found["app/serve"].mode == 0o755
    assert found["app/data.bin"].mode == 0o644
    objects = Manifest.read(context.folder, is_own=True).objects.values()
    assert {o.path.name: o.mode for o in objects}["serve"] == 0o755


def test_the_same_folder_is_the_same_context(write, source: Path) -> None:
    first = write().digest

    assert write().digest == first
    (source / "app/data.bin").write_bytes(b"other")
    assert write().digest != first


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        ("*.log\n", {"app/serve", "app/keep.txt", "logs/keep.txt", "logs/a/b.log"}),
        ("**/*.log\n", {"app/serve", "app/keep.txt", "logs/keep.txt"}),
        ("logs\n!logs/keep.txt\n", {"app/serve", "app/keep.txt", "top.log", "logs/keep.txt"}),
        ("# all but one\n*\n!app\napp/keep.txt\n", {"app/serve"}),
        ("logs/\n/top.log\n", {"app/serve", "app/keep.txt"}),
        ("Dockerfile\n.dockerignore\nlogs\n", {"app/serve", "app/keep.txt", "top.log"}),
    ],
)
def test_dockerignore_is_read_as_docker_reads_it(
    write, source: Path, patterns: str, left: set[str]
) -> None:
    for name in ("top.log", "app/keep.txt", "logs/keep.txt", "logs/a/b.log"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    (source / ".dockerignore").write_text(patterns)

    sent = {name for name, member in members(write()).items() if member.isfile()}

    assert sent - {"app/data.bin"} == {*left, "Dockerfile", ".dockerignore"}


def test_a_dockerfile_elsewhere_brings_its_own_dockerignore(
    write, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "gpu.Dockerfile").write_text("FROM scratch\nCOPY app/serve /\n")
    (tmp_path / "gpu.Dockerfile.dockerignore").write_text("app/data.bin\n")
    (source / ".dockerignore").write_text("app\n")

    context = write(dockerfile=tmp_path / "gpu.Dockerfile")

    assert "app/serve" in members(context)
    assert "app/data.bin" not in members(context)
    assert "COPY app/serve" in context.read("Dockerfile")


def test_a_link_within_becomes_what_it_leads_to(write, source: Path) -> None:
    (source / "model.bin").symlink_to("app/data.bin")
    (source / "copy").symlink_to("app")

    found = members(write())

    assert found["model.bin"].isfile()
    assert found["copy/serve"].mode == 0o755


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.symlink_to("/etc/passwd"), "a link out of the context"),
        (lambda path: path.symlink_to("../.."), "a link out of the context"),
        (lambda path: path.symlink_to("."), "a link to a folder above"),
        (lambda path: path.symlink_to("nothing"), "leads nowhere"),
        (os.mkfifo, "a device, a pipe or a socket"),
    ],
    ids=["out", "above-it", "loop", "nowhere", "pipe"],
)
def test_what_no_image_can_get_is_refused_unless_it_is_ignored(
    write, source: Path, make, message: str
) -> None:
    make(source / "odd")

    with pytest.raises(UsageError, match=message):
        write()
    (source / ".dockerignore").write_text("odd\n")
    assert "odd" not in members(write())


def test_a_secret_is_named_and_nothing_is_sent(write, source: Path, tmp_path: Path) -> None:
    (source / "app/settings.py").write_text(f"import os\naws = '{KEY}'\n")

    with pytest.raises(UsageError, match=r"app/settings\.py, line 2: an access key") as refused:
        write()

    assert KEY not in str(refused.value)
    assert not (tmp_path / "build/context").exists()
    assert "app/settings.py" in members(write(with_secrets=True))
    (source / ".dockerignore").write_text("app/settings.py\n")
    assert "app/settings.py" not in members(write())


def test_a_secret_in_the_dockerfile_is_named_too(write, source: Path) -> None:
    (source / "Dockerfile").write_text(f"FROM scratch\nENV AWS={KEY}\n")

    with pytest.raises(UsageError, match=r"Dockerfile, line 2"):
        write()


def test_a_base_that_the_dockerfile_does_not_take_is_refused(write, source: Path) -> None:
    with pytest.raises(UsageError, match="no `ARG BASE_IMAGE`"):
        write(base_image="org/base:1")
    (source / "Dockerfile").write_text("ARG BASE_IMAGE=x\nFROM ${BASE_IMAGE}\n")
    assert write(base_image="org/base:1").base_image == "org/base:1"


def test_what_is_not_there_is_named(write, source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no such folder"):
        write_dockerfile_context(tmp_path / "nowhere")
    (source / "Dockerfile").unlink()
    with pytest.raises(UsageError, match="there is no such Dockerfile"):
        write()


def test_a_folder_that_is_no_context_is_not_replaced(write, tmp_path: Path) -> None:
    write()
    write()
    (tmp_path / "build/context/.dockerignore").unlink()

    with pytest.raises(UsageError, match="is no build context"):
        write()


def test_a_context_that_would_hold_its_own_copy_is_refused(source: Path) -> None:
    with pytest.raises(UsageError, match="where contexts are written"):
        write_dockerfile_context(source, folder=source / "build/context")


def test_without_an_engine_nothing_stands_in_for_it(write, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(Unavailable, match="there is no ma-cli"):
        build(write(), "mine:1", engine=ProcessEngine())


def test_ma_cli_builds_it_with_the_arguments_that_it_has(write, monkeypatch) -> None:
    said: list[tuple[str, ...]] = []
    monkeypatch.setattr(ma_cli, "_run", lambda *words: said.append(words) or ["1.0"])
    monkeypatch.setenv(ma_cli.ORGANIZATION_VARIABLE, "org")
    context = write()

    image = ma_cli.build(context, "mine:1")

    (command,) = [words for words in said if words[:2] == ("image", "build")]
    assert command[2:] == (
        *(f"{context.folder}/Dockerfile", "-swr", image.path, "--context", str(context.folder)),
        "--force",
    )
    assert "Nothing here stands in" in str(image)
