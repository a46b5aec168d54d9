"""A registry's content, asked through the server that will push to it."""

from __future__ import annotations

import shlex
import ssl
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from requests.adapters import HTTPAdapter

from custom_image.image_archive import media_types
from custom_image.registry_client import Blob, RegistryClient

if TYPE_CHECKING:
    from requests import PreparedRequest, Response

    from custom_image.cloud.images import Login
    from custom_image.ecs.ssh.connection import Connection
    from custom_image.image_reference import ImageReference

_OTHER_TAGS: Final = 5
"""How many tags beside its own are looked at for layers that are there."""
_MANIFESTS: Final = f"{media_types.DOCKER_IMAGE}, {media_types.OCI_IMAGE}"
_PORTS: Final = {"http": 80, "https": 443}


class Registry(RegistryClient):
    """A registry, reached from the server, with the login of one who may push."""

    def __init__(self, connection: Connection, host: str, login: Login | None = None) -> None:
        user, password = (login.user, login.password) if login else ("", "")
        super().__init__(host, user, password, adapter=_ThroughServer(connection))

    def known_layers(self, reference: ImageReference) -> dict[str, Blob]:
        """Return the layers of a repository by the digest of their uncompressed content.

        Raises:
            Unavailable: the registry cannot be asked.
        """
        name = reference.repository
        scope = f"repository:{name}:pull"
        listed = self.pages(f"/v2/{name}/tags/list", "tags", scope, expected=(200, 404))
        tags = [tag for tag in listed if tag != reference.tag]
        known: dict[str, Blob] = {}
        for tag in [reference.tag, *tags[-_OTHER_TAGS:]]:
            manifest = self._manifest(name, tag)
            if "config" not in manifest:
                continue
            config = self.document(f"/v2/{name}/blobs/{manifest['config']['digest']}", scope)
            layers = [Blob(m["digest"], int(m["size"])) for m in manifest["layers"]]
            known |= dict(zip(config.get("rootfs", {}).get("diff_ids", ()), layers, strict=False))
        return {d: blob for d, blob in known.items() if self.find_blob(name, blob.digest, scope)}

    def size_bytes(self, reference: ImageReference) -> int:
        """Return what an image takes there, compressed; 0 where it is not there."""
        manifest = self._manifest(reference.repository, reference.tag)
        parts = [manifest.get("config", {}), *manifest.get("layers", [])]
        return sum(int(part.get("size", 0)) for part in parts)

    def _manifest(self, name: str, tag: str) -> dict[str, Any]:
        return self.document(
            f"/v2/{name}/manifests/{tag}", f"repository:{name}:pull", accept=_MANIFESTS
        )


class _ThroughServer(HTTPAdapter):
    """Leads requests through the server; names and certificates stay those of the registry."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self._connection = connection
        self._ports: dict[tuple[str, int], int] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}

    def send(self, request: PreparedRequest, *details: Any, **options: Any) -> Response:
        request.headers["Host"] = urlsplit(str(request.url)).netloc
        return super().send(request, *details, **options)

    def build_connection_pool_key_attributes(
        self, request: PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        host, own = super().build_connection_pool_key_attributes(request, verify, cert)
        tls: dict[str, Any] = {**own}
        end = (host["host"], host["port"] or _PORTS[host["scheme"]])
        if end not in self._ports:
            self._ports[end] = self._connection.forward_port(end[1], end[0])
        if host["scheme"] == "https":
            tls["server_hostname"] = host["host"]
        if host["scheme"] == "https" and verify:
            tls["ssl_context"] = self._context(urlsplit(str(request.url)).netloc)
        return {**host, "host": "127.0.0.1", "port": self._ports[end]}, tls

    def _context(self, host: str) -> ssl.SSLContext:
        """Return what this machine trusts, and what the server's engine does for this registry."""
        if host not in self._contexts:
            context = ssl.create_default_context()
            folder = shlex.quote(f"/etc/docker/certs.d/{host}")
            found = self._connection.run(f"cat {folder}/*.crt 2>/dev/null").output
            if "BEGIN CERTIFICATE" in found:
                context.load_verify_locations(cadata=found)
            self._contexts[host] = context
        return self._contexts[host]
