"""Bytes in order, wherever they come from: a file, an engine's answer, a compressed layer.

Nothing is unpacked: a :class:`Source` is read once from its beginning, and what nobody wants is
skipped, in a file by not reading it at all.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from typing import Final, Protocol

from custom_image.errors import ArchiveError
from custom_image.image_archive.limits import LIMITS, Limits
from custom_image.specification import MIB

CHUNK_BYTES: Final = MIB
_AHEAD_BYTES: Final = 32 * 1024
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
# The window that RFC 8878 asks every decoder to support; a header may ask for terabytes.
_ZSTD_WINDOW_BYTES: Final = 8 * MIB


class Source(Protocol):
    """Bytes in order."""

    position: int
    """How many bytes were read or skipped."""

    def some(self, most: int) -> bytes:
        """Return the next bytes, at least one and at most ``most``; none at the end."""
        ...

    def peek(self, count: int) -> bytes:
        """Return the next bytes without moving on, fewer only at the end."""
        ...

    def skip(self, count: int) -> int:
        """Move on; return by how many bytes, fewer than asked for only at the end."""
        ...


def read(source: Source, count: int) -> bytes:
    """Return exactly ``count`` bytes, fewer only at the end."""
    found = source.some(count)
    if len(found) == count or not found:
        return found
    parts, missing = [found], count - len(found)
    while missing and (more := source.some(missing)):
        parts.append(more)
        missing -= len(more)
    return b"".join(parts)


class Stream:
    """The bytes of an iterator of chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.position = 0
        self._chunks = chunks
        self._chunk = b""
        self._at = 0

    def some(self, most: int) -> bytes:
        if not self._fill():
            return b""
        found = self._chunk[self._at : self._at + most]
        self._at += len(found)
        self.position += len(found)
        return found

    def peek(self, count: int) -> bytes:
        while len(self._chunk) - self._at < count:
            more = next(self._chunks, None)
            if more is None:
                break
            self._chunk, self._at = self._chunk[self._at :] + more, 0
        return self._chunk[self._at : self._at + count]

    def skip(self, count: int) -> int:
        missing = count
        while missing and self._fill():
            step = min(missing, len(self._chunk) - self._at)
            self._at += step
            missing -= step
        self.position += count - missing
        return count - missing

    def _fill(self) -> bool:
        while self._at >= len(self._chunk):
            chunk = next(self._chunks, None)
            if chunk is None:
                return False
            self._chunk, self._at = chunk, 0
        return True


class FilePart:
    """A part of an open file, read by offset: skipping costs nothing, and parts do not disturb."""

    def __init__(self, descriptor: int, start: int, size: int) -> None:
        self.position = 0
        self._descriptor = descriptor
        self._start = start
        self._size = size
        self._ahead = b""
        self._ahead_at = 0

    def some(self, most: int) -> bytes:
        most = min(most, self._size - self.position)
        if most <= 0:
            return b""
        found = self.peek(most) if most <= 512 else self._pread(most)
        self.position += len(found)
        return found

    def peek(self, count: int) -> bytes:
        count = min(count, self._size - self.position)
        begin = self.position - self._ahead_at
        if begin < 0 or begin + count > len(self._ahead):
            self._ahead = self._pread(min(max(count, _AHEAD_BYTES), self._size - self.position))
            self._ahead_at, begin = self.position, 0
        return self._ahead[begin : begin + count]

    def skip(self, count: int) -> int:
        step = max(0, min(count, self._size - self.position))
        self.position += step
        return step

    def _pread(self, count: int) -> bytes:
        return os.pread(self._descriptor, count, self._start + self.position)


def is_compressed(head: bytes) -> bool:
    """Tell by its first bytes whether something is gzip or zstd."""
    return head.startswith((_GZIP, _ZSTD))


def decompressed(source: Source, where: str, limits: Limits = LIMITS) -> Source:
    """Return a source as it is, or what it expands to where it is gzip or zstd.

    Raises:
        ArchiveError: while it is read: it is damaged, expands beyond measure, or is zstd and the
            library ``zstandard`` is not installed.
    """
    head = source.peek(4)
    if head.startswith(_GZIP):
        return Stream(_bounded(_gunzip(source, where), source, where, limits))
    if head.startswith(_ZSTD):
        return Stream(_bounded(_unzstd(source, where), source, where, limits))
    return source


def _gunzip(source: Source, where: str) -> Iterator[bytes]:
    data = b""
    while True:  # a gzip file may have several members
        inflating = zlib.decompressobj(31)
        while not inflating.eof:
            data = data or source.some(CHUNK_BYTES)
            try:
                chunk = inflating.decompress(data, CHUNK_BYTES)
            except zlib.error as error:
                raise ArchiveError(
                    f"{where}: gzip data is damaged before byte {source.position:,} ({error})."
                ) from error
            if not data and not chunk:
                raise ArchiveError(f"{where}: gzip data is cut off at byte {source.position:,}.")
            data = inflating.unconsumed_tail
            yield chunk
        data = (inflating.unused_data or source.some(CHUNK_BYTES)).lstrip(b"\0")
        if not data.startswith(_GZIP[:1]):
            return


def _unzstd(source: Source, where: str) -> Iterator[bytes]:
    try:
        import zstandard
    except ImportError as error:
        raise ArchiveError(
            f"{where}: compressed with zstd, which needs the library zstandard.\n"
            "Install it (`pip install zstandard`), or save the image uncompressed."
        ) from error

    class Readable:
        def read(self, count: int = CHUNK_BYTES) -> bytes:
            return source.some(count)

    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES * 16)
    reader = decompressor.stream_reader(Readable(), read_across_frames=True)  # type: ignore[arg-type]
    try:
        while chunk := reader.read(CHUNK_BYTES):
            yield chunk
    except zstandard.ZstdError as error:
        raise ArchiveError(
            f"{where}: zstd data is damaged before byte {source.position:,} ({error})."
        ) from error


def _bounded(
    chunks: Iterator[bytes], source: Source, where: str, limits: Limits
) -> Iterator[bytes]:
    expanded = 0
    for chunk in chunks:
        expanded += len(chunk)
        if expanded > limits.free_bytes + limits.expansion * source.position:
            raise ArchiveError(
                f"{where}: its first {source.position:,} bytes expand to more than {expanded:,}; "
                f"reading stopped.\nExpected at most {limits.expansion} times as much: it is made "
                "to fill a disk, or holds files of zeros that an image does not need."
            )
        yield chunk
