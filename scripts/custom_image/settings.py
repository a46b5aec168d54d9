"""Where the project is, so that a notebook, a terminal and CI all write below the same build/."""

from __future__ import annotations

import os
from pathlib import Path

from custom_image.errors import UsageError

_LANDMARKS = ("notebooks", "docker", "model_package")


def find_project(start: Path | None = None) -> Path:
    """Return the root of the checkout: the nearest one above ``start``, else this package's own.

    JupyterLab starts a kernel in ``notebooks/``, papermill in the root, a terminal anywhere; the
    package may be installed editable from a checkout or from a wheel far away from one.

    Args:
        start: where to look first; the working directory where None.

    Raises:
        UsageError: neither is inside a checkout of this repository.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents, *Path(__file__).resolve().parents):
        if all((folder / landmark).is_dir() for landmark in _LANDMARKS):
            return folder
    raise UsageError(
        f"{here} is not inside a checkout of this repository (a folder with "
        f"{', '.join(f'{name}/' for name in _LANDMARKS)}).\n"
        "Change to your clone first: the Dockerfiles and the notebooks live there."
    )


def enter_project() -> Path:
    """Make the checkout's root the working directory and return it as ``.``.

    Every function here takes paths such as ``build/model`` relative to the working directory.
    Relative paths also keep this machine's folders out of what is printed and committed.
    """
    os.chdir(find_project())
    return Path()
