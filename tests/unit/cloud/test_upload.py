"""The registry's client against one on paper: plain HTTP on loopback, basic login, faults."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from image_archives import containerd_archive, gzipped, layer_of

from custom_image.cloud.upload.repository import Repository
from custom_image.cloud.upload.single_image import read_single_image
from custom_image.cloud.upload.upload import upload
from custom_image.errors import Unavailable

LAYERS = [layer_of({"a": b"a" * 300}), layer_of({"b": b"b" * 300})]
SAVED = containerd_archive(LAYERS, [gzipped(LAYERS[0]), LAYERS[1]])
LOGIN = f"Basic {b64encode(b'me:secret').decode()}"


class PaperRegistry(BaseHTTPRequestHandler):
    """Keeps blobs and manifests by name; ``full`` is how many uploads it has room for."""

    protocol_version = "HTTP/1.1"
    blobs: ClassVar[dict[str, bytes]] = {}
    uploads: ClassVar[dict[str, bytes]] = {}
    manifests: ClassVar[dict[str, bytes]] = {}
    calls: ClassVar[list[str]] = []
    full: ClassVar[int] = 99

    def _serve(self) -> None:
        body = self._body()
        self.calls.append(self.command)
        if self.headers.get("Authorization") != LOGIN:
            self._answer(401, headers={"WWW-Authenticate": 'Basic realm="tests"'})
        elif self.command == "HEAD":
            digest = self.path.rpartition("/")[2]
            there = self.blobs.get(digest)
            self._answer(
                404 if there is None else 200, headers={"Content-Length": str(len(there or b""))}
            )
        elif self.command == "POST":
            if len(self.uploads) >= self.full:
                self._answer(
                    507, {"errors": [{"code": "DENIED", "message": "the quota is used up"}]}
                )
                return
            name = str(len(self.uploads))
            self.uploads[name] = b""
            self._answer(202, headers={"Location": f"/v2/team/any/blobs/uploads/{name}"})
        elif self.command == "PATCH":
            self.uploads[self.path.rpartition("/")[2]] = body
            self._answer(202, headers={"Location": self.path})
        elif found := re.search(r"uploads/(\w+)\?digest=(\S+)", self.path.replace("%3A", ":")):
            content = self.uploads[found[1]]
            assert found[2] == f"sha256:{hashlib.sha256(content).hexdigest()}"
            self.blobs[found[2]] = content
            self._answer(201)
        else:
            self.manifests[self.path] = body
            self._answer(201)

    do_HEAD = do_POST = do_PATCH = do_PUT = _serve  # noqa: N815 - the names that are looked for

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _answer(self, status: int, document: Any = None, headers: Any = ()) -> None:
        body = json.dumps(document).encode() if document else b""
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | dict(headers)).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that tries TLS first is what is tested."""


@pytest.fixture
def host() -> Iterator[str]:
    for kept in (PaperRegistry.blobs, PaperRegistry.uploads, PaperRegistry.manifests):
        kept.clear()
    PaperRegistry.calls.clear()
    PaperRegistry.full = 99
    with QuietServer(("127.0.0.1", 0), PaperRegistry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def send(host: str, tag: str) -> list[int]:
    """Upload the image; return how often the engine had to save it for that."""
    image, saves = read_single_image("any:1", iter([SAVED])), []

    def save() -> Iterator[bytes]:
        saves.append(1)
        return iter([SAVED])

    upload(image, save, f"{host}/team/any:{tag}", user="me", password="secret")
    return saves


def test_layers_configuration_and_manifest_arrive_by_a_basic_login_over_plain_http(host):
    send(host, "1")

    manifest = json.loads(PaperRegistry.manifests["/v2/team/any/manifests/1"])
    named = [manifest["config"], *manifest["layers"]]
    assert {part["digest"] for part in named} == set(PaperRegistry.blobs)
    assert all(part["size"] == len(PaperRegistry.blobs[part["digest"]]) for part in named)


def test_what_the_registry_has_is_not_sent_again(host):
    assert send(host, "1") == [1]
    plain = "the layer whose digest as gzip nobody knows before it is packed"
    before = set(PaperRegistry.blobs)
    PaperRegistry.calls.clear()

    assert send(host, "2") == [1], plain
    assert set(PaperRegistry.blobs) == before
    assert PaperRegistry.calls.count("PATCH") == 1, plain


def test_a_refusal_is_told_in_the_registrys_words_and_what_arrived_stays(host):
    PaperRegistry.full = 1

    with pytest.raises(Unavailable, match="refuses team/any: 507 DENIED: the quota is used up"):
        send(host, "1")
    assert len(PaperRegistry.blobs) == 1
    assert PaperRegistry.manifests == {}


def test_a_registry_that_is_not_there_is_named():
    with (
        Repository("127.0.0.1:9", "team/any", "me", "secret") as repository,
        pytest.raises(Unavailable, match=r"127\.0\.0\.1:9 does not answer"),
    ):
        repository.find("sha256:aa")
