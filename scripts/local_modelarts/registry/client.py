"""The real registry behind SWR, and a client of it that may do everything.

Source: https://distribution.github.io/distribution/spec/api/
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import requests

from custom_image.errors import Unavailable
from custom_image.image_archive import media_types
from local_modelarts.registry.certificates import Certificates
from local_modelarts.registry.logins import Logins
from local_modelarts.registry.process import ImageServer, ProgramServer, choose_server
from local_modelarts.registry.proxy import LOOPBACK, RegistryProxy
from local_modelarts.storage.paths import Identity, free_port

_START_TIMEOUT_S: Final = 50.0
_POLL_S: Final = 0.05
_ANSWER_TIMEOUT_S: Final = 20.0
_CATALOG_PAGE: Final = 1000  # the most that it gives at once
_ACCEPT: Final = ", ".join(media_types.MANIFESTS)


@dataclass(frozen=True)
class Manifest:
    """What the registry holds under a tag.

    Attributes:
        digest: ``sha256:...``.
        size_bytes: of the layers as they are stored, compressed.
        is_list: it names several images, one for each architecture.
    """

    digest: str
    media_type: str
    text: str
    size_bytes: int
    is_list: bool


class Registry:
    """The registry: what serves it (:mod:`local_modelarts.registry.process`), and what it holds.

    Clients reach it by the proxy (:mod:`local_modelarts.registry.proxy`), the platform directly.
    """

    def __init__(
        self, folder: Path, identity: Identity, certificates: Certificates, logins: Logins
    ) -> None:
        self._folder = folder
        self._identity = identity
        self._certificates = certificates
        self._logins = logins
        self._starting = threading.Lock()
        self._is_wanted = False
        self.host = identity.registry
        self.authority = certificates.authority

    # --- the server -------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, or take over the one that a killed platform has left; it answers then.

        Whether its process lives says too little: one that was just killed refuses connections
        before it can be waited for. What does not answer and does not run is started, once.

        Raises:
            Unavailable: there is none, or it does not answer.
        """
        self._is_wanted = True
        with self._starting:
            self._proxy.start()
            deadline = time.monotonic() + _START_TIMEOUT_S
            is_new = False
            while not self._answers():
                is_running = self._server.is_running()
                if time.monotonic() > deadline or (is_new and not is_running):
                    raise Unavailable(
                        f"the registry does not answer at {self.host}; {self._server.explain()}"
                    )
                if not is_running:
                    self._server.start()
                    is_new = True
                time.sleep(_POLL_S)

    def watch(self) -> None:
        """Start it again where it has died.

        Raises:
            Unavailable: it does not answer.
        """
        if not self._server.is_running():
            self.start()

    def stop(self) -> None:
        """Stop it. Idempotent."""
        self._is_wanted = False
        self._proxy.stop()
        self._server.stop()

    @cached_property
    def _server(self) -> ProgramServer | ImageServer:
        return choose_server(self._folder, self._identity, self._certificates, self._port)

    @cached_property
    def _proxy(self) -> RegistryProxy:
        return RegistryProxy(self._identity.registry_port, self._port, self._certificates)

    @cached_property
    def _port(self) -> int:
        """The registry's own port, which stays the same: one that is left running is found."""
        path = self._folder / "port"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            path.write_text(str(free_port()))
        return int(path.read_text())

    def _answers(self) -> bool:
        try:
            return self._send("GET", "/v2/").status_code in (200, 401)
        except Unavailable:
            return False

    # --- its contents -----------------------------------------------------------------------------

    def repositories(self) -> list[str]:
        """Return the full names of all repositories, ``organization/name``."""
        access = {"type": "registry", "name": "catalog", "actions": ["*"]}
        found: list[str] = []
        while True:
            last = f"&last={quote(found[-1])}" if found else ""
            answer = self._ask("GET", f"/v2/_catalog?n={_CATALOG_PAGE}{last}", access)
            names = answer.json().get("repositories") or []
            found += names
            if len(names) < _CATALOG_PAGE:
                return found

    def tags(self, repository: str) -> list[str]:
        """Return the tags of a repository; none where there is no such repository."""
        answer = self._ask("GET", f"/v2/{repository}/tags/list", _access(repository, "pull"))
        return sorted(answer.json().get("tags") or []) if answer.ok else []

    def manifest(self, repository: str, tag: str) -> Manifest | None:
        """Return what stands under a tag, or None."""
        path = f"/v2/{repository}/manifests/{tag}"
        answer = self._ask("GET", path, _access(repository, "pull"), {"Accept": _ACCEPT})
        if not answer.ok:
            return None
        content = answer.json()
        parts = [content.get("config", {}), *content.get("layers", [])]
        media_type = answer.headers["Content-Type"]
        return Manifest(
            digest=answer.headers["Docker-Content-Digest"],
            media_type=media_type,
            text=answer.text,
            size_bytes=sum(int(part.get("size", 0)) for part in parts),
            is_list=media_type in media_types.INDEXES,
        )

    def delete_tag(self, repository: str, tag: str) -> bool:
        """Delete one tag and tell whether it was there; other tags of the same image stay.

        The protocol knows no deletion of a tag, only of what it points to, with all its tags:
        https://github.com/distribution/distribution/issues/1859. The others are put back.
        """
        manifest = self.manifest(repository, tag)
        if manifest is None:
            return False
        twins = [
            other
            for other in self.tags(repository)
            if other != tag
            and (found := self.manifest(repository, other))
            and found.digest == manifest.digest
        ]
        path = f"/v2/{repository}/manifests/"
        self._ask("DELETE", path + manifest.digest, _access(repository, "delete"))
        for twin in twins:
            self._ask(
                "PUT",
                path + twin,
                _access(repository, "pull", "push"),
                {"Content-Type": manifest.media_type},
                manifest.text,
            )
        return True

    def _ask(self, method: str, path: str, *details: Any) -> requests.Response:
        try:
            return self._send(method, path, *details)
        except Unavailable:
            if not self._is_wanted:
                raise
        # It died since the platform looked last. Who asks need not wait for the next look.
        self.start()
        return self._send(method, path, *details)

    def _send(
        self,
        method: str,
        path: str,
        access: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        body: str = "",
    ) -> requests.Response:
        token = self._logins.token([access] if access else [])
        try:
            return requests.request(
                method,
                f"http://{LOOPBACK}:{self._port}{path}",
                headers={"Authorization": f"Bearer {token}", **(headers or {})},
                data=body.encode(),
                timeout=_ANSWER_TIMEOUT_S,
            )
        except requests.exceptions.RequestException as error:
            raise Unavailable(f"the registry at {self.host} does not answer: {error}") from error


def _access(repository: str, *actions: str) -> dict[str, Any]:
    return {"type": "repository", "name": repository, "actions": list(actions)}
