"""What a registry has of an image already, asked through the server that will push to it.

Source: https://distribution.github.io/distribution/spec/api/
"""

from __future__ import annotations

import base64
import http.client
import json
import shlex
import socket
import ssl
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode, urlsplit

from custom_image.errors import Unavailable
from custom_image.image_reference import ImageReference
from custom_image.registry_challenge import read_challenge, token_of

if TYPE_CHECKING:
    from custom_image.ecs.ssh.connection import Connection

_TIMEOUT_S: Final = 20.0
_OTHER_TAGS: Final = 5
"""How many tags beside its own are looked at for layers that are there."""
_MANIFESTS: Final = ", ".join(
    (
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
    )
)


@dataclass(frozen=True)
class RemoteLayer:
    """A layer as a registry stores it: digest and size of the compressed blob."""

    digest: str
    size_bytes: int


class Registry:
    """A registry, reached from the server, with the login of one who may push."""

    def __init__(
        self, connection: Connection, host: str, user: str = "", password: str = ""
    ) -> None:
        self._connection = connection
        self._host = host
        self._login = base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        self._tokens: dict[str, str] = {}
        self._ports: dict[tuple[str, int], int] = {}
        self._plain: set[str] = set()

    def __repr__(self) -> str:
        return f"Registry({self._host!r})"

    def known_layers(self, reference: ImageReference) -> dict[str, RemoteLayer]:
        """Return the layers of a repository by the digest of their uncompressed content.

        Raises:
            Unavailable: the registry cannot be asked.
        """
        name = reference.repository
        listed = self._json(name, f"/v2/{name}/tags/list")
        tags = [tag for tag in (listed.get("tags") or []) if tag != reference.tag]
        known: dict[str, RemoteLayer] = {}
        for tag in [reference.tag, *tags[-_OTHER_TAGS:]]:
            manifest = self._json(name, f"/v2/{name}/manifests/{tag}")
            if "config" not in manifest:
                continue
            config = self._json(name, f"/v2/{name}/blobs/{manifest['config']['digest']}")
            layers = [RemoteLayer(m["digest"], int(m["size"])) for m in manifest["layers"]]
            known |= dict(zip(config.get("rootfs", {}).get("diff_ids", ()), layers, strict=False))
        return {
            diff: layer
            for diff, layer in known.items()
            if self._ask("HEAD", name, f"/v2/{name}/blobs/{layer.digest}")[0] == 200
        }

    def size_bytes(self, reference: ImageReference) -> int:
        """Return what an image takes there, compressed; 0 where it is not there."""
        name = reference.repository
        manifest = self._json(name, f"/v2/{name}/manifests/{reference.tag}")
        parts = [manifest.get("config", {}), *manifest.get("layers", [])]
        return sum(int(part.get("size", 0)) for part in parts)

    def _json(self, repository: str, path: str) -> dict[str, Any]:
        """Return a document, or nothing where there is none."""
        status, body = self._ask("GET", repository, path)
        if status == 404:
            return {}
        if status != 200:
            raise Unavailable(f"registry {self._host} answers {status} to {path}.")
        found: dict[str, Any] = json.loads(body)
        return found

    def _ask(self, method: str, repository: str, path: str) -> tuple[int, bytes]:
        headers = {"Accept": _MANIFESTS}
        if token := self._tokens.get(repository):
            headers["Authorization"] = token
        status, challenge, body = self._request(method, self._host, path, headers)
        if status != 401 or repository in self._tokens:
            return status, body
        self._tokens[repository] = self._authorize(challenge, repository)
        return self._ask(method, repository, path)

    def _authorize(self, header: str, repository: str) -> str:
        """Return the header that a registry's challenge asks for."""
        challenge = read_challenge(header)
        if challenge is None:
            return f"Basic {self._login}"
        query = challenge.query(f"repository:{repository}:pull")
        realm = urlsplit(challenge.realm)
        headers = {"Authorization": f"Basic {self._login}"} if self._login else {}
        path = f"{realm.path}?{urlencode(query)}"
        if realm.scheme == "http":
            self._plain.add(realm.netloc)
        _, _, body = self._request("GET", realm.netloc, path, headers)
        return f"Bearer {token_of(json.loads(body or b'{}'))}"

    def _request(
        self, method: str, host: str, path: str, headers: dict[str, str]
    ) -> tuple[int, str, bytes]:
        try:
            if host not in self._plain:
                try:
                    return self._exchange(method, host, path, headers, tls=True)
                except ssl.SSLError:
                    # As Docker does: a registry on loopback may speak plain HTTP, and no other.
                    if not _is_loopback(host):
                        raise
                    self._plain.add(host)
            return self._exchange(method, host, path, headers, tls=False)
        except (OSError, http.client.HTTPException) as error:
            raise Unavailable(f"registry {host} cannot be asked: {error}") from error

    def _exchange(
        self, method: str, host: str, path: str, headers: dict[str, str], *, tls: bool
    ) -> tuple[int, str, bytes]:
        name, _, port = host.partition(":")
        end = (name, int(port or (443 if tls else 80)))
        if end not in self._ports:
            self._ports[end] = self._connection.forward_port(end[1], name)
        local = self._ports[end]
        link = (
            http.client.HTTPSConnection(*end, timeout=_TIMEOUT_S, context=self._context(host))
            if tls
            else http.client.HTTPConnection(*end, timeout=_TIMEOUT_S)
        )
        # The name stays that of the registry, for its certificate; the way leads through ssh.
        connect = partial(socket.create_connection, ("127.0.0.1", local), _TIMEOUT_S)
        link._create_connection = lambda *_: connect()  # type: ignore[attr-defined]
        try:
            link.request(method, path, headers=headers)
            answer = link.getresponse()
            return answer.status, answer.headers.get("WWW-Authenticate", ""), answer.read()
        finally:
            link.close()

    def _context(self, host: str) -> ssl.SSLContext:
        """Return what this machine trusts, and what the server's engine does for this registry."""
        context = ssl.create_default_context()
        if _is_loopback(host):  # Docker looks at no certificate there
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        folder = shlex.quote(f"/etc/docker/certs.d/{host}")
        found = self._connection.run(f"cat {folder}/*.crt 2>/dev/null").output
        if "BEGIN CERTIFICATE" in found:
            context.load_verify_locations(cadata=found)
        return context


def _is_loopback(host: str) -> bool:
    """Tell whether Docker counts a registry as insecure of itself.

    Source: https://docs.docker.com/reference/cli/dockerd/#insecure-registries
    """
    name = host.partition(":")[0]
    return name == "localhost" or name.startswith("127.")
