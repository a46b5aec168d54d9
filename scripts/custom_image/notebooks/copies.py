"""The notebooks as files of one's own, for who has no clone."""

from __future__ import annotations

import shutil
from pathlib import Path

from custom_image.errors import UsageError
from custom_image.settings import project_files


def copy_notebooks(folder: Path) -> list[Path]:
    """Copy the notebooks with their parameters into a folder; return them in reading order.

    Raises:
        UsageError: one of the files is there already, or cannot be written; none is replaced.
    """
    source = project_files() / "notebooks"
    files = [
        path
        for pattern in ("*.ipynb", "README.md", "parameters/*.yaml")
        for path in sorted(source.glob(pattern))
    ]
    targets = {path: folder / path.relative_to(source) for path in files}
    if there := next(filter(Path.exists, targets.values()), None):
        raise UsageError(f"{there} is there, and would be replaced.\nName another folder.")
    try:
        for path, target in targets.items():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written ({error.strerror}).") from error
    return [target for target in targets.values() if target.suffix == ".ipynb"]
