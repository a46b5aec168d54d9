"""A model package into an instance: put where the preset looks, started, asked, and saved."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from custom_image.engines import StartOptions
from custom_image.engines.client import ask_health
from custom_image.errors import ServiceNotReady, UsageError
from custom_image.image_saving import (
    NotebookInstance,
    audit_instance,
    install_package,
    open_instance,
    save_instance,
    start_service,
)
from custom_image.image_saving.port_discovery import speaks_tls
from custom_image.image_saving.preset_python import ASK_PYTHON
from custom_image.settings import find_project
from custom_image.verification import verify
from local_modelarts.registry.certificates import ensure_certificates

# A server of somebody else's: it heeds no PORT, and has its health route or has none.
SERVER = """
import http.server, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response({status})
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass

http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler).serve_forever()
"""


class Package:
    def __init__(self, folder: Path) -> None:
        self.folder = folder


@pytest.fixture
def package(tmp_path) -> Package:
    folder = tmp_path / "package/model"
    (folder / "__pycache__").mkdir(parents=True)
    for name in ("config.json", "customize_service.py", "mnist.onnx"):
        (folder / name).write_text(name)
    return Package(folder)


@pytest.fixture
def instance(tmp_path) -> NotebookInstance:
    home = tmp_path / "home"
    (home / "ma-user/infer").mkdir(parents=True)
    return NotebookInstance(home)


def serve(instance: NotebookInstance, status: int = 200) -> None:
    (instance.infer / "run.sh").write_text(f'exec python3 "{instance.infer}/server.py"\n')
    (instance.infer / "server.py").write_text(SERVER.format(status=status))


def test_the_content_of_a_package_goes_where_the_preset_looks_for_it(package, instance):
    installed = install_package(package, instance)

    assert installed.folder == instance.home / "ma-user/infer/model/1"
    names = sorted(path.name for path in installed.folder.iterdir())
    assert names == ["config.json", "customize_service.py", "mnist.onnx"]
    assert str(installed).startswith("/home/ma-user/infer/model/1/\n")
    assert "mnist.onnx" in installed._repr_html_()


def test_no_file_of_an_older_package_stays_behind(package, instance):
    folder = install_package(package, instance).folder
    (folder / "old.onnx").write_text("yesterday's")

    install_package(package, instance)

    assert not (folder / "old.onnx").exists()
    assert sorted(path.name for path in folder.parent.iterdir()) == ["1"]


def test_what_is_no_package_is_not_replaced(package, instance):
    folder = instance.infer / "model/1"
    folder.mkdir(parents=True)
    (folder / "only-copy.pth").write_text("precious")

    with pytest.raises(UsageError, match="holds something that is no model package"):
        install_package(package, instance)

    assert (folder / "only-copy.pth").read_text() == "precious"


@pytest.mark.parametrize("status", [200, 404])
def test_a_server_that_heeds_no_port_is_found_by_its_sockets(instance, status):
    serve(instance, status)

    with start_service(instance) as service:
        assert ask_health(service.url).status == status


# Two sockets: one speaks TLS, the other, where there is one, HTTP.
TWO_SOCKETS = """
import http.server, socket, ssl, sys, threading

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
for is_tls in (True, False)[:int(sys.argv[3])]:
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    if is_tls:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever).start()
"""


def serve_tls(instance: NotebookInstance, tmp_path: Path, sockets: int) -> None:
    made = ensure_certificates(tmp_path / "certificates")
    (instance.infer / "server.py").write_text(TWO_SOCKETS)
    (instance.infer / "run.sh").write_text(
        f'exec python3 "{instance.infer}/server.py" "{made.certificate}" "{made.key}" {sockets}\n'
    )


def test_a_server_with_a_tls_port_is_asked_on_the_other(instance, tmp_path):
    serve_tls(instance, tmp_path, sockets=2)

    with instance.start() as service:
        ports = [found.port for found in service.listening()]
        asked = int(service.url.rpartition(":")[2])

        assert len(ports) == 2
        assert {port: speaks_tls(port) for port in ports} == {port: port != asked for port in ports}


def test_a_server_that_speaks_tls_only_is_named_with_how_to_ask_it(instance, tmp_path):
    serve_tls(instance, tmp_path, sockets=1)

    with pytest.raises(ServiceNotReady, match=r"listens with TLS only \(port \d+\)[\s\S]*curl -kv"):
        instance.start(listen_timeout_s=1.5)


def test_a_boot_file_that_ends_is_told_with_its_log(instance):
    (instance.infer / "run.sh").write_text("echo No module named onnxruntime; exit 1\n")

    with pytest.raises(ServiceNotReady, match="No module named onnxruntime"):
        start_service(instance)


def test_a_verification_starts_the_boot_file_of_the_instance(instance):
    serve(instance)

    with instance.target().start(StartOptions()) as service:
        assert service.is_running()
    report = verify(instance.target(), level="static")

    assert report.target == instance.name
    assert {c.verdict for c in report.checks if c.id == "secrets.files"} == {"NOT CHECKED"}


def test_where_there_is_no_instance_a_folder_stands_in_and_nothing_is_saved(tmp_path, monkeypatch):
    monkeypatch.setenv("MODELARTS_ENDPOINT", "http://127.0.0.1:9")
    for landmark in ("notebooks", "docker", "model_package"):
        (tmp_path / landmark).symlink_to(find_project() / landmark)
    monkeypatch.chdir(tmp_path)

    instance = open_instance()

    assert not instance.is_real
    assert (tmp_path / "build/image_saving/home/ma-user/infer/model_service").is_dir()
    assert "a stand-in" in str(instance)
    assert str(instance.read("run.sh")).startswith("#!/bin/sh")
    assert str(tmp_path) not in str(instance) + instance._repr_html_()
    assert audit_instance(instance).findings == ()
    assert str(save_instance(instance, "mnist:1.0")).startswith("NOT CHECKED: nothing was saved.")
    with pytest.raises(UsageError, match="no image reference"):
        save_instance(instance, "MNIST")


@pytest.mark.parametrize(
    ("variables", "notebook_id", "reason"),
    [
        ({}, "", "The id of this instance is not known: set notebook_id."),
        ({}, "nb-1", "Where the API of ModelArts is, is not known."),
        ({"HW_REGION_NAME": "cn-north-4"}, "nb-1", "There are no keys to call ModelArts with."),
    ],
)
def test_an_instance_that_cannot_call_the_api_says_how_to_save_by_hand(
    tmp_path, monkeypatch, variables, notebook_id, reason
):
    for name in ("MODELARTS_ENDPOINT", "HW_REGION_NAME", "HUAWEICLOUD_SDK_AK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    saved = save_instance(NotebookInstance(tmp_path, notebook_id, is_real=True), "mnist:1.0")

    assert reason in str(saved)
    assert "By hand: ModelArts console" in saved._repr_html_()


def test_the_python_of_the_boot_file_is_asked_and_not_assumed(instance):
    python = instance.python

    assert python.version == ".".join(map(str, sys.version_info[:3]))
    assert "numpy" in python.packages


def test_a_python_without_importlib_metadata_is_asked_all_the_same():
    blocked = "import sys; sys.modules.update({'importlib.metadata': None, 'pkg_resources': None})"
    asked = subprocess.run(
        [sys.executable, "-c", blocked + ASK_PYTHON], capture_output=True, text=True, check=True
    )

    assert json.loads(asked.stdout)[2] is None
