"""The project's folder: a notebook, a terminal and CI all write below the same build/."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from custom_image.errors import UsageError

_LANDMARKS = ("notebooks", "docker", "model_package")
_PACKAGE: Final = Path(__file__).resolve().parent
# What setup.py lays into a wheel: docker/, model_package/, notebooks/ and the scripts of servers.
_IN_A_WHEEL: Final = _PACKAGE / "data" / "project"


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
    found = next(filter(_is_checkout, (here, *here.parents, *_PACKAGE.parents)), None)
    if found is None:
        raise UsageError(
            f"{here} is not inside a checkout of this repository (a folder with "
            f"{', '.join(f'{name}/' for name in _LANDMARKS)}).\n"
            "Change to your clone first."
        )
    return found


def find_workplace() -> Path:
    """Return where build/ is: in the checkout, or in the working directory outside of one."""
    with suppress(UsageError):
        return find_project()
    return Path.cwd()


def project_files() -> Path:
    """Return the folder with docker/, model_package/, notebooks/ and scripts/ of this version.

    That is the checkout that this package was installed from, or its copy in the wheel.
    """
    return next(filter(_is_checkout, _PACKAGE.parents), _IN_A_WHEEL)


def enter_project() -> Path:
    """Make the checkout's root the working directory, where there is one, and return it as ``.``.

    Every function here takes paths such as ``build/model`` relative to the working directory.
    Relative paths also keep this machine's folders out of what is printed and committed.
    """
    os.chdir(find_workplace())
    return Path()


def _is_checkout(folder: Path) -> bool:
    return all((folder / name).is_dir() for name in _LANDMARKS)
