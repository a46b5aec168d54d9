"""The registry's process: the Distribution project's program, or its image.

Either outlives a platform that is killed, and the next one takes it over. It listens on loopback
only, behind the proxy that clients speak to (:mod:`local_modelarts.registry.proxy`).

Source: https://distribution.github.io/distribution/about/configuration/
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from custom_image.engines.docker.service import DockerService
from custom_image.errors import Unavailable
from custom_image.settings import find_workplace
from local_modelarts.registry.certificates import Certificates
from local_modelarts.registry.logins import ISSUER, SERVICE
from local_modelarts.storage.paths import Identity

IMAGE_VARIABLE: Final = "REGISTRY_IMAGE"
DEFAULT_IMAGE: Final = "registry:2"
_STOP_TIMEOUT_S: Final = 20.0


def choose_server(
    folder: Path,
    identity: Identity,
    certificates: Certificates,
    port: int,
    *,
    program: str | None = None,
    image: str = DEFAULT_IMAGE,
) -> ProgramServer | ImageServer:
    """Return the program's server where there is the program, else the image's.

    Args:
        folder: what the registry keeps.
        identity: of this platform.
        certificates: that it answers with.
        port: where it listens.
        program: ``docker-registry``; empty for none, None for the one that is found.
        image: in place of the program. One that the variable ``REGISTRY_IMAGE`` names comes first.

    Raises:
        Unavailable: there is neither.
    """
    named = os.environ.get(IMAGE_VARIABLE, "").strip()
    program = find_program() if program is None else program
    if program and not named:
        return ProgramServer(program, folder, identity, certificates, port)
    image = named or image
    server = ImageServer(image, folder, identity, certificates, port)
    if not server.has_image():
        raise Unavailable(
            "there is no registry: neither the program docker-registry nor the image "
            f"{image}, which cannot be pulled.\nFetch the program with scripts/ensure_registry.sh "
            f"(root is not needed), or name an image in {IMAGE_VARIABLE}."
        )
    return server


def find_program() -> str:
    """Return the path of ``docker-registry``, installed or fetched; empty where there is none."""
    fetched = find_workplace() / "build/registry/usr/bin/docker-registry"
    return shutil.which("docker-registry") or (str(fetched) if fetched.exists() else "")


class ProgramServer:
    """The program as a process of its own."""

    def __init__(
        self, program: str, folder: Path, identity: Identity, certificates: Certificates, port: int
    ) -> None:
        self._program = program
        self._folder = folder
        self._config = folder / "config.yml"
        self._pid = folder / "registry.pid"
        self._content = _configuration(folder, identity, certificates, f"127.0.0.1:{port}")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it need not answer yet."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._config.write_text(self._content)
        with (self._folder / "registry.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "serve", str(self._config)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in the platform's terminal is not for it
            )
        self._pid.write_text(str(self._process.pid))

    def is_running(self) -> bool:
        """Tell whether its process lives, ours or one taken over."""
        if self._process is not None:
            # Not by /proc: for a moment after the start its command line is empty there.
            return self._process.poll() is None
        with suppress(OSError, ValueError):
            pid = int(self._pid.read_text())
            return str(self._config).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        return False

    def stop(self) -> None:
        """Stop it. Idempotent."""
        if not self.is_running():
            return
        os.kill(int(self._pid.read_text()), signal.SIGTERM)
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while self.is_running() and time.monotonic() < deadline:
            time.sleep(0.02)

    def explain(self) -> str:
        """Say where its log is."""
        return f"its log is {self._folder / 'registry.log'}."


class ImageServer:
    """The image as a container of the engine, on the same port and the same files."""

    def __init__(
        self, image: str, folder: Path, identity: Identity, certificates: Certificates, port: int
    ) -> None:
        self._image = image
        self._folder = folder
        self._identity = identity
        self._certificates = certificates
        self._service = DockerService(f"local-modelarts-registry-{identity.id}")
        # Inside it must listen on all addresses: the engine leads one port of loopback there.
        self._port = port
        self._content = _configuration(folder, identity, certificates, f"0.0.0.0:{port}")

    def has_image(self) -> bool:
        """Tell whether the image is there, or could be pulled."""
        return self._service.has_image(self._image)

    def start(self) -> None:
        """Start it; it need not answer yet.

        Raises:
            Unavailable: the engine cannot start it.
        """
        (self._folder / "storage").mkdir(parents=True, exist_ok=True)
        config = self._folder / "config.yml"
        config.write_text(self._content)
        self._service.start(
            self._image,
            ["registry", "serve", str(config)],
            port=self._port,
            folders={str(self._folder): True, str(self._certificates.key.parent): False},
            user=f"{os.geteuid()}:{os.getegid()}",
            labels=self._identity.labels,
        )

    def is_running(self) -> bool:
        """Tell whether its container runs."""
        return self._service.is_running()

    def stop(self) -> None:
        """Stop it. Idempotent."""
        self._service.stop()

    def explain(self) -> str:
        """Return the end of its log."""
        return f"its log ends in:\n{self._service.logs().strip()[-500:]}"


def _configuration(
    folder: Path, identity: Identity, certificates: Certificates, address: str
) -> str:
    """Return the registry's configuration; YAML reads JSON."""
    configuration: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(folder / "storage")},
            "delete": {"enabled": True},
        },
        "http": {"addr": address, "secret": identity.id},
        "auth": {
            "token": {
                "realm": f"http://127.0.0.1:{identity.port}/registry/token",
                "service": SERVICE,
                "issuer": ISSUER,
                "rootcertbundle": str(certificates.authority),
            }
        },
    }
    return json.dumps(configuration, indent=2)
