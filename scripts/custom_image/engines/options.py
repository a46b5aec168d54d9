"""Start options in words: what a user may ask for, as ``docker run`` spells it, and what is shown.

What is judged stays a stranger: nothing that leads to this machine or its engine is handed in.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from custom_image.engines import StartOptions, Volume
from custom_image.errors import UsageError
from custom_image.specification import MIB

HIDDEN: Final = "***"
CLOSED: Final = ("/proc", "/sys", "/dev")
ENGINE_SOCKETS: Final = (
    *("/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock"),
    *("/run/podman/podman.sock", "/run/crio/crio.sock", "/run/buildkit/buildkitd.sock"),
)
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)
_UNITS: Final = {"": 1, "k": 1024, "m": MIB, "g": 1024 * MIB, "t": 1024 * 1024 * MIB}
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_LEAST_MEMORY_BYTES: Final = 6 * MIB
"""The engine refuses a lower ceiling. Source: https://docs.docker.com/engine/containers/resource_constraints/"""


def parse_options(
    *,
    env: Iterable[str] = (),
    volume: Iterable[str] = (),
    memory: str = "",
    cpus: float = 0,
    shm_size: str = "",
    gpus: str = "",
    device: Iterable[str] = (),
    network: str = "",
    is_here: bool = True,
) -> StartOptions:
    """Return the options that a user wrote, each spelled as ``docker run`` spells it.

    Args:
        env: ``NAME=VALUE``, or ``NAME`` alone for the value that it has here.
        volume: ``FOLDER:PATH``, read-only, or ``FOLDER:PATH:rw``.
        memory: such as ``8g``.
        cpus: such as 2.
        shm_size: of ``/dev/shm``, such as ``1g``.
        gpus: ``all``, a number, or ``device=0,1``.
        device: a path below ``/dev``.
        network: ``none`` or empty.
        is_here: whether the engine is on this machine, whose files can be looked at.

    Raises:
        UsageError: one of them cannot be understood, or is never handed to a stranger.
    """
    if network not in ("", "none", "bridge"):
        raise UsageError(
            f"--network is {network!r}; expected none, or nothing for the engine's own bridge.\n"
            "A stranger's image never gets the network of this machine."
        )
    if cpus < 0:
        raise UsageError(f"--cpus is {cpus:g}; expected a number above 0, such as 2.")
    memory_bytes = _size(memory, "--memory")
    if 0 < memory_bytes < _LEAST_MEMORY_BYTES:
        raise UsageError(f"--memory is {memory}; expected at least 6m.")
    return StartOptions(
        environment=dict(_variable(pair) for pair in env),
        volumes=tuple(_volume(text, is_here) for text in volume),
        memory_bytes=memory_bytes,
        cpus=cpus,
        shm_bytes=_size(shm_size, "--shm-size"),
        gpus=_gpus(gpus),
        devices=tuple(_device(path) for path in device),
        is_offline=network == "none",
    )


def merge(base: StartOptions, own: StartOptions) -> StartOptions:
    """Return what a rule asks for on top of what the user asked for; the rule's own holds.

    Of two volumes at one path that is the rule's.
    """
    default = StartOptions()
    changes: dict[str, Any] = {
        name: value for name, value in vars(own).items() if value != getattr(default, name)
    }
    changes["environment"] = {**base.environment, **own.environment}
    changes["volumes"] = tuple({v.target: v for v in (*base.volumes, *own.volumes)}.values())
    return replace(base, **changes)


def describe(options: StartOptions) -> str:
    """Return the options as ``docker run`` spells them; no value of a variable is shown."""
    words = [f"--env {name}={HIDDEN}" for name in options.environment]
    words += [f"--volume {volume}" for volume in options.volumes]
    for name, size in (("memory", options.memory_bytes), ("shm-size", options.shm_bytes)):
        if size:
            words.append(f"--{name} {size / MIB:g}m")
    if options.cpus:
        words.append(f"--cpus {options.cpus:g}")
    if options.gpus:
        words.append(f"--gpus {options.gpus}")
    words += [f"--device {path}" for path in options.devices]
    if options.is_offline:
        words.append("--network none")
    return " ".join(words)


def _size(text: str, option: str) -> int:
    if not text:
        return 0
    found = _SIZE.fullmatch(text.strip())
    size = int(float(found[1]) * _UNITS[found[2].lower()]) if found else 0
    if size <= 0:
        raise UsageError(f"{option} is {text!r}; expected a size such as 512m or 8g.")
    return size


def _variable(pair: str) -> tuple[str, str]:
    name, sign, value = pair.partition("=")
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"--env names {name!r}; expected NAME=VALUE, or NAME to take it from here."
        )
    if not sign:
        if name not in os.environ:
            raise UsageError(f"--env {name}: there is no such variable here; write {name}=VALUE.")
        value = os.environ[name]
    if "\0" in value:
        raise UsageError(f"--env {name}: its value holds a NUL character.")
    return name, value


def _gpus(text: str) -> str:
    which = text.removeprefix("device=").strip('"')
    if not re.fullmatch(r"(all|[A-Za-z0-9][A-Za-z0-9-]*(,[A-Za-z0-9][A-Za-z0-9-]*)*)?", which):
        raise UsageError(f"--gpus is {text!r}; expected all, a number, or device=0,1.")
    if text.startswith("device=") and "," not in which and which.isdigit():
        which += ","  # an id, not how many
    return which


def _device(path: str) -> str:
    clean = os.path.normpath(path.partition(":")[0])
    if not clean.startswith("/dev/"):
        raise UsageError(f"--device is {path!r}; expected a path below /dev, as /dev/davinci0.")
    return path


def _volume(text: str, is_here: bool) -> Volume:
    parts = text.split(":")
    mode = parts.pop() if len(parts) > 2 else "ro"
    if len(parts) != 2 or mode not in ("ro", "rw") or not all(parts):
        raise UsageError(f"--volume is {text!r}; expected FOLDER:PATH or FOLDER:PATH:rw.")
    source, target = parts
    if not target.startswith("/") or os.path.normpath(target) == "/":
        raise UsageError(
            f"--volume {text}: expected an absolute path in the image, not {target!r}."
        )
    if is_here:
        found = Path(source).resolve()
        if not found.exists():
            raise UsageError(f"--volume {text}: {source} is not there.\nName a folder or a file.")
        source = str(found)
    elif not source.startswith("/"):
        raise UsageError(f"--volume {text}: on another machine expected an absolute path.")
    _refuse_what_leads_out(os.path.normpath(source), is_here)
    if is_here and mode == "ro":
        _refuse_mounts_below(source)
    return Volume(os.path.normpath(source), os.path.normpath(target), mode == "rw")


def _refuse_what_leads_out(source: str, is_here: bool) -> None:
    """Refuse what would hand the machine to a stranger: its root, its kernel, its engine.

    Raises:
        UsageError: it is one of these, lies in one of these, or holds one of these.
    """
    host = os.environ.get("DOCKER_HOST", "").removeprefix("unix://")
    sockets = {*ENGINE_SOCKETS, *([host] if host.startswith("/") else [])}
    if is_here:
        sockets |= {os.path.realpath(path) for path in sockets}
    closed = next((c for c in CLOSED if source == c or source.startswith(f"{c}/")), "")
    is_socket = is_here and Path(source).is_socket()
    holds = next((s for s in sockets if s == source or s.startswith(f"{source.rstrip('/')}/")), "")
    reason = (
        "it is the root of this machine"
        if source == "/"
        else f"it is part of {closed}"
        if closed
        else f"it leads to {holds}, an engine's socket"
        if holds
        else "it is a socket"
        if is_socket
        else ""
    )
    if reason:
        raise UsageError(
            f"--volume {source}: {reason}, and what is judged is a stranger.\n"
            "Name the folder that holds the weights, and nothing above it."
        )


def _refuse_mounts_below(source: str) -> None:
    """Refuse a read-only folder with mounts below: engines before 25 leave those writable.

    Source: https://docs.docker.com/engine/storage/bind-mounts/#recursive-mounts
    """
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:  # another system than Linux
        return
    inside = [line.split()[4] for line in lines if line.split()[4].startswith(f"{source}/")]
    if inside:
        raise UsageError(
            f"--volume {source}: {inside[0]} is mounted below it, and would stay writable.\n"
            "Name each of the two by itself, or write :rw."
        )
