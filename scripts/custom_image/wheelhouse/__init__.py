"""Python packages as wheels, fetched here so that the image builds without a network.

They come from wherever the author's own pip looks (index, mirror, proxy, certificate), so none of
that is ever told to the image; the lock's hashes say that they are the right ones wherever they
came from. torch alone has a version and no hash: its CPU build is another file on every index.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import parse_wheel_filename

from custom_image.errors import BuildFailed, UsageError
from custom_image.extras import torch_requirement
from custom_image.progress import say
from custom_image.target_python import TargetPython
from custom_image.wheelhouse.download import download
from custom_image.wheelhouse.locks import lock_files

# Source: https://github.com/pytorch/pytorch/blob/main/RELEASE.md#release-compatibility-matrix
_LAST_TORCH: Final = {"3.7": "1.13.1", "3.8": "2.4.1", "3.9": "2.8.0"}
# Only asked where pip's own configuration knows no CPU build, as in scripts/install_torch.sh.
_TORCH_INDEX: Final = "https://download.pytorch.org/whl/cpu"

__all__ = ["fill_wheelhouse", "lock_files", "read_requirements", "torch_pin"]


def torch_pin(python: TargetPython | None = None) -> str:
    """Return the CPU build of the torch that this project is pinned to: an image needs no CUDA.

    For a Python that it has no wheel for any more, the last one that had.
    """
    if python and python.minor in _LAST_TORCH:
        return f"torch=={_LAST_TORCH[python.minor]}+cpu"
    return f"{torch_requirement()}+cpu"


def fill_wheelhouse(
    locks: Sequence[Path],
    *,
    torch: str = "",
    more: Path | None = None,
    python: TargetPython | None = None,
    cache_dir: Path = Path("build/wheelhouse"),
) -> Path:
    """Return a folder with exactly the wheels of the locks, fetched where it is not there yet.

    The folder is named by what is in the locks, so a changed lock never meets an old wheel. With
    ``torch``, its file ``torch.txt`` is a lock of the wheel that came, with the hash it has; with
    ``more``, its file ``more.txt`` is one of what came beyond the locks.

    Args:
        locks: requirements with hashes, every package pinned.
        torch: a pin without a hash, see :func:`torch_pin`; empty for an image without torch.
        more: requirements beyond the locks, one a line; what they depend on comes along, in the
            versions of the locks where those have it.
        python: what the wheels must run on; that of Debian 12 by default.
        cache_dir: holds one folder a set of locks.

    Raises:
        UsageError: a lock is missing, or a line of ``more`` is no requirement.
        BuildFailed: pip finds no wheel for one of the packages, or one with another hash, or
            ``more`` and the locks cannot be installed together.
    """
    python = python or TargetPython()
    missing = [str(lock) for lock in locks if not lock.is_file()]
    if missing:
        raise UsageError(f"no lock {', '.join(missing)}; `make lock` writes docker/requirements/.")
    texts = [lock.read_bytes() for lock in locks]
    if more:
        texts.append("\n".join(read_requirements(more)).encode())
    version = python.version if more else python.minor
    wanted = (python.machine, version, str(python.glibc), torch)
    named = [name.encode() for name in wanted if name]
    key = hashlib.sha256(b"\0".join([*texts, *named]))
    folder = cache_dir / key.hexdigest()[:16]
    if folder.is_dir():
        return folder
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir, prefix=".new-") as new:
        wheels = Path(new) / "wheels"
        if more:
            known = fill_wheelhouse(locks, torch=torch, python=python, cache_dir=cache_dir)
            shutil.copytree(known, wheels)
            say(f"fetching wheels of {more.name} with pip")
            _download_more(more, locks, torch, python, wheels)
        else:
            names = [lock.name for lock in locks] + ([torch] if torch else [])
            say(f"fetching wheels of {', '.join(names)} with pip")
            download(_arguments(locks), python, wheels)
            if torch:
                _download_torch(torch, python, wheels)
        wheels.rename(folder)  # complete or not there at all
    return folder


def _arguments(locks: Sequence[Path]) -> list[str]:
    return ["--require-hashes", *(part for lock in locks for part in ("--requirement", str(lock)))]


def _download_torch(pin: str, python: TargetPython, wheels: Path) -> None:
    folder = wheels.with_name("torch")
    try:
        download([pin], python, folder)
    except BuildFailed as error:
        try:
            download(["--index-url", _TORCH_INDEX, pin], python, folder)
        except BuildFailed:
            raise error from None  # what the author's own pip said is what the author can fix
    (wheel,) = folder.iterdir()
    (wheels / "torch.txt").write_text(_locked(pin, wheel))
    shutil.move(wheel, wheels / wheel.name)


def _download_more(
    more: Path, locks: Sequence[Path], torch: str, python: TargetPython, wheels: Path
) -> None:
    folder, pins = wheels.with_name("more"), wheels.with_name("pins.txt")
    # Without their hashes, which pip would ask of every requirement.
    text = "\n".join(lock.read_text(encoding="utf-8") for lock in locks)
    locked = re.findall(r"^[^\s#]+==[^\s;\\]+", text, re.MULTILINE)
    pins.write_text("\n".join([*locked, torch]))
    arguments = ["--find-links", str(wheels), "--constraint", str(pins)]
    folder.mkdir()
    download([*arguments, *read_requirements(more)], python, folder, with_dependencies=True)
    lines = []
    for wheel in sorted(folder.iterdir()):
        if not (wheels / wheel.name).exists():
            name, version, *_ = parse_wheel_filename(wheel.name)
            lines.append(_locked(f"{name}=={version}", wheel))
            shutil.move(wheel, wheels / wheel.name)
    (wheels / "more.txt").write_text("".join(lines))


def read_requirements(file: Path) -> list[str]:
    """Return the requirements of a file, one a line.

    Raises:
        UsageError: the file cannot be read, or a line is anything else.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}") from error
    found = []
    for number, line in enumerate(lines, 1):
        text = re.sub(r"(^|\s)#.*", "", line).strip()
        if not text:
            continue
        try:
            found.append(str(Requirement(text)))
        except InvalidRequirement:
            raise UsageError(
                f"{file}, line {number}: expected a requirement such as `scikit-learn==1.9.1`, "
                f"found {line.strip()!r}.\n"
                "Options of pip, such as an index, belong into its configuration (`pip config`); "
                "the build adds hashes."
            ) from None
    return found


def _locked(pin: str, wheel: Path) -> str:
    with wheel.open("rb") as file:
        return f"{pin} --hash=sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}\n"
