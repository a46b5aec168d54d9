"""The checkout on the disk of an instance, and its Python, before a notebook runs there.

The Python is the preset's own interpreter with a copy of the packages of the environment that this
very process runs in, so nothing is fetched.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from custom_image.engines.docker.copy import DockerWorkplace
from custom_image.errors import NotebookFailed
from custom_image.progress import say
from custom_image.settings import find_project
from custom_image.specification import GROUP_ID, NOTEBOOK_MOUNTS, USER_ID

_PROJECT_NAME: Final = "modelarts-custom-image"
# The extras of this project that a notebook uses in an instance.
_EXTRAS: Final = ("author", "cloud", "platform")
WORK: Final = NOTEBOOK_MOUNTS[0]
CHECKOUT: Final = f"{WORK}/{_PROJECT_NAME}"
_ENVIRONMENT: Final = f"{WORK}/environment"
_PACKAGES: Final = f"{_ENVIRONMENT}/lib/python3.11/site-packages"
OWNER: Final = (USER_ID.value, GROUP_ID.value)
# What a notebook reads, and what spares it a download and a training that were done before.
_PARTS: Final = (
    "docker", "model_package", "notebooks", "scripts", "pyproject.toml",
    "build/model", "build/model_package", "build/mnist",
)  # fmt: skip
COMMAND: Final = (
    f"{_ENVIRONMENT}/bin/python3", "-c", "from custom_image.cli import main; main()",
)  # fmt: skip
"""The command line of this tool, in an instance."""


def carry(place: DockerWorkplace, further: Sequence[str] = ()) -> None:
    """Copy this checkout and its Python environment onto the disk of an instance.

    Args:
        place: the instance.
        further: paths of the project that are copied besides its sources.

    Raises:
        NotebookFailed: the instance has no Python to make an environment with.
        Unavailable: the instance is gone, or its disk is full.
    """
    say("copying this checkout and its Python environment onto the disk of the instance")
    make = ["python3", "-m", "venv", "--without-pip", "--symlinks", _ENVIRONMENT]
    code, _, error = place.execute(make, folder=WORK)
    if code:
        raise NotebookFailed(f"the instance can make no Python environment:\n{error}")
    place.copy_in(_environment_files(), _PACKAGES, OWNER)
    place.copy_in(_checkout_files((*_PARTS, *further)), WORK, OWNER)
    paths = f"{CHECKOUT}/scripts\n{CHECKOUT}/model_package\n"
    write = ["sh", "-c", 'printf %s "$1" >"$2"', "sh", paths, f"{_PACKAGES}/checkout.pth"]
    place.execute(write, folder=WORK)


def _checkout_files(parts: Sequence[str]) -> Iterator[tuple[Path, str]]:
    project = find_project()
    folder = project / "docker"  # any folder: its mode is what is taken
    for name in ("", "build", "build/wheelhouse"):
        yield folder, f"{_PROJECT_NAME}/{name}"
    for part in parts:
        top = project / part
        paths = [top, *sorted(top.rglob("*"))] if top.is_dir() else [top]
        for path in paths:
            if path.exists() and not path.is_symlink() and "__pycache__" not in path.parts:
                yield path, f"{_PROJECT_NAME}/{path.relative_to(project)}"


def _environment_files() -> Iterator[tuple[Path, str]]:
    """Yield what this project and all that it requires have in this environment."""
    for name in sorted(_required(_PROJECT_NAME, {})):
        distribution = importlib.metadata.distribution(name)
        for file in distribution.files or ():
            path = Path(str(distribution.locate_file(file)))
            # Scripts name this machine's Python, and the editable install this machine's checkout.
            is_inside = ".." not in file.parts and not file.name.startswith("__editable__")
            is_needed = file.suffix not in (".pyc", ".a") and "include" not in file.parts
            if is_inside and is_needed and path.is_file():
                yield path, str(file)


def _required(name: str, found: dict[str, None]) -> dict[str, None]:
    """Return the names of a package and of everything that it requires, as installed here.

    Of extras, only those count that a notebook uses; one of another system is not installed.
    """
    normal = re.sub(r"[-_.]+", "-", name).lower()
    if normal not in found:
        try:
            requires = importlib.metadata.requires(normal) or []
        except importlib.metadata.PackageNotFoundError:
            return found  # one of another system
        found[normal] = None
        for text in requires:
            required = re.match(r"[A-Za-z0-9._-]+", text)
            extra = re.search(r"""\bextra\s*==\s*['"]([\w-]+)""", text)
            if required and (not extra or (normal == _PROJECT_NAME and extra[1] in _EXTRAS)):
                _required(required[0], found)
    return found
