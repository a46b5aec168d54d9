"""A folder that stands in for OBS: ``obs://bucket/key`` is a file below the platform's folder.

An address may be written as the platform's pages write it: ``obs://bucket/key``, ``s3://bucket/key``
or ``https://bucket.obs.region.example.com:443/key?signature``. All three name the same object.

Source: https://docs.otc.t-systems.com/modelarts/umn/inference_deployment/deploying_a_model_as_batch_services/deploying_as_a_batch_service.html
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from custom_image.files import UNFINISHED
from local_modelarts.errors import no_access, no_path, parameter

# https://support.huaweicloud.com/intl/en-us/usermanual-obs/obs_03_0306.html
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class Obs:
    """The buckets of a platform: each a folder, each object a file.

    Attributes:
        root: the folder that holds the buckets.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.root.mkdir(parents=True, exist_ok=True)

    def path(self, address: str) -> Path:
        """Return where an address leads, whether or not anything is there.

        Raises:
            ApiError: it is no address of OBS, or leads out of its bucket.
        """
        bucket, key = _split(address)
        folder = self.root / bucket
        found = folder / key
        try:
            is_inside = found.resolve().is_relative_to(folder.resolve())
            found.exists()
        except (OSError, RuntimeError) as error:  # a name that is too long, a circle of links
            raise no_path(address) from error
        if not is_inside:
            raise no_access(address)
        return found

    def folder(self, address: str) -> Path:
        """Return a folder that is there.

        Raises:
            ApiError: it is not there, or no address of a folder.
        """
        found = self.path(address)
        if not found.is_dir():
            raise no_path(address)
        return found

    def file(self, address: str) -> Path:
        """Return a file that is there.

        Raises:
            ApiError: it is not there, or no address of a file.
        """
        found = self.path(address)
        if not found.is_file():
            raise no_path(address)
        return found

    def address(self, path: Path) -> str:
        """Return the ``obs://`` address of a file or a folder of a bucket."""
        return f"obs://{path.relative_to(self.root).as_posix()}"


def objects(folder: Path) -> list[Path]:
    """Return the files of a folder by name, without those of its folders and unfinished ones."""
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if e.is_file() and not e.name.startswith(UNFINISHED)]
    return [folder / name for name in sorted(names)]


def _split(address: str) -> tuple[str, str]:
    """Return bucket and key."""
    scheme, _, rest = address.partition("://")
    bucket, _, key = rest.partition("/")
    is_obs = scheme in ("obs", "s3")
    if scheme == "https":
        bucket, _, service = bucket.partition(".")
        key = unquote(key.partition("?")[0])
        is_obs = service.startswith("obs.")
    if not is_obs or not _BUCKET.fullmatch(bucket) or "\0" in key:
        raise parameter(f"{address[:200]!r} is no OBS path, expected obs://bucket/folder/.")
    return bucket, key.lstrip("/")
