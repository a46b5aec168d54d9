"""Limits on a stranger's archive, so that none can fill memory or last for ever."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from custom_image.specification import MIB


@dataclass(frozen=True)
class Limits:
    """Bounds on one archive; all far above what real images need.

    Attributes:
        json_bytes: of a manifest or an image's configuration; real ones stay below 100 kB.
        members: of the outer archive: a few for each of at most 127 layers.
        header_bytes: of one long name or extended header; a path has at most 4096 bytes.
        path_bytes: of one path (PATH_MAX of Linux).
        depth: directories inside each other.
        index_bytes: of memory for the names of all files, as :mod:`tree` estimates it: enough for
            a million.
        expansion: how many times its size a compressed layer may expand, beyond ``free_bytes``;
            text expands 10 times, a file of zeros 1000 times.
        file_bytes: of a file whose content is asked for by its path.
    """

    json_bytes: int = 8 * MIB
    members: int = 10_000
    header_bytes: int = MIB
    path_bytes: int = 4096
    depth: int = 250
    index_bytes: int = 180 * MIB
    expansion: int = 200
    free_bytes: int = 2048 * MIB
    file_bytes: int = 16 * MIB


LIMITS: Final = Limits()
