"""A registry behind a server: asked by its own name, trusted as the server's engine trusts it."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest
import trustme

from custom_image.ecs.push.registry import Registry
from custom_image.errors import Unavailable
from custom_image.image_reference import ImageReference

HOST = "registry.example.com"
LAYER = {"digest": "sha256:aa", "size": 7}
DOCUMENTS = {
    "/v2/org/it/tags/list?n=100": {"tags": ["1"]},
    "/v2/org/it/manifests/1": {"config": {"digest": "sha256:cc"}, "layers": [LAYER]},
    "/v2/org/it/blobs/sha256:cc": {"rootfs": {"diff_ids": ["sha256:plain"]}},
    "/v2/org/it/blobs/sha256:aa": {},
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked.append((self.headers["Host"], self.headers.get("Authorization", "")))
        found = self.headers["Host"] == HOST and self.path in DOCUMENTS
        content = json.dumps(DOCUMENTS.get(self.path, {})).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815 - the name that is looked for

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    asked: list[tuple[str, str]]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that trusts no such certificate is what is tested."""


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server(authority: trustme.CA) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(HOST).configure_cert(context)
    with Server(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def connection(server: Server, certificates: str) -> Any:
    """Return the connection to a server that reaches the registry, and has these certificates."""
    forwarded: list[tuple[int, str]] = []

    def forward_port(port: int, host: str) -> int:
        forwarded.append((port, host))
        return int(server.server_port)

    def run(command: str) -> Any:
        assert command.startswith(f"cat /etc/docker/certs.d/{HOST}/*.crt")
        return SimpleNamespace(output=certificates)

    return SimpleNamespace(forward_port=forward_port, run=run, forwarded=forwarded)


def test_a_registry_is_asked_by_its_name_and_trusted_by_the_servers_certificates(server, authority):
    there = connection(server, authority.cert_pem.bytes().decode())
    reference = ImageReference.parse(f"{HOST}/org/it:2")

    with Registry(there, HOST) as registry:
        known = registry.known_layers(reference)
        size_bytes = registry.size_bytes(ImageReference.parse(f"{HOST}/org/it:1"))

    assert {digest: blob.digest for digest, blob in known.items()} == {"sha256:plain": "sha256:aa"}
    assert size_bytes == 7
    assert there.forwarded == [(443, HOST)], "one way for all of it"
    assert set(server.asked) == {(HOST, "")}


@pytest.mark.parametrize("of_another_name", [True, False], ids=["another name", "unknown"])
def test_a_certificate_of_another_name_or_authority_is_refused(
    server, authority, of_another_name, monkeypatch
):
    host = "other.example.com" if of_another_name else HOST
    known = authority if of_another_name else trustme.CA()
    there = connection(server, known.cert_pem.bytes().decode())
    there.run = lambda _: SimpleNamespace(output=known.cert_pem.bytes().decode())

    with Registry(there, host) as registry, pytest.raises(Unavailable, match="no good certificate"):
        registry.known_layers(ImageReference.parse(f"{host}/org/it:2"))
    assert server.asked == []
