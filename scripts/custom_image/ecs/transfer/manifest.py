"""The manifest of a build context: file by file and chunk by chunk, known by SHA-256."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from custom_image.build_context.archive import mode_of
from custom_image.errors import UsageError
from custom_image.files import write_whole

CHUNK_BYTES: Final = 8 * 2**20
"""What is sent again, at most, after a break or an edit in a large file."""
_READ_BYTES: Final = 2**20


@dataclass(frozen=True)
class Object:
    """A file as the server keeps it: content and mode, whatever its name.

    Attributes:
        id: hexadecimal; of two files alike in one tree the second gets another (``...-1``), because
            builders treat names of one and the same file as hard links.
        chunks: SHA-256 of each :data:`CHUNK_BYTES`, the last one shorter.
        path: where it is read from.
    """

    id: str
    mode: int
    size_bytes: int
    chunks: tuple[str, ...]
    path: Path

    @property
    def fraction_ns(self) -> int:
        """Its date there, as a fraction of the first second of 1970.

        BuildKit takes a file of the same size and date for the same, and an image keeps whole
        seconds: so every content has a date of its own, and all images have the same.
        """
        return int(self.id[:12], 16) % 10**9

    def read_chunk(self, index: int) -> bytes:
        """Return one chunk.

        Raises:
            UsageError: the file has changed since it was hashed.
        """
        with self.path.open("rb") as file:
            file.seek(index * CHUNK_BYTES)
            data = file.read(CHUNK_BYTES)
        if hashlib.sha256(data).hexdigest() != self.chunks[index]:
            raise UsageError(f"{self.path} changed while it was sent. Build again.")
        return data


class Manifest:
    """The files and folders of a context.

    Attributes:
        objects: by id.
        size_bytes: of all files.
    """

    def __init__(self, folders: list[str], names: dict[str, Object]) -> None:
        self._folders = folders
        self._names = names
        self.objects = {found.id: found for found in names.values()}
        self.size_bytes = sum(found.size_bytes for found in names.values())

    @classmethod
    def read(cls, folder: Path, cache: Path | None = None, *, is_own: bool = False) -> Manifest:
        """Read a folder, without the files that its .dockerignore names.

        Args:
            folder: the context.
            cache: a file that keeps hashes, so that a file unchanged since is not read again.
            is_own: whether files are the author's: none is left out, and modes are theirs.

        Raises:
            UsageError: it holds a link, a device, or a name that is not UTF-8.
        """
        known = _read_cache(cache)
        seen: dict[str, list[str]] = {}
        folders: list[str] = []
        names: dict[str, Object] = {}
        counts: dict[str, int] = {}
        for name in sorted(_walk(folder, frozenset() if is_own else _ignored(folder))):
            path = folder / name
            if path.is_dir():
                folders.append(name)
                continue
            status = path.stat()
            key = f"{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"
            chunks = known.get(key) or _hash(path)
            seen[key] = chunks
            mode = mode_of(path, own=is_own)
            base = hashlib.sha256(f"{mode:o}\n".encode() + "\n".join(chunks).encode()).hexdigest()
            copies = counts[base] = counts.get(base, -1) + 1
            names[name] = Object(
                f"{base}-{copies}" if copies else base,
                mode,
                status.st_size,
                tuple(chunks),
                path,
            )
        _write_cache(cache, seen)
        return cls(folders, names)

    def tree(self, folder: str) -> bytes:
        """Return the gzipped tar that makes the tree below ``folder`` of links to ``objects/``.

        Names stand in its headers only, so no shell there ever sees one.
        """
        buffer = io.BytesIO()
        with tarfile.open(
            fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT, compresslevel=6
        ) as archive:
            for name in ("", *self._folders):
                member = tarfile.TarInfo(f"{folder}/{name}".rstrip("/"))
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(member)
            for name, found in self._names.items():
                member = tarfile.TarInfo(f"{folder}/{name}")
                member.type, member.linkname = tarfile.LNKTYPE, f"objects/{found.id}"
                archive.addfile(member)
            listing = "".join(f"{id}\n" for id in self.objects).encode()
            member = tarfile.TarInfo(f"{folder}.objects")
            member.size = len(listing)
            archive.addfile(member, io.BytesIO(listing))
        return buffer.getvalue()


def context_key(tag: str) -> str:
    """Return what the context of an image of this name is called on the server."""
    return hashlib.sha256(tag.encode()).hexdigest()[:16]


def _walk(folder: Path, ignored: frozenset[str]) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            relative = path.relative_to(folder).as_posix()
            mode = path.lstat().st_mode
            if not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
                raise UsageError(
                    f"{str(path)!a} is a link or no regular file; a build context gets plain "
                    "files only.\nPut a copy of what it stands for in its place."
                )
            try:
                relative.encode()
            except UnicodeEncodeError:
                raise UsageError(
                    f"{str(path)!a} has a name that is not UTF-8.\nRename it."
                ) from None
            if relative not in ignored:
                yield relative


def _ignored(folder: Path) -> frozenset[str]:
    path = folder / ".dockerignore"
    return frozenset(path.read_text().splitlines()) if path.is_file() else frozenset()


def _hash(path: Path) -> list[str]:
    chunks: list[str] = []
    with path.open("rb") as file:
        while True:
            digest = hashlib.sha256()
            left = CHUNK_BYTES
            while left and (data := file.read(min(left, _READ_BYTES))):
                digest.update(data)
                left -= len(data)
            if left == CHUNK_BYTES and chunks:
                return chunks
            chunks.append(digest.hexdigest())
            if left:
                return chunks


def _read_cache(path: Path | None) -> dict[str, list[str]]:
    if path is None or not path.is_file():
        return {}
    try:
        found: dict[str, list[str]] = json.loads(path.read_text())
    except ValueError:
        return {}
    return found


def _write_cache(path: Path | None, hashes: dict[str, list[str]]) -> None:
    if path is not None:
        write_whole(path, json.dumps(hashes))
