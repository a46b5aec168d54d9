"""Which base image is taken, against an engine that has or refuses what each test says."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_docker import FakeDocker, fake_docker

from custom_image.builders import base
from custom_image.builders.base import DEFAULT_BASE_IMAGE, ensure_base_image, own_base_image
from custom_image.engines.docker.engine import DockerEngine
from custom_image.errors import BuildFailed, Unavailable
from custom_image.settings import find_project

HERE = (200, {"Id": "sha256:1"})
PULL = "POST /images/create"


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDocker]:
    with fake_docker(tmp_path / "engine.sock") as server:
        monkeypatch.setenv("DOCKER_HOST", server.url)
        monkeypatch.delenv("BASE_IMAGE", raising=False)
        monkeypatch.setattr(base, "_refused", set())
        server.answers["GET /containers/json"] = (200, [])
        server.answers[PULL] = (500, {"message": "no such host"})
        yield server


@pytest.fixture
def engine(docker: FakeDocker) -> Iterator[DockerEngine]:
    engine = DockerEngine.connect()
    yield engine
    engine.close()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a recipe of its own, which makes an empty tar."""
    shutil.copytree(find_project() / "docker/base", tmp_path / "docker/base")
    (tmp_path / "docker/base/build.sh").write_text('echo "base: making $2" >&2; : >"$1"\n')
    monkeypatch.setattr(base, "project_files", lambda: tmp_path)
    monkeypatch.setattr(base, "find_workplace", lambda: tmp_path)
    return tmp_path


def _has(docker: FakeDocker, reference: str) -> None:
    docker.answers[f"GET /images/{reference}/json"] = HERE


def test_the_default_is_taken_where_it_is(docker: FakeDocker, engine: DockerEngine) -> None:
    _has(docker, DEFAULT_BASE_IMAGE)

    assert ensure_base_image(engine=engine) == DEFAULT_BASE_IMAGE
    assert not docker.asked(PULL)


def test_the_variable_names_another_and_the_parameter_wins(
    docker: FakeDocker, engine: DockerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BASE_IMAGE", "org/cuda:12")
    _has(docker, "org/cuda:12")
    _has(docker, "org/mine:1")

    assert ensure_base_image(engine=engine) == "org/cuda:12"
    assert ensure_base_image("org/mine:1", engine=engine) == "org/mine:1"


def test_what_is_not_there_is_pulled(docker: FakeDocker, engine: DockerEngine) -> None:
    docker.answers[PULL] = (200, {"status": "Pulling from library/python"})

    assert ensure_base_image(engine=engine) == DEFAULT_BASE_IMAGE
    assert docker.asked(f"{PULL}?tag=3.11-slim-bookworm&fromImage=docker.io/library/python")


def test_a_closed_network_leads_to_a_base_made_here_and_is_said_once(
    docker: FakeDocker,
    engine: DockerEngine,
    project: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def imported(_: bytes) -> tuple[int, object]:
        _has(docker, own_base_image())
        return 200, {"status": "sha256:1"}

    docker.answers["POST /images/create"] = lambda body: (
        (500, {"message": "no such host"})
        if not docker.asked("POST /images/create?repo")
        else imported(body)
    )

    assert ensure_base_image(engine=engine) == own_base_image()
    said = capsys.readouterr().err
    assert "no such host" in said
    assert "docker/base" in said
    assert "base: making" in said
    assert list((project / "build/base").iterdir()) == []

    assert ensure_base_image(engine=engine) == own_base_image()
    assert len(docker.asked(f"{PULL}?tag=")) == 1, "the registry was asked a second time"
    assert capsys.readouterr().err == ""


def test_a_name_that_was_refused_once_is_not_asked_for_again(
    docker: FakeDocker, engine: DockerEngine
) -> None:
    _has(docker, own_base_image())

    assert ensure_base_image("org/mine:1", engine=engine) == own_base_image()
    assert ensure_base_image("org/mine:1", engine=engine) == own_base_image()
    assert len(docker.asked(PULL)) == 1


def test_batch_never_takes_a_slim_python(docker: FakeDocker, engine: DockerEngine) -> None:
    _has(docker, DEFAULT_BASE_IMAGE)
    _has(docker, own_base_image(batch=True))

    assert ensure_base_image(batch=True, engine=engine) == own_base_image(batch=True)
    assert not docker.asked(PULL)


def test_batch_takes_the_base_that_the_user_names(docker: FakeDocker, engine: DockerEngine) -> None:
    _has(docker, "org/java:17")

    assert ensure_base_image("org/java:17", batch=True, engine=engine) == "org/java:17"


def test_a_changed_recipe_is_another_image(project: Path) -> None:
    before = own_base_image()
    (project / "docker/base/README.md").write_text("only words")
    assert own_base_image() == before

    with (project / "docker/base/packages.txt").open("a") as file:
        file.write("tini\n")

    assert own_base_image() != before
    assert own_base_image() != own_base_image(batch=True)
    assert re.fullmatch(r"custom-image/base:batch-[0-9a-f]{12}", own_base_image(batch=True))


def test_libraries_of_a_package_make_another_base_which_nobody_pulls(
    docker: FakeDocker, engine: DockerEngine, project: Path
) -> None:
    own = own_base_image(packages=("libgomp1",))
    _has(docker, DEFAULT_BASE_IMAGE)
    _has(docker, own)

    assert own not in (own_base_image(), own_base_image(packages=("libgl1",)))
    assert ensure_base_image(packages=("libgomp1",), engine=engine) == own


def test_a_machine_that_cannot_make_one_says_what_else_can_be_done(
    docker: FakeDocker, engine: DockerEngine, project: Path
) -> None:
    (project / "docker/base/build.sh").write_text("echo 'base: only root can' >&2; exit 3\n")

    with pytest.raises(Unavailable, match=r"base: only root can[\s\S]*BASE_IMAGE=") as caught:
        ensure_base_image(engine=engine)

    assert caught.value.exit_code == 3


def test_a_recipe_that_fails_shows_its_log(
    docker: FakeDocker, engine: DockerEngine, project: Path
) -> None:
    (project / "docker/base/build.sh").write_text("echo 'E: no python3' >&2; exit 1\n")

    with pytest.raises(BuildFailed, match="E: no python3"):
        ensure_base_image(engine=engine)
