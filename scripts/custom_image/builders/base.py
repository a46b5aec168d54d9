"""The image that others are built on: a slim Python, or one made here without any registry."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from custom_image.errors import BuildFailed, Unavailable
from custom_image.progress import say
from custom_image.settings import find_workplace, project_files
from custom_image.target_python import DEFAULT

if TYPE_CHECKING:
    from custom_image.engines.docker.engine import DockerEngine

OWN_REPOSITORY: Final = "custom-image/base"
_SILENCE_S: Final = 15.0
# Exit code of docker/base/build.sh for a machine on which it cannot run at all.
_CANNOT_RUN_HERE: Final = 3
_CHANGES: Final = (
    "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    'CMD ["bash"]',
)
# What docker/base can be made of, by the Python that it then has.
_DEBIANS: Final = {"3.11": "bookworm", "3.13": "trixie"}
_refused: set[str] = set()


def slim_python(minor: str = DEFAULT) -> str:
    """Return the image of Docker Hub that has this Python on Debian 12."""
    return f"docker.io/library/python:{minor}-slim-bookworm"


# The default of BASE_IMAGE in the Dockerfiles; a test compares.
DEFAULT_BASE_IMAGE: Final = slim_python()


def ensure_base_image(
    reference: str = "",
    *,
    batch: bool = False,
    python: str = "",
    packages: tuple[str, ...] = (),
    engine: DockerEngine,
) -> str:
    """Return the name of a base image that the engine holds.

    That is ``reference``, else the one that the variable ``BASE_IMAGE`` names, else a slim Python,
    where it is there or can be pulled; otherwise one made of Debian packages by docker/base, once
    for each state of its recipe. A slim Python has no JRE and no zip, so for ``batch`` it is never
    tried. ``python`` is the version that it must have where it is not named, ``3.8``; ``packages``
    are Debian packages that it must have besides, which only one that is made here can.

    Raises:
        Unavailable: none is there, and none can be made on this machine.
        BuildFailed: the recipe failed; with its log.
    """
    python = python or DEFAULT
    own = own_base_image(batch=batch, python=python, packages=packages)

    def pull(wanted: str) -> bool:
        if wanted in _refused:
            return False
        try:
            say(f"pulling base image {wanted}")
            engine.pull(wanted, _SILENCE_S)
        except Unavailable as error:
            _refused.add(wanted)
            say(str(error))
            if python in _DEBIANS:
                say(f"Using a base made of Debian packages instead (docker/base): {own}")
            return False
        return True

    def make(_: str) -> str:
        if not engine.has_image(own):
            _make(own, batch, python, packages, engine)
        return own

    return choose_base_image(
        reference, batch, python, packages, has=engine.has_image, pull=pull, provide=make
    )


def choose_base_image(
    reference: str,
    batch: bool,
    python: str,
    packages: tuple[str, ...] = (),
    *,
    has: Callable[[str], bool],
    pull: Callable[[str], bool],
    provide: Callable[[str], str],
) -> str:
    """Return the name of a base image that an engine holds, wherever the engine is.

    The rule of :func:`ensure_base_image`: ``has`` and ``pull`` tell of an image whether the engine
    has it, and whether it could pull it; ``provide`` brings one in place of what was wanted.
    """
    named = "" if packages else reference or os.environ.get("BASE_IMAGE", "")
    wanted = named or ("" if batch or packages else slim_python(python))
    own = own_base_image(batch=batch, python=python, packages=packages)
    if wanted and has(wanted):
        return wanted
    if not named and has(own):
        return own  # no need to ask a registry each time for what was not there last time
    if wanted and pull(wanted):
        return wanted
    return provide(wanted)


def can_make(python: str) -> bool:
    """Tell whether docker/base can make a base with this Python."""
    return python in _DEBIANS


def own_base_image(
    *, batch: bool = False, python: str = DEFAULT, packages: tuple[str, ...] = ()
) -> str:
    """Return the name of the image that docker/base makes; it changes with the recipe."""
    recipe = hashlib.sha256()
    for path in sorted((project_files() / "docker/base").iterdir()):
        if path.is_file() and path.suffix != ".md":
            recipe.update(f"{path.name}\0".encode() + path.read_bytes())
    recipe.update("\0".join((*_CHANGES, *packages)).encode())
    variant = f"{'batch-' if batch else ''}{f'{python}-' if python != DEFAULT else ''}"
    return f"{OWN_REPOSITORY}:{variant}{recipe.hexdigest()[:12]}"


def _make(
    reference: str, batch: bool, python: str, packages: tuple[str, ...], engine: DockerEngine
) -> None:
    if python not in _DEBIANS:
        raise Unavailable(
            f"no base image with Python {python} can be made here: Debian has "
            f"{' and '.join(_DEBIANS)}.\n"
            "Name one that is there, or that can be pulled: --base-image, or BASE_IMAGE=..."
        )
    folder = find_workplace() / "build/base"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as new:
        tar_path = Path(new) / "root.tar"
        script = project_files() / "docker/base/build.sh"
        command = ["sh", str(script), str(tar_path), _DEBIANS[python]]
        command += ["batch" if batch else "real-time", *packages]
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
                f"Name one that is there, or that can be pulled: BASE_IMAGE=... (Python {python})"
            )
        if process.returncode:
            raise BuildFailed(f"docker/base/build.sh could not make {reference}:", log)
        title = f"Debian {_DEBIANS[python]} with Python {python}"
        label = f'LABEL org.opencontainers.image.title="{title}"'
        engine.import_root(tar_path, reference, [*_CHANGES, label])
