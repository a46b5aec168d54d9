"""Weights beside the image: which folders a v2 service mounts, and what fetching them may meet.

    OBS, OBSFS   obs://bucket/folder/, below the folder that stands in for OBS
    EFS          SFS Turbo: FILE_SYSTEM or FILE_SYSTEM:/folder, below its own folder

Sources: https://support.huaweicloud.com/inference-modelarts/inference2.0-modelarts-0090.html, the
docstring of ``FileInfo`` in huaweicloudsdkmodelarts 3.1.219; errors 8501, 8504 and 8505:
https://support.huaweicloud.com/trouble-modelarts/modelarts_13_0057.html, 0063 and 0046.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from custom_image.errors import CustomImageError
from custom_image.platform_api import MOUNT_PATH_V2, find_nested
from custom_image.specification import (
    MOUNT_COUNT,
    MOUNT_FORBIDDEN,
    MOUNT_HOME,
    MOUNT_SOURCES_V2,
)
from local_modelarts.errors import no_access, no_path, parameter
from local_modelarts.platform import Platform
from local_modelarts.storage.obs import Obs
from local_modelarts.storage.specs import InstanceSpec, Mount
from local_modelarts.validation import choice

_FILE_SYSTEM: Final = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,63})(?::(?P<path>/.*))?")
UNFINISHED: Final = ".unfinished"
"""A file of this name in a warm-up's folder says that its task has not succeeded."""


def mounts_of(platform: Platform, files: object) -> tuple[Mount, ...]:
    """Return what ``files`` of a unit mounts.

    Raises:
        ApiError: a path is not allowed or lies in another, an address leads nowhere, or one file
            system is mounted twice.
    """
    given: Sequence[Any] = files if isinstance(files, list) else []
    if len(given) > MOUNT_COUNT.value or not all(isinstance(file, dict) for file in given):
        raise parameter(f"files must be a list of at most {MOUNT_COUNT.value} objects")
    found, systems = [], set()
    for file in given:
        target = mount_path(file.get("mount_path"))
        kind = choice(
            {**file, "source": str(file.get("source") or "OBS").upper()},
            "source",
            MOUNT_SOURCES_V2,
            "OBS",
        )
        address = str(file.get("address") or "")
        if kind == "EFS":
            name, source = _file_system(platform, address, str(file.get("efs_sub_path") or ""))
            if name in systems:
                raise parameter(f"SFS Turbo file system {name} is mounted twice in one service")
            systems.add(name)
        else:
            source = Obs(platform.folder.obs).folder(address)
        found.append(
            Mount(
                target,
                str(source),
                bool(file.get("read_only")),
                bool(file.get("host_cache")),
                str(file.get("source_name") or "") if file.get("os_warm_up") else "",
            )
        )
    refuse_nested([mount.target for mount in found])
    return tuple(found)


def mount_path(path: object) -> str:
    """Return where a folder is mounted, without the slash at its end.

    Raises:
        ApiError: it is no such path, or one that would hide what every image needs.
    """
    text = str(path)
    if not MOUNT_PATH_V2.allows(path) or ".." in text.split("/") or "//" in text:
        raise parameter(f"mount_path is {text[:80]!r}, expected a plain path such as /model/")
    target = text.rstrip("/")
    forbidden = {folder.rstrip("/") for folder in MOUNT_FORBIDDEN}
    home = MOUNT_HOME.value
    if target in forbidden or f"{home}/".startswith(f"{target}/"):
        raise parameter(f"mount_path is {text[:80]!r}: never at {home} or above, / or /var/run")
    return target


def fetch(platform: Platform, spec: InstanceSpec) -> None:
    """Bring weights onto the node, as far as that can be seen from outside.

    Raises:
        CustomImageError: they do not fit, or were to be warmed up and are not.
    """
    if spec.mounts and (delay_s := platform.settings.mount_delay_s):
        time.sleep(delay_s / platform.settings.speed)
    for mount in spec.mounts:
        source = Path(mount.source)
        if not source.is_dir():
            raise CustomImageError(f"{mount.target}: its storage is gone")
        if mount.host_cache:
            limit_bytes, size_bytes = platform.settings.node_disk_bytes, _size_bytes(source)
            if size_bytes > limit_bytes:
                raise CustomImageError(
                    f"ModelArts.8501: the disk of the node is full while fetching from OBS: "
                    f"{size_bytes} bytes for {mount.target}, {limit_bytes} are free"
                )
        if name := mount.warm_up:
            warmed = platform.folder.warm_up / name
            if not warmed.is_dir():
                raise CustomImageError(f"ModelArts.8504: the warm-up file {name} does not exist")
            if (warmed / UNFINISHED).exists():
                raise CustomImageError(f"ModelArts.8505: the warm-up task {name} has not succeeded")


def _file_system(platform: Platform, address: str, folder: str) -> tuple[str, Path]:
    """Return the name of a file system and the folder of it that is meant."""
    match = _FILE_SYSTEM.fullmatch(address)
    if match is None:
        raise parameter(f"address is {address[:80]!r}, expected FILE_SYSTEM or FILE_SYSTEM:/folder")
    root = platform.folder.sfs / match["name"]
    found = root / ((match["path"] or "") + "/" + folder).strip("/")
    try:
        is_inside = found.resolve().is_relative_to(root.resolve())
        is_there = found.is_dir()
    except (OSError, ValueError, RuntimeError) as error:  # a name too long, a circle of links
        raise no_path(address) from error
    if not is_inside:
        raise no_access(address)
    if not is_there:
        raise no_path(address)
    return match["name"], found


def refuse_nested(targets: Sequence[str]) -> None:
    """Refuse a path that lies in another.

    Raises:
        ApiError: 400.
    """
    if nested := find_nested(targets):
        outer, inner = nested
        raise parameter(f"mount_path {inner} lies in {outer}: paths must not nest")


def _size_bytes(folder: Path) -> int:
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir())
