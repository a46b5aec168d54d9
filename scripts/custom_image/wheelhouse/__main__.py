"""``python -m custom_image.wheelhouse [--upgrade]``: lock what images install, for every Python."""

from __future__ import annotations

import sys

from custom_image.progress import say
from custom_image.settings import find_project
from custom_image.target_python import SUPPORTED
from custom_image.wheelhouse.locks import write_locks


def main(*options: str) -> None:
    """Write all locks of the project."""
    for minor in SUPPORTED:
        say(f"locking for Python {minor}")
        folder = find_project() / "docker/requirements"
        write_locks(folder, minor, upgrade="--upgrade" in options)


if __name__ == "__main__":
    main(*sys.argv[1:])
