"""The proxy before the registry: what SWR refuses is refused, all else passes as it came."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from custom_image.errors import Unavailable
from custom_image.image_archive import media_types
from local_modelarts.registry.certificates import Certificates, ensure_certificates
from local_modelarts.registry.proxy import RegistryProxy
from local_modelarts.storage.paths import free_port

LAYER = {"mediaType": media_types.DOCKER_LAYER, "digest": "sha256:aa", "size": 1}
CONFIG = {"mediaType": media_types.DOCKER_CONFIG, "digest": "sha256:bb", "size": 1}
OCI_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
DOCKER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd"


class Upstream(BaseHTTPRequestHandler):
    """A registry on paper, which says how many bytes came and what their digest is."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        body = b"".join(self._parts())
        self._answer(201, {"seen": len(body), "digest": hashlib.sha256(body).hexdigest()})

    do_PATCH = do_PUT  # noqa: N815 - the name that the base class looks for

    def do_GET(self) -> None:
        self._answer(200, {name.lower(): value for name, value in self.headers.items()})

    def _parts(self) -> Iterator[bytes]:
        if self.headers.get("Transfer-Encoding") != "chunked":
            yield self.rfile.read(int(self.headers["Content-Length"]))
            return
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _answer(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


class Client:
    def __init__(self, port: int, certificates: Certificates) -> None:
        self._url = f"https://127.0.0.1:{port}"
        self._authority = str(certificates.authority)

    def send(self, method: str, path: str, **options: Any) -> requests.Response:
        return requests.request(
            method, self._url + path, verify=self._authority, timeout=30, **options
        )

    def put(self, media_type: str, manifest: object, token: str = "Bearer x") -> requests.Response:
        headers = {"Content-Type": media_type} | ({"Authorization": token} if token else {})
        body = json.dumps(manifest).encode()
        return self.send("PUT", "/v2/team/mnist/manifests/1.0", headers=headers, data=body)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return ensure_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def client(certificates: Certificates) -> Iterator[Client]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Upstream) as upstream:
        threading.Thread(target=upstream.serve_forever, daemon=True).start()
        port = free_port()
        proxy = RegistryProxy(port, upstream.server_address[1], certificates)
        proxy.start()
        yield Client(port, certificates)
        proxy.stop()
        proxy.stop()
        upstream.shutdown()


def image(layer_type: str = media_types.DOCKER_LAYER, **config: str) -> dict[str, Any]:
    return {"config": CONFIG | config, "layers": [LAYER, LAYER | {"mediaType": layer_type}]}


@pytest.mark.parametrize(
    ("media_type", "manifest"),
    [
        (media_types.OCI_INDEX, {"manifests": []}),
        ("", {"mediaType": media_types.OCI_INDEX, "manifests": []}),
        (media_types.OCI_IMAGE, image(mediaType=media_types.EMPTY_CONFIG)),
        (media_types.OCI_IMAGE, image(OCI_ZSTD)),
        (media_types.DOCKER_IMAGE, image(DOCKER_ZSTD)),
    ],
    ids=["index", "index by its own word", "empty config", "zstd", "zstd as Docker's"],
)
def test_what_swr_cannot_parse_is_refused_in_its_words(client, media_type, manifest):
    answer = client.put(media_type, manifest)

    assert answer.status_code == 400
    assert answer.json() == {
        "errors": [
            {"code": "MANIFEST_INVALID", "message": "Invalid image, fail to parse 'manifest.json'"}
        ]
    }


@pytest.mark.parametrize(
    ("media_type", "manifest"),
    [
        (media_types.DOCKER_IMAGE, image()),
        (media_types.OCI_IMAGE, image("application/vnd.oci.image.layer.v1.tar+gzip")),
        (media_types.DOCKER_LIST, {"manifests": []}),
        (media_types.DOCKER_IMAGE, "no object"),
        (media_types.DOCKER_IMAGE, {"config": None, "layers": 7}),
    ],
    ids=["Docker", "OCI", "Docker list", "no object", "nonsense"],
)
def test_what_swr_takes_reaches_the_registry_as_it_came(client, media_type, manifest):
    answer = client.put(media_type, manifest)

    body = json.dumps(manifest).encode()
    assert answer.status_code == 201
    assert answer.json() == {"seen": len(body), "digest": hashlib.sha256(body).hexdigest()}


def test_who_shows_no_token_is_asked_for_one_by_the_registry_whatever_it_sends(client):
    assert client.put(media_types.OCI_INDEX, {"manifests": []}, token="").status_code == 201


def test_a_layer_passes_byte_for_byte_whether_its_length_is_known_or_not(client):
    layer = bytes(range(256)) * 20_000
    whole = client.send("PATCH", "/v2/team/mnist/blobs/uploads/7", data=layer)
    parts = (layer[at : at + 70_000] for at in range(0, len(layer), 70_000))
    chunked = client.send("PATCH", "/v2/team/mnist/blobs/uploads/8", data=parts)

    expected = {"seen": len(layer), "digest": hashlib.sha256(layer).hexdigest()}
    assert whole.json() == chunked.json() == expected


def test_the_registry_is_told_the_clients_name_for_it_and_that_it_speaks_tls(client):
    seen = client.send("GET", "/v2/", headers={"X-Forwarded-Proto": "http"}).json()

    assert seen["x-forwarded-proto"] == "https"
    assert seen["host"].startswith("127.0.0.1:")
    assert seen["connection"] == "close"


def test_a_manifest_without_a_length_or_with_too_long_a_one_is_refused(client):
    path = "/v2/team/mnist/manifests/1.0"

    assert client.send("PUT", path, data=iter([b"{}"])).status_code == 411
    assert client.send("PUT", path, data=b" " * (4 * 1024 * 1024 + 1)).status_code == 413


def test_a_registry_that_is_away_is_told_and_a_port_that_is_taken_is_named(certificates):
    port = free_port()
    proxy, second = (RegistryProxy(port, free_port(), certificates) for _ in range(2))
    proxy.start()
    try:
        assert Client(port, certificates).send("GET", "/v2/").status_code == 503
        with pytest.raises(Unavailable, match=str(port)):
            second.start()
    finally:
        proxy.stop()


def test_a_proxy_that_was_stopped_listens_again(certificates, tmp_path: Path):
    port = free_port()
    proxy = RegistryProxy(port, free_port(), certificates)
    for _ in range(2):
        proxy.start()
        assert Client(port, certificates).send("GET", "/v2/").status_code == 503
        proxy.stop()
