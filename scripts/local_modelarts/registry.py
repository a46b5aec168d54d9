"""The real registry behind SWR: the Distribution project's, as a process of its own.

It outlives a platform that is killed, and the next one takes it over. It listens on loopback only,
where a Docker engine needs no certificate authority installed.

Source: https://distribution.github.io/distribution/about/configuration/
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import requests

from custom_image.errors import Unavailable
from custom_image.settings import find_project
from local_modelarts.certificates import Certificates
from local_modelarts.folder import Identity
from local_modelarts.login import ISSUER, SERVICE, Logins

_START_TIMEOUT_S: Final = 20.0
_ANSWER_TIMEOUT_S: Final = 20.0
_CATALOG_PAGE: Final = 1000  # the most that it gives at once
_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
_LISTS: Final = (
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
)
_ACCEPT: Final = ", ".join((_MANIFEST, "application/vnd.oci.image.manifest.v1+json", *_LISTS))


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
    """The registry's process, and a client of it that may do everything."""

    def __init__(
        self, folder: Path, identity: Identity, certificates: Certificates, logins: Logins
    ) -> None:
        self._folder = folder
        self._identity = identity
        self._certificates = certificates
        self._logins = logins
        self._process: subprocess.Popen[bytes] | None = None
        self._starting = threading.Lock()
        self.host = identity.registry
        self.authority = certificates.authority

    # --- the process ------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, or take over the one that a killed platform has left.

        Raises:
            Unavailable: it is not installed, or does not answer.
        """
        with self._starting:
            if self.is_running():
                return
            self._folder.mkdir(parents=True, exist_ok=True)
            self._config_path.write_text(json.dumps(self._config(), indent=2))
            with (self._folder / "registry.log").open("ab") as log:
                self._process = subprocess.Popen(
                    [find_binary(), "serve", str(self._config_path)],
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                    start_new_session=True,  # Ctrl-C in the platform's terminal is not for it
                )
            self._pid_path.write_text(str(self._process.pid))
            deadline = time.monotonic() + _START_TIMEOUT_S
            while not self._answers():
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise Unavailable(
                        f"the registry does not answer at {self.host}; "
                        f"its log is {self._folder / 'registry.log'}."
                    )
                time.sleep(0.05)

    def is_running(self) -> bool:
        """Tell whether its process lives, ours or one taken over."""
        if self._process is not None:
            self._process.poll()  # a dead child stays in the process table until it is asked for
        with suppress(OSError, ValueError):
            pid = int(self._pid_path.read_text())
            return str(self._config_path).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        return False

    def stop(self) -> None:
        """Stop it. Harmless when repeated."""
        if not self.is_running():
            return
        os.kill(int(self._pid_path.read_text()), signal.SIGTERM)
        deadline = time.monotonic() + _START_TIMEOUT_S
        while self.is_running() and time.monotonic() < deadline:
            time.sleep(0.02)

    @property
    def _config_path(self) -> Path:
        return self._folder / "config.yml"

    @property
    def _pid_path(self) -> Path:
        return self._folder / "registry.pid"

    def _config(self) -> dict[str, Any]:
        """Return its configuration; YAML reads JSON."""
        return {
            "version": "0.1",
            "log": {"level": "info", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(self._folder / "storage")},
                "delete": {"enabled": True},
            },
            "http": {
                "addr": self.host,
                "secret": self._identity.id,
                "tls": {
                    "certificate": str(self._certificates.certificate),
                    "key": str(self._certificates.key),
                },
            },
            "auth": {
                "token": {
                    "realm": f"http://127.0.0.1:{self._identity.port}/registry/token",
                    "service": SERVICE,
                    "issuer": ISSUER,
                    "rootcertbundle": str(self.authority),
                }
            },
        }

    def _answers(self) -> bool:
        try:
            return self._ask("GET", "/v2/").status_code in (200, 401)
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
            is_list=media_type in _LISTS,
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

    def _ask(
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
                f"https://{self.host}{path}",
                headers={"Authorization": f"Bearer {token}", **(headers or {})},
                data=body.encode(),
                verify=str(self.authority),
                timeout=_ANSWER_TIMEOUT_S,
            )
        except requests.exceptions.RequestException as error:
            raise Unavailable(f"the registry at {self.host} does not answer: {error}") from error


def find_binary() -> str:
    """Return the path of ``docker-registry``.

    Raises:
        Unavailable: it is neither installed nor fetched by scripts/ensure_registry.sh.
    """
    fetched = find_project() / "build/registry/usr/bin/docker-registry"
    if found := shutil.which("docker-registry"):
        return found
    if fetched.exists():
        return str(fetched)
    raise Unavailable(
        "there is no registry (the program docker-registry, of the Debian package of that name).\n"
        "Fetch it with scripts/ensure_registry.sh; root is not needed."
    )


def _access(repository: str, *actions: str) -> dict[str, Any]:
    return {"type": "repository", "name": repository, "actions": list(actions)}
