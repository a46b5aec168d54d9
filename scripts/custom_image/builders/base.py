"""The image that others are built on: a slim Python, or one made here without any registry."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from custom_image.errors import BuildFailed, Unavailable
from custom_image.progress import say
from custom_image.settings import find_project

if TYPE_CHECKING:
    from custom_image.engines.docker.engine import DockerEngine

# The default of BASE_IMAGE in the Dockerfiles; a test compares.
DEFAULT_BASE_IMAGE: Final = "docker.io/library/python:3.11-slim-bookworm"
OWN_REPOSITORY: Final = "custom-image/base"
_SILENCE_S: Final = 15.0
# Exit code of docker/base/build.sh for a machine on which it cannot run at all.
_CANNOT_RUN_HERE: Final = 3
_CHANGES: Final = (
    "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    'CMD ["bash"]',
    'LABEL org.opencontainers.image.title="Debian 12 with Python 3.11"',
)
_refused: set[str] = set()


def ensure_base_image(reference: str = "", *, batch: bool = False, engine: DockerEngine) -> str:
    """Return the name of a base image that the engine holds.

    That is ``reference``, else the one that the variable ``BASE_IMAGE`` names, else a slim Python,
    where it is there or can be pulled; otherwise one made of Debian packages by docker/base, once
    for each state of its recipe. A slim Python has no JRE and no zip, so for ``batch`` it is never
    tried.

    Raises:
        Unavailable: none is there, and none can be made on this machine.
        BuildFailed: the recipe failed; with its log.
    """
    named = reference or os.environ.get("BASE_IMAGE", "")
    wanted = named or ("" if batch else DEFAULT_BASE_IMAGE)
    own = own_base_image(batch=batch)
    if wanted and engine.has_image(wanted):
        return wanted
    if not named and engine.has_image(own):
        return own  # no need to ask a registry each time for what was not there last time
    if wanted and wanted not in _refused:
        try:
            say(f"pulling base image {wanted}")
            engine.pull(wanted, _SILENCE_S)
        except Unavailable as error:
            _refused.add(wanted)
            say(f"{error}\nUsing a base made of Debian packages instead (docker/base): {own}")
        else:
            return wanted
    if not engine.has_image(own):
        _make(own, batch, engine)
    return own


def own_base_image(*, batch: bool = False) -> str:
    """Return the name of the image that docker/base makes; it changes with the recipe."""
    recipe = hashlib.sha256()
    for path in sorted((find_project() / "docker/base").iterdir()):
        if path.is_file() and path.suffix != ".md":
            recipe.update(f"{path.name}\0".encode() + path.read_bytes())
    recipe.update("\0".join(_CHANGES).encode())
    return f"{OWN_REPOSITORY}:{'batch-' if batch else ''}{recipe.hexdigest()[:12]}"


def _make(reference: str, batch: bool, engine: DockerEngine) -> None:
    folder = find_project() / "build/base"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as new:
        tar_path = Path(new) / "root.tar"
        script = find_project() / "docker/base/build.sh"
        command = ["sh", str(script), str(tar_path), *(["batch"] if batch else [])]
        log = []
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                log.append(line.rstrip())
                if line.startswith("base: "):
                    say(line.rstrip())
        if process.returncode == _CANNOT_RUN_HERE:
            raise Unavailable(
                f"no base image can be made here: {log[-1] if log else 'no reason given'}.\n"
                "Name one that is there, or that can be pulled: BASE_IMAGE=... (Python 3.11)"
            )
        if process.returncode:
            raise BuildFailed(f"docker/base/build.sh could not make {reference}:", log)
        engine.import_root(tar_path, reference, _CHANGES)
