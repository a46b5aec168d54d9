"""Environments that are too large for every run: `make test-full` makes them, all runs use them.

They lie below build/environments and stay there. A run that has one neither made nor at hand says
so as a skip, which the run's last lines name.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "build" / "environments"
# What the serving runtime imports of its own accord, in the versions it is tested with.
RUNTIME = ("uvicorn", "uvloop", "httptools", "gunicorn", "gevent", "pillow")


def need(name: str, make: Callable[[Path], None], config: pytest.Config) -> Path:
    """Return the folder of an environment, made by ``make`` where this is a full run."""
    folder = FOLDER / name
    if folder.is_dir():
        return folder
    if not config.option.markexpr:
        pytest.skip(f"build/environments/{name} is made by make test-full")
    new = FOLDER / f".{name}.new"
    shutil.rmtree(new, ignore_errors=True)
    make(new)
    new.rename(folder)
    return folder


def virtual_environment(*packages: str) -> Callable[[Path], None]:
    """Return a maker of a virtual environment of this Python with the packages."""

    def make(folder: Path) -> None:
        venv.create(folder, with_pip=True)
        run(folder / "bin" / "python", "-m", "pip", "install", "--quiet", *packages)

    return make


def pinned(*names: str) -> list[str]:
    """Return the packages in the versions that this environment has."""
    return [f"{name}=={importlib.metadata.version(name)}" for name in names]


def make_pypy(folder: Path) -> None:
    """Unpack Debian's PyPy, a Python 3.9, with numpy and Pillow; nothing is installed by it."""
    debs = folder / "debs"
    debs.mkdir(parents=True)
    run("apt-get", "--quiet", "download", "pypy3", "pypy3-lib", cwd=debs)
    for deb in debs.iterdir():
        run("dpkg", "--extract", deb, folder)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", folder / "site"]
    command += ["--no-deps", "--only-binary", ":all:", "--implementation", "pp"]
    command += ["--python-version", "3.9", "--abi", "pypy39_pp73"]
    for glibc in ("manylinux2014", "manylinux_2_17", "manylinux_2_28"):
        command += ["--platform", f"{glibc}_x86_64"]
    run(*command, "numpy", "pillow")


def run(*command: str | Path, **options: object) -> str:
    """Run a command; return what it printed, or fail with it."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        pytest.fail(f"{command[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}", pytrace=False)
    return done.stdout
