"""Files of a build context: which go where, and which are refused."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from custom_image.errors import PackageError

# Made by editors, notebooks, desktops and Python itself; never part of a package.
SKIPPED: Final = {
    *("__pycache__", ".ipynb_checkpoints", ".DS_Store", ".git", ".svn", ".mypy_cache"),
    *(".idea", ".vscode", "__MACOSX", "Thumbs.db", "desktop.ini"),
}
# AppleDouble: what macOS puts beside each file on a foreign file system.
_SKIPPED_START: Final = "._"
# What people edit. Everything else of a package is its weights, which get a layer of their own.
CODE_SUFFIXES: Final = {".py", ".json", ".txt", ".yaml", ".yml", ".toml", ".md"}
# Weights of PyTorch, as docker/requirements/torch.in serves them.
_TORCH_SUFFIXES: Final = {".pth", ".pt", ".pt2", ".safetensors"}
# Of a virtual environment, which is of the machine that made it: https://peps.python.org/pep-0405/
_OF_AN_ENVIRONMENT: Final = "pyvenv.cfg"
_LONGEST_NAME_BYTES: Final = 255


def is_weights(name: str) -> bool:
    """Tell whether a file of a model package is data of the model, by its name."""
    return Path(name).suffix.lower() not in CODE_SUFFIXES


def engine_of(names: Iterable[str]) -> str:
    """Return the engine that reads the weights among the files of a package: ``onnx``, ``torch``.

    A package without weights of either has an engine of its own, and gets what serves all.
    """
    suffixes = {Path(name).suffix.lower() for name in names}
    return "torch" if suffixes & _TORCH_SUFFIXES and ".onnx" not in suffixes else "onnx"


def list_files(folder: Path) -> list[str]:
    """Return the files below a folder as sorted relative paths with slashes.

    Raises:
        PackageError: one of them cannot become a file of an image: a link, a device, or a name
            that another system or a Dockerfile would read differently.
    """
    return sorted(_walk(folder, folder))


def _walk(folder: Path, root: Path) -> Iterator[str]:
    for path in sorted(folder.iterdir()):
        if path.name in SKIPPED or path.name.startswith(_SKIPPED_START) or path.suffix == ".pyc":
            continue
        _check_name(path)
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode) and (path / _OF_AN_ENVIRONMENT).is_file():
            continue
        if stat.S_ISDIR(mode):
            yield from _walk(path, root)
        elif stat.S_ISREG(mode):
            yield path.relative_to(root).as_posix()
        else:
            kind = "a link" if stat.S_ISLNK(mode) else "no regular file"
            raise PackageError(
                f"{path} is {kind}; an image gets plain files only.\n"
                "Put a copy of what it stands for in its place, or take it out of the package."
            )


def _check_name(path: Path) -> None:
    name, shown = path.name, ascii(str(path))
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise PackageError(
            f"{shown} has a name that is not UTF-8, which an image cannot hold.\nRename it."
        ) from None
    if size > _LONGEST_NAME_BYTES:
        raise PackageError(
            f"{shown} has a name of {size} bytes; a file system takes {_LONGEST_NAME_BYTES}.\n"
            "Rename it."
        )
    bad = [c for c in name if not c.isprintable() or c in "\\*?[]"]
    if bad or name != name.strip():
        what = f"{bad[0]!a} in its name" if bad else "a blank at an end of its name"
        raise PackageError(
            f"{shown} has {what}, which Dockerfiles and other systems read differently.\nRename it."
        )
