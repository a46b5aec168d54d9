"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

UNFINISHED: Final = ".unfinished-"
"""The beginning of the name that a file has while it is written."""


def write_whole(
    path: Path, content: str | bytes, *, mode: int = 0o666, fsync: bool = False
) -> None:
    """Write a file in one step, with its folder: a kill leaves the old one or the new one.

    Args:
        path: of the file.
        content: text is written as UTF-8.
        mode: of the file, less the umask.
        fsync: a power cut leaves the old one or the new one, too.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{UNFINISHED}{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if fsync:
                file.flush()
                os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
