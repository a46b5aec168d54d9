"""An image in a file or folder: its metadata, its files by path, and all that is in its layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from custom_image.engines import ImageFacts, ImageFile
from custom_image.errors import ArchiveError
from custom_image.image_archive.containers import (
    OCI_LAYOUT,
    Container,
    FileContainer,
    FolderContainer,
    StreamContainer,
)
from custom_image.image_archive.contents import Contents, Reader, read_image
from custom_image.image_archive.limits import LIMITS, Limits
from custom_image.image_archive.sources import Stream, decompressed, is_compressed, read
from custom_image.image_archive.tar import Kind, Tar

Readers = Callable[[], Sequence[Reader]]


def is_oci_layout(folder: Path) -> bool:
    """Tell whether a folder is an OCI image layout."""
    return (folder / OCI_LAYOUT).is_file() and (folder / "index.json").is_file()


def read_saved(
    name: str, chunks: Iterator[bytes], readers: Sequence[Reader], limits: Limits = LIMITS
) -> Contents:
    """Read an engine's answer to ``docker save`` while it arrives.

    Raises:
        ArchiveError: it breaks off before it says which image it holds.
    """
    return read_image(StreamContainer(name, Stream(chunks), limits), readers, limits)


class Archive:
    """A ``docker save`` archive, an OCI archive, compressed or not, or an OCI layout folder.

    Args:
        path: of the file or folder.
        readers: makes what looks for something in all its files.

    Raises:
        UsageError: it is not there, or is no archive of one image.
        ArchiveError: it is damaged before it says which image it holds.
    """

    def __init__(
        self, path: Path, readers: Readers = tuple, name: str = "", limits: Limits = LIMITS
    ) -> None:
        self.name = name or str(path)
        self._readers = readers
        self._limits = limits
        self._container: Container = (
            FolderContainer(path, self.name)
            if path.is_dir()
            else FileContainer(path, self.name, limits)
        )

    @cached_property
    def contents(self) -> Contents:
        """All that one pass over its layers found."""
        if self._is_quick:
            _ = self.facts
            self.__dict__.pop("index", None)  # a million names are not kept twice
        return read_image(self._container, self._readers(), self._limits)

    @cached_property
    def index(self) -> Contents:
        """Its names and sizes: a second's work where layers lie there uncompressed."""
        if "contents" not in self.__dict__ and self._is_quick:
            return read_image(self._container, (), self._limits)
        return self.contents

    @cached_property
    def facts(self) -> ImageFacts:
        """Its metadata, as an engine would tell it."""
        image = self.index.image
        if image is None:
            raise LookupError(f"{self.name} is no image")
        return image.facts(self.name, self.index.sizes)

    def find_file(self, path: str) -> ImageFile | None:
        """Return a file as a container would see it, or None where there is none.

        Raises:
            ArchiveError: it is larger than what is read into memory.
        """
        place = self.index.overlay.find(path.encode(errors="surrogateescape"))
        if place is None:
            return None
        if place.size > self._limits.file_bytes:
            raise ArchiveError(
                f"{self.name}: {path} is {place.size:,} bytes; expected at most "
                f"{self._limits.file_bytes:,}.\nMake it smaller: it is read into memory."
            )
        wanted = self.index.layers[place.layer].name
        for part in self._container.parts():
            if part.name == wanted:
                source = decompressed(part.source, f"{self.name}, {wanted}", self._limits)
                source.skip(place.offset)
                tar = Tar(source, self.name, self._limits)
                entry = next(iter(tar), None)
                if entry is None or entry.kind is not Kind.FILE:
                    return None
                content = read(tar.content, entry.size)
                return ImageFile(content, entry.mode, entry.uid, entry.gid)
        return None

    @cached_property
    def _is_quick(self) -> bool:
        return self._container.is_quick and not any(
            is_compressed(part.source.peek(4))
            for part in self._container.parts()
            if not part.same_as
        )
