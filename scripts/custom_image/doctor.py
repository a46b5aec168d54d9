"""The doctor: what this machine can do, and how to get the rest."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from custom_image.diagnosis import Diagnosis, Finding, State
from custom_image.errors import Unavailable, UsageError
from custom_image.extras import NAME, ExtraMissing, require, requirements, torch_requirement
from custom_image.settings import find_project
from custom_image.specification import GB

# Measured: .venv 1.7 GB, images of a build 0.8 GB, build/ 0.3 GB; training takes 0.7 GB of memory.
_DISK_GB = 5
_MEMORY_GB = 2
_PYTHON = (3, 11)
_NO_CHECKOUT = "none: the files of the wheel are used, and build/ is made where you are"
_AUTHOR = f"pip install '{NAME}[author]'"


def diagnose() -> Diagnosis:
    """Look at this machine; nothing is installed, pulled or started."""
    looks: list[Callable[[], Finding]] = [
        _python,
        _project,
        _extras,
        _torch,
        _engine,
        _base_image,
        _disk,
        _memory,
        _npm,
        _apt,
    ]
    return Diagnosis(tuple(look() for look in looks))


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info >= _PYTHON:
        return Finding("Python", State.OK, found)
    return Finding("Python", State.MISSING, found, "Install Python 3.11 or newer.")


def _extras() -> Finding:
    missing = []
    for extra in requirements():
        try:
            require(extra)
        except ExtraMissing:
            missing.append(extra)
    found = ", ".join(extra for extra in requirements() if extra not in missing) or "none"
    if not missing:
        return Finding("extras", State.OK, found)
    return Finding(
        "extras",
        State.LIMITED,
        found,
        f"Images can be judged. For the rest: pip install '{NAME}[{','.join(missing)}]'",
    )


def _torch() -> Finding:
    wanted = torch_requirement().partition("==")[2]
    remediation = f"Needed to train and export. Get torch {wanted}: make install"
    try:
        found = metadata.version("torch")
    except metadata.PackageNotFoundError:
        # Who has a clone wants to train; who installed the wheel may only want to judge.
        state = State.MISSING if _project().found != _NO_CHECKOUT else State.LIMITED
        return Finding("torch", state, "not installed", f"Needed to train and export: {_AUTHOR}")
    base, _, build = found.partition("+")
    if base != wanted:
        return Finding("torch", State.LIMITED, found, remediation)
    return Finding("torch", State.OK, f"{base}, {build or 'default'} build")


def _project() -> Finding:
    try:
        return Finding("checkout", State.OK, str(find_project()))
    except UsageError:
        return Finding("checkout", State.OK, _NO_CHECKOUT)


def _engine() -> Finding:
    from custom_image.engines.docker.engine import DockerEngine

    try:
        DockerEngine.connect()
    except Unavailable as error:
        lost = "Until then rules about the image itself say NOT CHECKED."
        return Finding("Docker engine", State.LIMITED, "none answers", f"{error}\n{lost}")
    host = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    return Finding("Docker engine", State.OK, f"answers at {host}")


def _base_image() -> Finding:
    from custom_image.builders.base import DEFAULT_BASE_IMAGE, own_base_image
    from custom_image.engines.docker.engine import DockerEngine

    candidates = [os.environ.get("BASE_IMAGE") or DEFAULT_BASE_IMAGE, own_base_image()]
    try:
        engine = DockerEngine.connect()
        found = next((name for name in candidates if engine.has_image(name)), None)
    except Unavailable:
        return Finding("base image", State.LIMITED, "no engine to hold one", "See Docker engine.")
    if found:
        return Finding("base image", State.OK, found)
    return Finding(
        "base image",
        State.LIMITED,
        "none here yet",
        f"The first build pulls {candidates[0]}, or makes one of Debian packages as root.\n"
        "To use one of your own: BASE_IMAGE=... (Python 3.11)",
    )


def _disk() -> Finding:
    free_gb = shutil.disk_usage(Path.cwd()).free / GB
    found = f"{free_gb:.0f} GB free"
    if free_gb >= _DISK_GB:
        return Finding("disk", State.OK, found)
    return Finding(
        "disk",
        State.LIMITED,
        found,
        f"A build needs about {_DISK_GB} GB. Free some: custom-image clean, docker image prune",
    )


def _memory() -> Finding:
    total_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GB
    cores = len(os.sched_getaffinity(0))
    found = f"{total_gb:.0f} GB, {cores} core{'s' if cores > 1 else ''}"
    if total_gb >= _MEMORY_GB:
        return Finding("memory", State.OK, found)
    return Finding("memory", State.LIMITED, found, f"Training takes about {_MEMORY_GB} GB.")


def _npm() -> Finding:
    found = shutil.which("npm")
    if found:
        return Finding("npm", State.OK, found)
    return Finding(
        "npm",
        State.LIMITED,
        "not installed",
        "Only one of the places MNIST comes from; mirrors and the sample remain.",
    )


def _apt() -> Finding:
    if shutil.which("apt-get") is None:
        return Finding(
            "apt", State.LIMITED, "not this system's packages", "Install Docker by hand if needed."
        )
    if os.geteuid() == 0:
        return Finding("apt", State.OK, "apt-get, as root")
    return Finding(
        "apt",
        State.LIMITED,
        "apt-get, but not root",
        "Only root can install an engine: sudo scripts/ensure_docker.sh",
    )
