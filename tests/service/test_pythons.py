"""The runtime on every Python from 3.7 on that is to be had here: both profiles, hostile bodies."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from pythons import SERVERS, VERSIONS, find_pythons, install
from runtime import (
    BOUNDARY,
    MODEL_SERVICE,
    json_api,
    multipart,
    start_runtime,
    wait_for,
    write_package,
)

FOUND = find_pythons()
FILES = sorted(MODEL_SERVICE.rglob("*.py"))
SERVICE = """
import sys
import time
from model_service.pytorch_model_service import PTServingBaseService

class Counts(PTServingBaseService):
    def _preprocess(self, data):
        if "sleep" in data:
            time.sleep(data["sleep"])
        return {name: len(v) if isinstance(v, (str, dict)) else v for name, v in data.items()}

    def _inference(self, data):
        if "words" in data:
            return iter(["a", "b"])
        return data

    def _postprocess(self, data):
        return data
"""
# The three steps apart: the model in a process of its own, batches, an asynchronous stream.
APART = """
import os
from model_service.model_service import SingleNodeService

class Apart(SingleNodeService):
    batch_size = 4

    def _preprocess(self, data):
        return [data["x"], os.getpid()]

    def _inference(self, batch):
        return [[x * 2, worker, os.getpid()] for x, worker in batch]

    def _postprocess(self, answer):
        doubled, worker, model = answer
        if doubled < 0:
            return self.count_down(-doubled)
        return {"doubled": doubled, "apart": worker == os.getpid() != model}

    async def count_down(self, number):
        while number:
            yield number
            number -= 1
"""
SIZE = 2 * 2**20
DELIMITER = b"--" + BOUNDARY.encode()
GOOD = multipart(("a", "../../b.txt", b"content"), ("c", None, b"text"))
HOSTILE = {
    "line ends before the first boundary": b"\r\n" * (SIZE // 2) + GOOD,
    "no boundary at all": b"\r\n" * (SIZE // 2),
    "line ends after the last boundary": GOOD + b"\r\n" * (SIZE // 2),
    "what begins like a boundary": b"\r\n" + (b"\r\n" + DELIMITER + b"x") * (SIZE // 16),
    "a head without end": DELIMITER + b"\r\nA: " + b"b" * SIZE,
    "many options": DELIMITER
    + b"\r\nContent-Disposition: form-data"
    + b'; a="' * (SIZE // 5)
    + b"\r\n\r\n",
    "many parts": (DELIMITER + b'\r\nContent-Disposition: form-data; name="a"\r\n\r\n\r\n')
    * 10_000,
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_the_runtime_has_the_syntax_of_python_3_7(path):
    ast.parse(path.read_text(), feature_version=(3, 7))


def test_the_runtime_has_the_library_of_python_3_7():
    vermin = Path(sys.executable).with_name("vermin")
    command = [vermin, "--no-tips", "--violations", "-t=3.7-", "--exclude", "asyncio.timeout"]
    found = subprocess.run([*command, MODEL_SERVICE], capture_output=True, text=True, check=False)

    assert found.returncode == 0, found.stdout


def marked(version: str):
    """The oldest and the newest Pythons in `make test`, those between in `make test-full`."""
    between = version in ("3.9", "3.10", "3.11", "3.12")
    return pytest.param(version, marks=[pytest.mark.true_time] if between else [])


@contextmanager
def served(version: str, folder: Path, profile: str, code: str, **environment: str):
    """Serve a package of this code with a Python of this version."""
    if version not in FOUND:
        pytest.skip(f"there is no Python {version} with pip here")
    python = FOUND[version]
    places = folder / "bin"
    places.mkdir()
    (places / "python3").symlink_to(python)
    config = {"model_type": "Image", "apis": [json_api(x={"type": "number"})]}
    package = write_package(folder / "package", code, config)
    environment |= {
        "PATH": f"{places}:{os.environ['PATH']}",
        "PYTHONPATH": str(install(list(SERVERS), python)),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MODEL_SERVER": profile,
        "BODY_SECONDS": "1.5",
    }
    with start_runtime(folder / "home", package, **environment) as runtime:
        yield runtime.wait_until_ready(30)


@pytest.fixture(scope="module", params=[marked(version) for version in VERSIONS])
def old_or_new(request, tmp_path_factory, profile):
    """The same service on each Python."""
    with served(request.param, tmp_path_factory.mktemp("python"), profile, SERVICE) as runtime:
        yield runtime


def test_it_answers_json_forms_and_streams(old_or_new):
    with old_or_new.connect() as connection:
        for number in range(300):  # until predictions run in the event loop
            answer = connection.ask(
                "POST", "/?y=2", b'{"x": %d}' % number, Content_Type="application/json"
            )
            assert answer.json == {"x": number, "y": 1}
    assert old_or_new.post(GOOD).json == {"a": 1, "c": 4}
    answer = old_or_new.post_json({"words": 1})
    assert (answer.body, answer.status) == (b"data: a\n\ndata: b\n\n", 200)
    assert old_or_new.standard_error() == ""


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_bodies_are_decoded_or_refused(old_or_new, hostile):
    written = len(old_or_new.logs())

    answer = old_or_new.post(HOSTILE[hostile])

    assert answer.status in (200, 400, 413)
    assert len(old_or_new.logs()) - written < 2000  # CVE-2024-53981: a line of log for each byte
    assert old_or_new.post_json({"x": 1}).json == {"x": 1}


def test_a_body_that_does_not_end_is_given_up(old_or_new):
    with old_or_new.connect() as connection:
        connection.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n")
        assert connection.read().status == 408


def test_the_last_test_of_each_ends_it_in_order(old_or_new):
    old_or_new.terminate()

    assert old_or_new.wait(20) == 0
    wait_for(lambda: not any(old_or_new.folder.glob("tmp/mind-*")), "the workers' folders to go")


@pytest.mark.parametrize("version", [marked(version) for version in VERSIONS])
def test_the_model_process_and_its_streams_are_served(version, tmp_path, profile):
    with served(version, tmp_path, profile, APART, WORKERS="2") as runtime:
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(lambda x: runtime.post_json({"x": x}).json, range(40)))
        stream = runtime.post_json({"x": -1}).body
        complaints = runtime.standard_error()

    assert answers == [{"doubled": 2 * x, "apart": True} for x in range(40)]
    assert stream == b"data: 2\n\ndata: 1\n\n"
    assert complaints == ""
