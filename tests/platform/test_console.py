"""The console page, in a real browser and without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import browser as browser_module
import pytest
import requests
from browser import Browser, open_browser
from local_cloud import Cloud, wait_for
from local_models import call, publish_model
from sleeper import SLEEPER_CONFIG

from custom_image.mnist import encode_jpeg, load_mnist

ENSURE_CHROMIUM = Path(__file__).parents[2] / "scripts/ensure_chromium.sh"
SERVICES = "/v1/{project_id}/services"
MARKUP = "<script>alert(1)</script>"


@dataclass
class Console:
    """The console of a platform with one service of each of two models."""

    cloud: Cloud
    digits: str
    sleeper: str

    def url(self, path: str = "") -> str:
        return f"{self.cloud.platform.endpoint}/console{path}"


@pytest.fixture(scope="module")
def console(quick, serving_model, sleeper_address) -> Console:
    sleeper = publish_model(quick, sleeper_address, SLEEPER_CONFIG, "shown-sleeper")
    services = deploy(quick, serving_model, "shown-0"), deploy(quick, sleeper, "shown-1")
    return Console(quick, *services)


def deploy(cloud: Cloud, model: str, name: str) -> str:
    entry = {
        "model_id": model,
        "specification": "modelarts.vm.cpu.2u",
        "instance_count": 1,
        "weight": 100,
    }
    body = {"service_name": name, "infer_type": "real-time", "config": [entry]}
    service_id = str(call(cloud, "POST", SERVICES, body)["service_id"])
    path = f"{SERVICES}/{service_id}"
    wait_for(lambda: call(cloud, "GET", path)["status"] == "running", "the service runs")
    return service_id


@pytest.fixture(scope="module")
def chromium() -> str:
    """Where no browser can be had, a printed skip, or a failure under REQUIRE_DOCKER=1."""
    done = subprocess.run(["sh", ENSURE_CHROMIUM], capture_output=True, text=True)
    if done.returncode:
        if os.environ.get("REQUIRE_DOCKER") == "1":
            pytest.fail(done.stderr, pytrace=False)
        pytest.skip(done.stderr.splitlines()[-2])
    return done.stdout.strip()


@pytest.fixture(scope="module")
def browser(chromium, tmp_path_factory) -> Iterator[Browser]:
    with open_browser(chromium, tmp_path_factory.mktemp("browser")) as browser:
        yield browser


OPEN_AND_WAIT = """
import sys
from pathlib import Path
from browser import open_browser
with open_browser(sys.argv[1], Path(sys.argv[2])) as browser:
    print(browser.evaluate("1 + 1"), flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("is_killed", [False, True], ids=["closed", "killed"])
def test_a_browser_ends_with_who_opened_it(is_killed, chromium, tmp_path) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OPEN_AND_WAIT, chromium, tmp_path],
        env=os.environ | {"PYTHONPATH": str(Path(browser_module.__file__).parent)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdout is not None
    assert owner.stdout.readline() == "2\n"
    sessions = sessions_of(tmp_path)
    assert sessions

    if is_killed:
        owner.kill()
    owner.communicate()

    wait_for(lambda: not processes_of(sessions), "the browser has ended")


def sessions_of(profile: Path) -> set[str]:
    """Return the sessions of the browsers whose profile is below a folder."""
    return {line.split()[0] for line in processes() if f"--user-data-dir={profile}" in line}


def processes_of(sessions: set[str]) -> list[str]:
    return [line for line in processes() if line.split()[0] in sessions]


def processes() -> list[str]:
    listed = subprocess.run(
        ["ps", "-ww", "-eo", "sid,stat,args"], capture_output=True, text=True
    ).stdout
    return [line for line in listed.splitlines() if line.split()[1][0] != "Z"]


@pytest.fixture(scope="module")
def seven(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "seven.jpg"
    path.write_bytes(encode_jpeg(load_mnist(sample=True).example(7)))
    return path


def test_a_digit_is_uploaded_previewed_and_answered(console, browser, seven) -> None:
    browser.complaints.clear()
    browser.open(console.url())
    browser.click(f'a[href$="{console.digits}"]')
    browser.wait_for("document.querySelector('input[type=file]')")

    browser.choose_file("input[type=file]", seven)
    browser.wait_for("document.querySelector('.preview').checkVisibility()")
    assert browser.evaluate("document.querySelector('.preview').naturalWidth") == 28
    browser.click("form button")
    browser.wait_for("document.querySelector('#answer')")

    assert json.loads(browser.text("#answer")) == {"mnist_result": 7}
    assert browser.text(".outcome .call").startswith("HTTP 200, ")
    assert browser.evaluate("document.querySelector('figure img').naturalWidth") == 28
    assert browser.complaints == []


def test_the_form_works_without_javascript(console, browser, seven) -> None:
    browser.without_scripts()
    try:
        browser.open(console.url(f"/services/{console.digits}"))
        browser.choose_file("input[type=file]", seven)
        assert browser.evaluate("document.querySelector('.preview').hidden")
        browser.click("form button")
        browser.wait_for("document.querySelector('#answer')")
        assert json.loads(browser.text("#answer")) == {"mnist_result": 7}
    finally:
        browser.without_scripts(False)


def test_a_member_of_json_is_a_text_box(console, browser) -> None:
    browser.open(console.url(f"/services/{console.sleeper}"))
    browser.evaluate("document.querySelector('textarea').value = '0.01'")

    browser.click("form button")
    browser.wait_for("document.querySelector('#answer')")

    assert json.loads(browser.text("#answer")) == {"slept": 0.01}


def test_each_page_shows_what_there_is(console) -> None:
    def page(path: str) -> str:
        response = requests.get(console.url(path), timeout=10)
        assert response.status_code == 200
        return response.text

    assert "shown-0" in page("")
    assert "shown-sleeper" in page("/models")
    assert "team/sleeper" in page("/images")
    service = page(f"/services/{console.digits}")
    assert "The service starts to deploy." in service, "events"
    assert "running on http" in service or "model_service" in service, "logs"
    assert requests.get(console.url("/models/none"), timeout=10).status_code == 404
    assert requests.get(console.url("/services/none"), timeout=10).status_code == 404


def test_what_callers_wrote_is_shown_as_text(console) -> None:
    answer = requests.post(
        console.url(f"/services/{console.sleeper}"),
        data={"api": "0", "sleep": MARKUP},
        timeout=10,
    )
    picture = requests.post(
        console.url(f"/services/{console.digits}"),
        data={"api": "0"},
        files={"images": (MARKUP, MARKUP)},
        timeout=10,
    )

    for response in (answer, picture):
        assert response.status_code == 200
        assert MARKUP not in response.text
        assert "script-src 'self'" in response.headers["Content-Security-Policy"]
    assert "is no JSON" in answer.text
    assert "no JPEG or PNG picture" in picture.text


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"api": "0"}, 200, "images: choose a file"),
        ({"api": "7"}, 400, "no such form"),
        ({}, 400, "no such form"),
        ({"api": "0", "more": "x" * 9_000_000}, 413, "at most"),
    ],
    ids=["nothing chosen", "no such api", "no api", "too large"],
)
def test_a_form_that_is_not_filled_in_is_answered_by_a_sentence(
    console, fields, status, words
) -> None:
    response = requests.post(console.url(f"/services/{console.digits}"), data=fields, timeout=10)

    assert response.status_code == status
    assert words in response.text


@pytest.mark.parametrize(
    "headers",
    [{"Host": "attacker.example"}, {"Origin": "https://attacker.example"}, {"Origin": "null"}],
    ids=["rebound name", "other page", "opaque page"],
)
def test_a_page_of_somebody_else_cannot_use_it(console, headers) -> None:
    response = requests.post(
        console.url(f"/services/{console.digits}"), data={"api": "0"}, headers=headers, timeout=10
    )

    assert response.status_code == 403


def test_instances_do_not_reach_it(console) -> None:
    port = urlsplit(console.cloud.platform.endpoint).port
    gateway = urlsplit(console.cloud.platform.gateway_endpoint).hostname
    headers = {"Host": f"127.0.0.1:{port}"}

    response = requests.get(f"http://{gateway}:{port}/console", headers=headers, timeout=10)

    assert response.status_code == 403
