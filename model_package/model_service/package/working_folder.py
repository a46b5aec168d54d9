"""A working folder for each worker, laid out as ``/home/mind`` is on the platform.

Inference code stores uploads under one fixed name, in the working folder or beside the weights; it
counts on a folder called ``model`` above its files, and reads ``model/1/...`` from the working
folder. Two workers in one folder mix their answers up, so each gets a copy of the package. What is
large is linked, not copied.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import tempfile
from pathlib import Path

from model_service.package.source import PackageCode

log = logging.getLogger("model_service")

PLATFORM_FOLDER = Path("/home/mind/model")
"""Where the platform has the package; in an image made here a link, which is led to worker 0."""
LARGE_BYTES = 16 * 2**20
COPIED_BYTES = 64 * 2**20
"""A file beyond the first is linked, and what would make the copies larger than the second."""


def make_root() -> Path | None:
    """Return a folder for the folders of the workers, or None where nothing can be written."""
    for parent in (None, "/dev/shm"):
        with contextlib.suppress(OSError):
            root = Path(os.path.realpath(tempfile.mkdtemp(prefix="mind-", dir=parent)))
            _lead_platform_folder_to(root / "0")
            return root
    log.warning("no folder can be written: all workers share the package's own folder")
    return None


def remove_root(root: Path | None) -> None:
    """Remove the folders of all workers."""
    if root is not None:
        shutil.rmtree(root, ignore_errors=True)


def _lead_platform_folder_to(folder: Path) -> None:
    """Let ``/home/mind/model``, where it is a link of this project's images, lead to a folder."""
    with contextlib.suppress(OSError):
        target = Path(os.readlink(PLATFORM_FOLDER)).parent
        if target.is_symlink() or not target.exists():
            link = target.with_name(f"{target.name}-{os.getpid()}")
            link.symlink_to(folder)
            link.replace(target)


def enter(root: Path, slot: int, package: Path, code: PackageCode) -> Path:
    """Make a worker's folder, go there, and return its copy of the package.

    Raises:
        OSError: the device is full, for example.
    """
    folder = root / str(slot)
    shutil.rmtree(folder, ignore_errors=True)
    copy = folder / "model" / "1" if code.of_tensorflow else folder / "model"
    copy.parent.mkdir(parents=True)
    large = find_large_files(package)
    if _is_linked_whole(large):
        _link(copy, package.resolve())
    else:
        _copy(package, copy, large)
        if not code.of_tensorflow and code.says("model/1"):
            _link(copy / "1", Path())
    for entry in copy.iterdir():
        _link(folder / entry.name, entry)
    os.chdir(folder)
    return copy


def why_one_worker(root: Path | None, package: Path, code: PackageCode) -> str:
    """Return why a folder for each worker does not keep the files of requests apart, or nothing."""
    if not code.writes_files:
        return ""
    if code.shared_place:
        return f"it writes files and names {code.shared_place}, one place for all workers"
    if root is None:
        return "it writes files, and there is no room for a folder for each worker"
    large = find_large_files(package)
    if _is_linked_whole(large) or (large and (code.says("realpath") or code.says(".resolve("))):
        return f"it may write files beside {large[-1].name}, which is too large to be copied"
    return ""


def find_large_files(package: Path) -> list[Path]:
    """Return the files that are linked, not copied, from the smallest to the largest."""
    files = (Path(parent, name) for parent, _, names in os.walk(package) for name in names)
    sizes = sorted((path.stat().st_size, path) for path in files if path.is_file())
    large, left_bytes = [], COPIED_BYTES
    for size_bytes, path in sizes:
        left_bytes -= size_bytes
        if size_bytes > LARGE_BYTES or left_bytes < 0:
            large.append(path)
    return large


def _is_linked_whole(large: list[Path]) -> bool:
    """Whether the folder is linked, not its files: an ONNX model may not lead out of its folder.

    Source: ONNX Runtime, "External data path escapes model directory".
    """
    return any(file.suffix == ".onnx" for path in large for file in path.parent.glob("*.onnx"))


def _copy(package: Path, copy: Path, large: list[Path]) -> None:
    copy.mkdir()
    for parent, folders, files in os.walk(package):
        here = copy / os.path.relpath(parent, package)
        for name in folders:
            path = Path(parent, name)
            if path.is_symlink():
                _link(here / name, path.resolve())
            else:
                (here / name).mkdir()
        for name in files:
            path = Path(parent, name)
            if path in large or not path.is_file():
                _link(here / name, path.resolve())
            else:
                shutil.copy(path, here / name)


def _link(place: Path, target: Path) -> None:
    with contextlib.suppress(FileExistsError):
        place.symlink_to(target)
