"""Containers of an image's parts: a tar file, a compressed one, a folder, an engine's answer.

All are read alike, as a sequence of :class:`Part`; those on disk also give a part by its name.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from custom_image.errors import ArchiveError, UsageError
from custom_image.image_archive.limits import LIMITS, Limits
from custom_image.image_archive.sources import (
    FilePart,
    Source,
    Stream,
    decompressed,
    is_compressed,
)
from custom_image.image_archive.tar import BLOCK, Fault, Kind, Tar, is_header

OCI_LAYOUT: Final = "oci-layout"
_BLOBS: Final = "blobs/"


class Part(NamedTuple):
    """One file of a container.

    Attributes:
        source: its content; only while the next part was not asked for.
        same_as: the name of the part that it is a link to; empty for all others.
    """

    name: str
    size: int
    source: Source
    same_as: str = ""


class Container(Protocol):
    """What holds the parts of one image."""

    name: str
    faults: list[Fault]
    """What was left out of the last reading."""

    is_quick: bool
    """Whether what is skipped is not even read."""

    def parts(self) -> Iterator[Part]:
        """Yield every part, in the order in which they lie there.

        Raises:
            ArchiveError: it is damaged.
        """
        ...


class StreamContainer:
    """An archive that is read once, such as an engine's answer to ``docker save``."""

    is_quick = False

    def __init__(self, name: str, source: Source, limits: Limits = LIMITS) -> None:
        self.name = name
        self.faults: list[Fault] = []
        self._source = source
        self._limits = limits

    def parts(self) -> Iterator[Part]:
        tar = Tar(self._source, self.name, self._limits)
        self.faults = tar.faults
        for entry in tar:
            if tar.count > self._limits.members:
                raise ArchiveError(
                    f"{self.name}: more than {self._limits.members:,} members; reading stopped.\n"
                    "Expected what `docker save` writes: a few for each layer of an image."
                )
            name = entry.path.decode(errors="replace")
            if entry.kind is Kind.FILE:
                yield Part(name, entry.size, tar.content)
            elif entry.kind in (Kind.SYMLINK, Kind.HARD_LINK):
                # docker save stores a layer that comes twice as a link to its first place. It is a
                # name of another part and nothing else: no file of this machine is ever opened.
                folder = posixpath.dirname(name) if entry.kind is Kind.SYMLINK else ""
                target = posixpath.join(folder, entry.link.decode(errors="replace"))
                yield Part(name, 0, Stream(iter(())), posixpath.normpath(target))


class FileContainer:
    """A tar file, compressed as a whole or not."""

    def __init__(self, path: Path, name: str = "", limits: Limits = LIMITS) -> None:
        self.name = name or str(path)
        self.faults: list[Fault] = []
        self._path = path
        self._limits = limits
        with self._open() as source:
            head = source.peek(BLOCK)
        self.is_quick = not is_compressed(head)
        if self.is_quick and not is_header(head):
            raise UsageError(
                f"{self.name} is neither a tar file nor a compressed one"
                f"{'' if head else ': it is empty'}.\n"
                "Expected what `docker save` writes, or an OCI archive (`skopeo copy "
                "docker-daemon:IMAGE oci-archive:FILE`)."
            )

    def parts(self) -> Iterator[Part]:
        with self._open() as source:
            source = decompressed(source, self.name, self._limits)
            inner = StreamContainer(self.name, source, self._limits)
            try:
                yield from inner.parts()
            finally:
                self.faults = inner.faults

    @contextmanager
    def _open(self) -> Iterator[Source]:
        try:
            with self._path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                yield FilePart(file.fileno(), 0, size)
        except OSError as error:
            raise UsageError(f"{self.name}: cannot be read ({error.strerror}).") from error


class FolderContainer:
    """An OCI image layout: a folder of blobs."""

    is_quick = True

    def __init__(self, path: Path, name: str = "", limits: Limits = LIMITS) -> None:
        self.name = name or str(path)
        self.faults: list[Fault] = []
        self._path = path

    def parts(self) -> Iterator[Part]:
        files = [self._path / "index.json", *sorted((self._path / "blobs").glob("*/*"))]
        for path in files:
            if path.is_symlink() or not path.is_file():
                continue  # a link could lead to any file of this machine
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                name = path.relative_to(self._path).as_posix()
                yield Part(name, size, FilePart(file.fileno(), 0, size))


def is_layer(part: Part) -> bool:
    """Tell by name and first bytes whether a part is a layer: a tar, compressed or not."""
    if not part.name.startswith(_BLOBS) and not part.name.endswith((".tar", ".tar.gz", ".tgz")):
        return False
    head = part.source.peek(BLOCK)
    return is_compressed(head) or is_header(head) or (len(head) == BLOCK and not any(head))


def is_json(part: Part) -> bool:
    """Tell by name and first byte whether a part is a manifest or an image's configuration."""
    if "/" in part.name and not part.name.startswith(_BLOBS):
        return False  # docker save repeats metadata in a format of 2014, in a folder a layer
    is_named = part.name.endswith(".json") or part.name.startswith(_BLOBS)
    return is_named and part.source.peek(64).lstrip()[:1] in (b"{", b"[")
