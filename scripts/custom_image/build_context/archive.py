"""The tar of a folder that depends on names and contents only, made while it is read."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from custom_image.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_CHUNK_BYTES: Final = 2**20


def archive(
    folder: Path, left_out: frozenset[str] = frozenset(), *, own_modes: bool = False
) -> Iterator[bytes]:
    """Yield the tar of a folder: sorted, of 1970, owned by root, modes by :func:`mode_of`.

    Raises:
        UsageError: a file changed its size meanwhile.
    """
    for path in _sorted(folder):
        name = path.relative_to(folder).as_posix()
        if name in left_out:
            continue
        member = tarfile.TarInfo(name)
        if path.is_dir():
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            yield member.tobuf(tarfile.PAX_FORMAT)
            continue
        member.size = path.stat().st_size
        member.mode = mode_of(path, own=own_modes)
        yield member.tobuf(tarfile.PAX_FORMAT)
        yield from _content(path, member.size)
    yield b"\0" * 2 * tarfile.BLOCKSIZE


def mode_of(path: Path, *, own: bool = False) -> int:
    """Return the permissions that a file gets: by its name alone, or by its own execute bit."""
    runs = path.stat().st_mode & 0o100 if own else path.suffix == ".sh"
    return 0o755 if runs else 0o644


class Stream(io.RawIOBase):
    """A file to read from, made of chunks that come when they are needed."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Tell that this can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Fill ``buffer``, as far as the next chunk goes."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        target = memoryview(buffer).cast("B")
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _sorted(folder: Path) -> list[Path]:
    found = []
    for parent, folders, files in os.walk(folder):
        found += [Path(parent, name) for name in (*folders, *files)]
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _content(path: Path, size_bytes: int) -> Iterator[bytes]:
    left = size_bytes
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            left -= len(chunk)
            yield chunk
    if left:
        raise UsageError(f"{path} changed while it was read. Write the build context again.")
    yield b"\0" * (-size_bytes % tarfile.BLOCKSIZE)
