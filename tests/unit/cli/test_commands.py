"""The command line is instant, explains itself, and fails with one sentence and the right code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from custom_image import cli
from custom_image.errors import BuildFailed, Unavailable, UsageError

FIXTURES = Path(__file__).parents[2] / "notebooks/fixtures"
CORPUS = Path(__file__).parents[2] / "corpus"
COMMANDS = [
    *(["doctor"], ["demo"], ["train"], ["package"], ["build"], ["predict"], ["verify"], ["rules"]),
    *(["notebooks", "run"], ["notebooks", "copy"], ["notebooks", "refresh"], ["clean"], ["hook"]),
    *(["push"], ["publish"], ["deploy"], ["batch"], ["delete"], ["rehearse"]),
    *(["fleet", "verify"], ["fleet", "build"], ["fleet", "notebooks"], ["fleet", "batch"]),
    *(["export", "kubernetes"], ["migrate"], ["audit"], ["jobs", "follow"], ["platform", "up"]),
]


def test_it_is_installed_as_a_command():
    command = Path(sys.executable).with_name("custom-image")
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)

    assert done.stdout.startswith("custom-image ")


def test_importing_the_command_line_imports_nothing_heavy():
    script = "import sys, custom_image.cli; print(*sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    heavy = {"torch", "numpy", "docker", "matplotlib", "papermill", "pydantic", "requests", "rich"}
    assert heavy & set(found.stdout.split()) == set()


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command, custom_image, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    helped = custom_image(*command, "--help")

    assert helped.returncode == 0
    assert helped.stderr == ""
    assert "Usage: custom-image " + " ".join(command) in helped.stdout
    assert helped.stdout.count("custom-image " + " ".join(command)) >= 2, "an example is missing"
    assert max(map(len, helped.stdout.splitlines())) <= 100
    assert re.findall("-- *.*<list.*", helped.stdout) == [], "a type in place of what it takes"


@pytest.mark.parametrize("group", [[], ["notebooks"], ["platform"], ["jobs"], ["fleet"]])
def test_no_summary_of_a_command_is_cut_off(group, custom_image, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    helped = custom_image(*group, "--help")

    assert "Commands:" in helped.stdout
    assert "..." not in helped.stdout.partition("Commands:")[2]


def test_a_misspelt_command_is_wrong_usage(custom_image):
    failed = custom_image("verfiy", "x")

    assert failed.returncode == 2
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (BuildFailed("step 3 failed", ["RUN false"]), 1),
        (UsageError("no such thing"), 2),
        (Unavailable("no engine answers"), 3),
    ],
)
def test_an_error_is_one_message_and_its_own_exit_code(error, code, monkeypatch, capsys):
    def fail(arguments):
        raise error

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(sys, "argv", ["custom-image", "build"])

    with pytest.raises(SystemExit) as left:
        cli.main()

    assert left.value.code == code
    assert capsys.readouterr().err == f"Error: {error}\n"


@pytest.mark.parametrize(
    "options", [["--sample"], ["--epochs", "3"], ["--runtime", "torch"], ["--mnist", "digits"]]
)
def test_a_package_of_ones_own_is_not_trained(options, custom_image, tmp_path):
    for command in (["build", "dockerfile_build", "--package"], ["package"]):
        outcome = custom_image(*command, str(tmp_path), *options)

        assert outcome.returncode == 2
        assert "the package is one that is there" in outcome.stderr


def test_a_foreign_package_is_adopted(custom_image):
    brought = str(CORPUS / "gbk-csv/package")

    table = custom_image("package", brought)
    document = json.loads(custom_image("package", brought, "--format", "json").stdout)

    assert table.returncode == 0
    assert "apis[0].procotol: procotol → protocol" in table.stdout
    assert document["requirements"] == ["tabulate", "toolz>=0.11.0"]
    assert {"kind": "changed", "where": "config.json: model_type"}.items() <= document["changes"][
        2
    ].items()


def test_strict_takes_nothing_but_a_valid_package(custom_image):
    refused = custom_image("package", str(CORPUS / "bom-and-argv/package"), "--strict")

    assert refused.returncode == 1
    assert "starts with a byte order mark" in refused.stderr


def test_an_unexpected_exception_is_called_a_bug_and_says_how_to_see_more(monkeypatch, capsys):
    def fail(arguments):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.setattr(sys, "argv", ["custom-image", "build"])

    with pytest.raises(SystemExit) as left:
        cli.main()

    shown = capsys.readouterr().err
    assert left.value.code == 1
    assert "ZeroDivisionError: division by zero" in shown
    assert "a bug in custom-image" in shown
    assert "--debug" in shown


@pytest.mark.parametrize(
    "arguments", [["--debug", "rules", "no.such.rule"], ["rules", "no.such.rule", "--debug"]]
)
def test_debug_lets_the_error_through_wherever_it_stands(arguments, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["custom-image", *arguments])

    with pytest.raises(UsageError, match=r"no\.such\.rule"):
        cli.main()


@pytest.fixture
def picky_service():
    """A service that only takes what begins like a JPEG."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            good = b"\xff\xd8\xff" in body
            self.send_response(200 if good else 415)
            self.end_headers()
            self.wfile.write(b'{"mnist_result": 7}' if good else b'{"error": "no picture"}')

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_predict_prints_the_answer_and_fails_where_the_service_refuses(
    picky_service, tmp_path, custom_image
):
    picture, text = tmp_path / "seven.jpg", tmp_path / "seven.txt"
    picture.write_bytes(b"\xff\xd8\xff\xe0")
    text.write_bytes(b"seven")

    good = custom_image("predict", f"{picky_service}/", str(picture))
    bad = custom_image("predict", picky_service, str(text))

    assert (good.returncode, good.stdout) == (0, '{"mnist_result": 7}\n')
    assert (bad.returncode, bad.stdout) == (1, '{"error": "no picture"}\n')


def test_predict_of_a_silent_address_is_unavailable(tmp_path, custom_image):
    picture = tmp_path / "seven.jpg"
    picture.write_bytes(b"\xff\xd8\xff\xe0")

    failed = custom_image("predict", "http://127.0.0.1:9", str(picture))

    assert failed.returncode == 3
    assert "got no answer" in failed.stderr


def test_doctor_tells_tools_what_it_tells_people(custom_image):
    shown, told = custom_image("doctor"), custom_image("doctor", "--format", "json")

    findings = json.loads(told.stdout)["findings"]
    assert {"Python", "torch", "Docker engine", "disk", "memory"} <= {f["name"] for f in findings}
    for finding in findings:
        assert finding["name"] in shown.stdout
        assert finding["state"] == "OK" or finding["remediation"]


def test_doctor_without_an_engine_says_what_is_lost_and_that_the_rest_works(
    tmp_path, monkeypatch, custom_image
):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")

    shown = custom_image("doctor", "--format", "json")

    engine = next(f for f in json.loads(shown.stdout)["findings"] if f["name"] == "Docker engine")
    assert shown.returncode == 0
    assert engine["state"] == "LIMITED"
    assert "NOT CHECKED" in engine["remediation"]


def test_notebooks_run_refuses_a_misspelt_parameter_before_anything_runs(custom_image):
    notebook = str(FIXTURES / "well_behaved.ipynb")

    failed = custom_image("notebooks", "run", notebook, "--parameters", "ci", "-p", "levle", "full")

    assert failed.returncode == 2
    assert "Did you mean 'level'?" in failed.stderr
