"""The platform's folder: who it is, where each of its files stands, and that only one runs."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from custom_image.errors import Unavailable
from custom_image.files import write_whole

LABEL = "custom-image.platform"
"""Label of every container, volume and network of a platform; its value is the platform's id."""


@dataclass(frozen=True)
class Identity:
    """What stays the same for as long as the folder lives: addresses end up in image names.

    Attributes:
        id: tells the containers and networks of one platform from another's.
        secret_key: of the one user there is; also what registry logins are derived from.
        port: of the API, on loopback and on the gateway of the network.
    """

    id: str
    project_id: str
    access_key: str
    secret_key: str
    port: int
    registry_port: int

    def __repr__(self) -> str:
        return f"Identity(id={self.id!r}, access_key={self.access_key!r}, secret_key='***')"

    @property
    def network(self) -> str:
        """The name of the Docker network that instances live in."""
        return f"local-modelarts-{self.id}"

    @property
    def registry(self) -> str:
        """The host part of every image's address."""
        return f"127.0.0.1:{self.registry_port}"

    @property
    def images(self) -> str:
        """The name, in the engine, of the images that models were imported from."""
        return f"local-modelarts-{self.id}/models"

    @property
    def labels(self) -> dict[str, str]:
        """The labels of everything that the platform makes in the engine."""
        return {LABEL: self.id}


class Folder:
    """Files of one platform; everything below one directory, readable by its owner only."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.root.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)
        self.database = self.root / "state.sqlite"
        self.description = self.root / "platform.json"
        self.credentials = self.root / "credentials"
        self.registry = self.root / "registry"
        self.certificates = self.root / "certificates"
        self.obs = self.root / "obs"
        self.sfs = self.root / "sfs"
        self.warm_up = self.root / "warm-up"
        self.app = self.root / "app.json"
        self._lock: int | None = None

    def lock(self, patience_s: float = 0) -> None:
        """Keep any other platform out of this folder until this process ends.

        ``patience_s`` is how long one that is just ending is waited for.

        Raises:
            Unavailable: one runs here already.
        """
        self._lock = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise Unavailable(
                        f"a local ModelArts runs in {self.root} already; "
                        "see `custom-image platform status`, or choose another --folder."
                    ) from error
            time.sleep(0.02)

    def identity(self) -> Identity:
        """Return who this platform is, made up the first time."""
        path = self.root / "identity.json"
        if not path.exists():
            identity = Identity(
                id=secrets.token_hex(4),
                project_id=uuid.uuid4().hex,
                access_key=f"LOCAL{secrets.token_hex(8).upper()}",
                secret_key=secrets.token_urlsafe(30),
                port=free_port(),
                registry_port=free_port(),
            )
            write_secret(path, json.dumps(asdict(identity)))
        identity = Identity(**json.loads(path.read_text()))
        write_secret(self.credentials, credentials_text(identity))
        return identity

    def describe(self, description: dict[str, Any]) -> None:
        """Publish where the running platform is to be found; see ``platform status``."""
        write_secret(self.description, json.dumps(description, indent=2) + "\n")

    def instance(self, notebook_id: str) -> Path:
        """Return the directory whose files are mounted into one instance."""
        return self.root / "instances" / notebook_id


def credentials_text(identity: Identity) -> str:
    """Return the keys in the form that the official SDK reads from ``~/.huaweicloud/credentials``.

    Source: https://github.com/huaweicloud/huaweicloud-sdk-python-v3, "Profile" credentials.
    """
    return (
        f"[basic]\nak = {identity.access_key}\nsk = {identity.secret_key}\n"
        f"project_id = {identity.project_id}\n"
    )


def write_secret(path: Path, content: str | bytes, mode: int = 0o600) -> None:
    """Write a file whole or not at all, which its owner alone reads where no mode is given."""
    write_whole(path, content, mode=mode, fsync=True)


def free_port() -> int:
    """Return a port that is free on every address, below those that Linux lends to clients.

    The port must be free again at every later start: ip_local_port_range in ip(7).
    """
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            return port
