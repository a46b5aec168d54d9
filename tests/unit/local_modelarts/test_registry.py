"""The client of the registry: who asks right after its death gets an answer."""

from __future__ import annotations

import socket
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_modelarts.registry.certificates import ensure_certificates
from local_modelarts.registry.client import Registry
from local_modelarts.registry.logins import Logins
from local_modelarts.storage.paths import Identity

# Stands in for the program: at its first start it dies before it answers, as one does that was just
# killed and cannot be waited for yet. From then on it serves what the client asks first.
PROGRAM = """\
#!{python}
import json, pathlib, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer
config = json.loads(pathlib.Path(sys.argv[2]).read_text())
with open(pathlib.Path(sys.argv[2]).with_name("starts"), "a") as starts:
    starts.write("started\\n")
    if starts.tell() == len("started\\n"):
        time.sleep(1)
        sys.exit()
class Catalog(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{{"repositories": ["team/mnist"]}}')
host, _, port = config["http"]["addr"].partition(":")
server = HTTPServer((host, int(port)), Catalog)
server.serve_forever()
"""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    program = tmp_path / "bin/docker-registry"
    program.parent.mkdir()
    program.write_text(textwrap.dedent(PROGRAM).format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.delenv("REGISTRY_IMAGE", raising=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    identity = Identity("paper", "project", "ACCESS", "SECRET", 1, port)
    certificates = ensure_certificates(tmp_path / "certificates")
    registry = Registry(
        tmp_path / "registry", identity, certificates, Logins(identity, certificates)
    )
    yield registry
    registry.stop()


def test_a_call_while_the_registry_dies_is_answered_by_the_next_one(registry, tmp_path):
    registry._server.start()  # lives, refuses connections, and is about to end
    registry._is_wanted = True

    assert registry.repositories() == ["team/mnist"]
    assert (tmp_path / "registry/starts").read_text() == "started\n" * 2
