"""Bases with another Python than Debian's, wherever it is: found, built for, started, answering."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from python_bases import make_base

from custom_image.build_context import write_build_context
from custom_image.builders import find_base
from custom_image.builders.base_python import find_python
from custom_image.builders.docker import build
from custom_image.engines import StartOptions
from custom_image.engines.docker.engine import DockerEngine
from custom_image.engines.readiness import wait_until_ready
from custom_image.errors import UsageError

SERVICE = '''
"""Says which Python serves."""

import sys

from model_service.model_service import SingleNodeService


class Service(SingleNodeService):
    def _preprocess(self, data):
        return data

    def _inference(self, data):
        return {"python": "%d.%d" % sys.version_info[:2], "executable": sys.executable, **data}

    def _postprocess(self, data):
        return data
'''
CONFIG = {
    "model_algorithm": "echo",
    "model_type": "Image",
    "metrics": {},
    "apis": [
        {
            "url": "/",
            "method": "post",
            "request": {
                "Content-type": "application/json",
                "data": {"type": "object", "properties": {"number": {"type": "number"}}},
            },
            "response": {"Content-type": "application/json", "data": {"type": "object"}},
        }
    ],
    "health": {"check_method": "HTTP", "protocol": "http", "url": "/health"},
}


@pytest.fixture
def package(tmp_path: Path) -> SimpleNamespace:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "customize_service.py").write_text(SERVICE)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return SimpleNamespace(folder=folder)


def serves(
    package: SimpleNamespace,
    base: str,
    minor: str,
    engine: DockerEngine,
    environment: dict[str, str] | None = None,
) -> dict:
    """Build for a base's Python, start the image, and return what it answers."""
    base, python = find_base(base, python=minor, engine=engine)
    context = write_build_context(
        package, base_image=base, python=python, folder=package.folder.parent / "context"
    )
    image = build(context, f"custom-image/tests:on-{base.rpartition(':')[2]}", engine=engine)
    with engine.start(image.reference, StartOptions(environment=environment or {})) as service:
        wait_until_ready(service, "/health", timeout_s=60)
        answer = requests.post(service.url, json={"number": 7}, timeout=60)
        assert answer.ok, f"{answer.text}\n{service.logs()}"
        return answer.json()


def test_an_environment_of_conda_is_found_although_nobody_activated_it(
    docker_engine: DockerEngine,
) -> None:
    python = find_python(make_base("3.8", "conda", docker_engine), engine=docker_engine)

    assert (python.minor, python.executable) == ("3.8", "/opt/conda/envs/serving/bin/python3")


def test_a_virtual_environment_is_started_by_its_own_path(docker_engine: DockerEngine) -> None:
    python = find_python(make_base("3.13", "venv", docker_engine), engine=docker_engine)

    assert (python.minor, python.executable) == ("3.13", "/opt/venv/bin/python3")


def test_the_distributions_own_gives_way_unless_it_is_asked_for(
    docker_engine: DockerEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    base = make_base("3.13", "last", docker_engine)

    python = find_python(base, engine=docker_engine)
    assert python.executable == "/usr/local/lib/python/bin/python"
    said = capsys.readouterr().err
    assert "it also has Python 3.11.2 (/usr/bin/python3), which --python would take" in said
    assert find_python(base, "3.11", engine=docker_engine).executable == "/usr/bin/python3"
    with pytest.raises(UsageError, match=r"expected Python 3\.7"):
        find_python(base, "3.7", engine=docker_engine)


def test_an_image_on_another_python_answers(
    package: SimpleNamespace, docker_engine: DockerEngine
) -> None:
    answer = serves(package, make_base("3.13", "last", docker_engine), "3.13", docker_engine)

    assert answer == {
        "python": "3.13",
        "executable": "/usr/local/lib/python/bin/python",
        "number": 7,
    }


@pytest.mark.true_time
@pytest.mark.timeout(900)
@pytest.mark.parametrize("profile", ["uvicorn", "gunicorn-gevent"])
@pytest.mark.parametrize(
    ("minor", "layout", "executable"),
    [
        ("3.7", "conda", "/opt/conda/envs/serving/bin/python3"),
        ("3.8", "venv", "/opt/venv/bin/python3"),
        ("3.11", "conda", "/opt/conda/envs/serving/bin/python3"),
        ("3.13", "venv", "/opt/venv/bin/python3"),
    ],
)
def test_every_python_answers_by_both_profiles(
    minor: str,
    layout: str,
    executable: str,
    profile: str,
    package: SimpleNamespace,
    docker_engine: DockerEngine,
) -> None:
    base = make_base(minor, layout, docker_engine)

    answer = serves(package, base, minor, docker_engine, {"MODEL_SERVER": profile})

    assert answer == {"python": minor, "executable": executable, "number": 7}
