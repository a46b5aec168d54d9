"""Python packages as wheels, fetched here so that the image builds without a network.

They come from wherever the author's own pip looks (index, mirror, proxy, certificate), so none of
that is ever told to the image; the lock's hashes say that they are the right ones wherever they
came from. torch alone has a version and no hash: its CPU build is another file on every index.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import parse_wheel_filename

from custom_image.errors import BuildFailed, UsageError
from custom_image.progress import say

PYTHON_VERSION: Final = "3.11"
# glibc of Debian 12, the oldest base that is meant to work; wheels for any older one run there too.
_GLIBC_MINOR: Final = 36
_MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
# PEP 600: manylinux1, 2010 and 2014 are the older names of these three.
_OLD_NAMES: Final = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}
# Only asked where pip's own configuration knows no CPU build, as in scripts/install_torch.sh.
_TORCH_INDEX: Final = "https://download.pytorch.org/whl/cpu"


def torch_pin() -> str:
    """Return the CPU build of the torch that this project is pinned to: an image needs no CUDA."""
    requirements = importlib.metadata.requires("modelarts-custom-image") or []
    return next(line for line in requirements if line.startswith("torch==")) + "+cpu"


def fill_wheelhouse(
    locks: Sequence[Path],
    *,
    torch: str = "",
    more: Path | None = None,
    machine: str = "",
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
        machine: what the image runs on, such as ``x86_64``; this machine's where empty.
        cache_dir: holds one folder a set of locks.

    Raises:
        UsageError: a lock is missing, or a line of ``more`` is no requirement.
        BuildFailed: pip finds no wheel for one of the packages, or one with another hash, or
            ``more`` and the locks cannot be installed together.
    """
    machine = machine or platform.machine().lower()
    machine = _MACHINES.get(machine, machine)
    missing = [str(lock) for lock in locks if not lock.is_file()]
    if missing:
        raise UsageError(f"no lock {', '.join(missing)}; `make lock` writes docker/requirements/.")
    texts = [lock.read_bytes() for lock in locks]
    if more:
        texts.append("\n".join(_requirements(more)).encode())
    named = [name.encode() for name in (machine, PYTHON_VERSION, torch) if name]
    key = hashlib.sha256(b"\0".join([*texts, *named]))
    folder = cache_dir / key.hexdigest()[:16]
    if folder.is_dir():
        return folder
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir, prefix=".new-") as new:
        wheels = Path(new) / "wheels"
        if more:
            known = fill_wheelhouse(locks, torch=torch, machine=machine, cache_dir=cache_dir)
            shutil.copytree(known, wheels)
            say(f"fetching wheels of {more.name} with pip")
            _download_more(more, locks, torch, machine, wheels)
        else:
            names = [lock.name for lock in locks] + ([torch] if torch else [])
            say(f"fetching wheels of {', '.join(names)} with pip")
            _download(_arguments(locks), machine, wheels)
            if torch:
                _download_torch(torch, machine, wheels)
        wheels.rename(folder)  # complete or not there at all
    return folder


def _arguments(locks: Sequence[Path]) -> list[str]:
    return ["--require-hashes", *(part for lock in locks for part in ("--requirement", str(lock)))]


def _download_torch(pin: str, machine: str, wheels: Path) -> None:
    folder = wheels.with_name("torch")
    try:
        _download([pin], machine, folder)
    except BuildFailed as error:
        try:
            _download(["--index-url", _TORCH_INDEX, pin], machine, folder)
        except BuildFailed:
            raise error from None  # what the author's own pip said is what the author can fix
    (wheel,) = folder.iterdir()
    (wheels / "torch.txt").write_text(_locked(pin, wheel))
    shutil.move(wheel, wheels / wheel.name)


def _download_more(
    more: Path, locks: Sequence[Path], torch: str, machine: str, wheels: Path
) -> None:
    folder, pins = wheels.with_name("more"), wheels.with_name("pins.txt")
    # Without their hashes, which pip would ask of every requirement.
    text = "\n".join(lock.read_text(encoding="utf-8") for lock in locks)
    locked = re.findall(r"^[^\s#]+==[^\s;\\]+", text, re.MULTILINE)
    pins.write_text("\n".join([*locked, torch]))
    arguments = ["--find-links", str(wheels), "--constraint", str(pins)]
    folder.mkdir()
    _download([*arguments, *_requirements(more)], machine, folder, with_dependencies=True)
    lines = []
    for wheel in sorted(folder.iterdir()):
        if not (wheels / wheel.name).exists():
            name, version, *_ = parse_wheel_filename(wheel.name)
            lines.append(_locked(f"{name}=={version}", wheel))
            shutil.move(wheel, wheels / wheel.name)
    (wheels / "more.txt").write_text("".join(lines))


def _requirements(file: Path) -> list[str]:
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


def _download(
    arguments: list[str], machine: str, folder: Path, *, with_dependencies: bool = False
) -> None:
    platforms = []
    for minor in range(_GLIBC_MINOR, 4, -1):
        platforms.append(f"manylinux_2_{minor}_{machine}")
        if minor in _OLD_NAMES:
            platforms.append(f"{_OLD_NAMES[minor]}_{machine}")
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check"]
    command += ["--no-input", "--progress-bar", "off", "--dest", str(folder)]
    command += [] if with_dependencies else ["--no-deps"]
    command += ["--only-binary", ":all:"]
    command += ["--implementation", "cp", "--python-version", PYTHON_VERSION]
    command += [part for name in platforms for part in ("--platform", name)]
    done = subprocess.run(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildFailed(_explain(done.stdout, machine), done.stdout.splitlines())


def _explain(output: str, machine: str) -> str:
    for pattern, message in (
        (
            r"Cannot install ([^\n]+?) because these package versions have conflicting",
            "{} cannot be installed beside what serves the model, whose versions stand in "
            "docker/requirements/.\nAsk for other versions, or change the lock there.",
        ),
        (
            r"No matching distribution found for (\S+)",
            f"no wheel of {{}} for Python {PYTHON_VERSION} on Linux {machine} where pip looks.\n"
            "See `pip config list`; add an index or a folder that has it (PIP_EXTRA_INDEX_URL, "
            "PIP_FIND_LINKS).",
        ),
        (
            r"DO NOT MATCH THE HASHES[\s\S]*?\n\s+(\S+==\S+)",
            "{} was found with another hash than the lock's: it is another file than was locked.\n"
            "Do not use that index before you know why, or lock again with `make lock`.",
        ),
    ):
        if match := re.search(pattern, output):
            return message.format(match[1])
    return "pip could not fetch the wheels that the image needs:"
