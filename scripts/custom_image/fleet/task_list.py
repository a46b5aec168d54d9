"""The lines of a list as commands: folders to build, notebooks to run."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from custom_image.errors import CustomImageError, UsageError
from custom_image.fleet.image_list import image_reference
from custom_image.fleet.list_file import BadLine, read_list
from custom_image.fleet.tasks import Task
from custom_image.fleet.unit import Unit

RUNS: Final = "notebooks"
_SCENARIO: Final = "dockerfile_build"
_CODE: Final = "customize_service.py"
_SET_BY_BUILD: Final = ("--package", "--context", "--tag", "--server", "--ssh-config", "--format")
_SET_BY_RUN: Final = ("--output-dir", "--in-instance", "--here", "--again", "--format")
_JSON: Final = ("--format", "json")

Tasks = tuple[tuple[Task, ...], tuple[BadLine, ...]]


def read_builds(source: Path, options: Sequence[str]) -> Tasks:
    """Read a file of folders, each with the name of its image behind it or without.

    A folder is relative to the file. One that holds a Dockerfile and no customize_service.py is a
    build context of its author's own; any other is a package. Without a name the image is called
    as the folder is.

    Args:
        source: the file.
        options: of `custom-image build`, the same for every folder.

    Raises:
        UsageError: the file cannot be read, or an option that a fleet sets itself.
    """
    _refuse(options, _SET_BY_BUILD)
    owners: dict[str, str] = {}

    def parse(line: str) -> Task:
        name, *more = _words(line)
        folder = (source.parent / name).resolve()
        if not folder.is_dir():
            raise UsageError(f"names no package: there is no folder {folder}")
        if len(more) > 1:
            raise UsageError("names no package: expected a folder and the name of its image")
        tag = image_reference(more[0] if more else f"{folder.name.lower()}:latest")
        if owners.setdefault(tag, line) != line:
            raise UsageError(f"would replace {tag}, the image of {owners[tag]!r}")
        is_own = (folder / "Dockerfile").is_file() and not (folder / _CODE).is_file()
        given = ("--context" if is_own else "--package", str(folder))
        arguments = ("build", _SCENARIO, *given, "--tag", tag, *options, *_JSON)
        return Task(line, Unit(arguments, makes=tag), tag, _digest(folder))

    return read_list(source, parse, "a file with a folder a line, and behind it a name or nothing")


def read_notebooks(source: Path, folder: Path, options: Sequence[str]) -> Tasks:
    """Read a file of notebooks, each with parameters behind it: ``dockerfile_build epochs=2``.

    Args:
        source: the file; the path of a notebook is relative to it.
        folder: each executed notebook gets a folder below it.
        options: of `custom-image notebooks run`, the same for every notebook.

    Raises:
        UsageError: the file cannot be read, or an option that a fleet sets itself.
    """
    from custom_image.notebooks.parameters import choose_values, find_notebook, parse_values

    _refuse(options, _SET_BY_RUN)

    def parse(line: str) -> Task:
        name, *pairs = _words(line)
        path = (source.parent / name).resolve()
        name = str(path) if path.suffix == ".ipynb" and path.is_file() else name
        try:
            notebook = find_notebook(name)
            choose_values(notebook, parse_values(notebook, pairs))
        except CustomImageError as error:
            raise UsageError(f"names no notebook to run: {error}") from error
        given = chain.from_iterable(("-p", pair) for pair in pairs)
        digest = hashlib.sha256(line.encode()).hexdigest()[:8]  # of the parameters too
        place = folder.resolve() / RUNS / f"{notebook.stem}-{digest}"
        output = ("--output-dir", str(place))
        arguments = ("notebooks", "run", name, *given, *output, *options, *_JSON)
        return Task(line, Unit(arguments), str(place / notebook.name), _digest(notebook))

    return read_list(source, parse, "a file with a notebook a line, and NAME=VALUE behind it")


def _words(line: str) -> list[str]:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"cannot be read: {error}") from error
    if wrong := next((word for word in words if word.startswith("-")), ""):
        raise UsageError(f"has {wrong!r}: options stand behind -- on the command line")
    return words


def _refuse(options: Iterable[str], ours: Sequence[str]) -> None:
    for option in options:
        if option.partition("=")[0] in ours:
            raise UsageError(f"{option}: a fleet sets it itself, or it belongs to one run.")


def _digest(path: Path) -> str:
    """Return the digest of a file, or of the names and contents of all files in a folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    whole = hashlib.sha256()
    for file in files:
        whole.update(f"{file.relative_to(path.parent)}\0".encode(errors="surrogateescape"))
        if file.is_symlink():
            whole.update(str(file.readlink()).encode(errors="surrogateescape"))
        elif file.is_file():
            with file.open("rb") as content:
                whole.update(hashlib.file_digest(content, "sha256").digest())
    return whole.hexdigest()
