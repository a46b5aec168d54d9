"""The members of a tar archive, one after the other, from a stream, with bounded memory.

The standard library's ``tarfile`` reads a long name or an extended header of any size into memory,
recurses from one to the next, and keeps every member it has seen: a layer made to harm stops it.
By hand, then: this one reads headers, and content only where it is asked for.

Source: https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html (ustar, pax) and
https://www.gnu.org/software/tar/manual/html_node/Standard.html (GNU).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, NamedTuple, Protocol

from custom_image.errors import ArchiveError
from custom_image.image_archive.limits import LIMITS, Limits
from custom_image.image_archive.sources import Source, read

BLOCK: Final = 512
_ZEROS: Final = bytes(BLOCK)
_MOST_FAULTS: Final = 100


class Kind(IntEnum):
    """What a member is."""

    FILE = 0
    DIRECTORY = 1
    SYMLINK = 2
    HARD_LINK = 3
    OTHER = 4


# Anything else holds content, as POSIX asks readers to assume; S is a sparse file of GNU tar.
_KINDS: Final = {
    b"1": Kind.HARD_LINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.OTHER,
    b"4": Kind.OTHER,
    b"5": Kind.DIRECTORY,
    b"6": Kind.OTHER,
}
_LONG_NAME, _LONG_LINK, _PAX, _PAX_SOLARIS, _PAX_GLOBAL = b"L", b"K", b"x", b"X", b"g"


class Entry(NamedTuple):
    """A member.

    Attributes:
        path: without a leading slash, ``.`` and ``..``, in the bytes that the archive has.
        size: of its content, in bytes.
        link: where it leads; empty where it is no link.
        offset: of its first header in the tar.
        header: the last of them.
    """

    path: bytes
    kind: Kind
    size: int
    link: bytes
    offset: int
    header: bytes

    @property
    def mode(self) -> int:
        """The permission bits."""
        return _octal(self.header[100:108]) & 0o7777

    @property
    def uid(self) -> int:
        """The user it belongs to."""
        return _octal(self.header[108:116])

    @property
    def gid(self) -> int:
        """The group it belongs to."""
        return _octal(self.header[116:124])


@dataclass(frozen=True)
class Fault:
    """Something in an archive that should not be there, and was left out.

    Attributes:
        is_grave: whether engines refuse the image for it.
    """

    where: str
    offset: int
    what: str
    is_grave: bool = True

    def __str__(self) -> str:
        return f"{self.where}, byte {self.offset:,}: {self.what}"


class Members(Protocol):
    """Files in order, with the content of the current one: a tar, or a folder.

    Raises:
        ArchiveError: while it is read: it is damaged.
    """

    where: str
    faults: list[Fault]

    def __iter__(self) -> Iterator[Entry]: ...

    def some(self, most: int) -> bytes:
        """Return the next bytes of the current file, at most ``most``; none at its end."""
        ...

    def fault(self, entry_offset: int, what: str, *, is_grave: bool = True) -> None:
        """Take something down that should not be there."""
        ...


class Tar:
    """A tar archive that is read once; ``faults`` grows while it is.

    Attributes:
        count: of the members seen so far.
        left: bytes of the current member that were neither read nor skipped.
    """

    def __init__(self, source: Source, where: str, limits: Limits = LIMITS) -> None:
        self.where = where
        self.faults: list[Fault] = []
        self.count = 0
        self._source = source
        self._limits = limits
        self.left = 0
        self._padding = 0

    def __iter__(self) -> Iterator[Entry]:
        """Yield each member; what was not read of its content is skipped.

        Raises:
            ArchiveError: it is cut off, or is not a tar archive any more.
        """
        while (entry := self._next()) is not None:
            self.count += 1
            if entry.path or entry.kind is Kind.DIRECTORY:
                yield entry

    @property
    def content(self) -> Content:
        """The content of the current member."""
        return Content(self)

    def some(self, most: int) -> bytes:
        """Return the next bytes of the current member; see :class:`Content`."""
        found = self._source.some(min(most, self.left)) if self.left else b""
        if self.left and not found:
            raise self._damage(f"cut off, {self.left:,} bytes of a file are missing")
        self.left -= len(found)
        return found

    def peek(self, count: int) -> bytes:
        """Return the next bytes of the current member without moving on."""
        return self._source.peek(min(count, self.left))

    def skip(self, count: int) -> int:
        """Leave out bytes of the current member."""
        wanted = min(count, self.left)
        skipped = self._source.skip(wanted) if wanted else 0
        self.left -= skipped
        if skipped < wanted:
            raise self._damage(f"cut off, {self.left:,} bytes of a file are missing")
        return skipped

    def fault(self, entry_offset: int, what: str, *, is_grave: bool = True) -> None:
        """Take something down that should not be there."""
        if len(self.faults) < _MOST_FAULTS:
            self.faults.append(Fault(self.where, entry_offset, what, is_grave))

    def _next(self) -> Entry | None:
        extended: dict[bytes, bytes] = {}
        begin = -1
        while True:
            self.skip(self.left)
            self._source.skip(self._padding)
            self._padding = 0
            offset = self._source.position
            begin = offset if begin < 0 else begin
            header = read(self._source, BLOCK)
            # An archive may end without the two blocks of zeros that mark its end.
            if not header or header == _ZEROS:
                return None
            if len(header) < BLOCK:
                raise self._damage(f"cut off in the header at byte {offset:,}")
            if not is_header(header):
                raise self._damage(f"no tar header at byte {offset:,} (wrong checksum)")
            kind, size = header[156:157], self._number(header[124:136], "size")
            if kind not in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_SOLARIS, _PAX_GLOBAL):
                return self._entry(header, size, begin, extended)
            if size > self._limits.header_bytes:
                raise self._damage(
                    f"the extended header at byte {offset:,} has {size:,} bytes; at most "
                    f"{self._limits.header_bytes:,} are read"
                )
            content = read(self._source, size)
            if len(content) < size:
                raise self._damage(f"cut off in the extended header at byte {offset:,}")
            self._padding = -size % BLOCK
            if kind == _LONG_NAME:
                extended[b"path"] = content.partition(b"\0")[0]
            elif kind == _LONG_LINK:
                extended[b"linkpath"] = content.partition(b"\0")[0]
            elif kind != _PAX_GLOBAL:  # holds comments; engines ignore it
                extended |= self._records(content, offset)

    def _entry(self, header: bytes, size: int, offset: int, extended: dict[bytes, bytes]) -> Entry:
        kind = _KINDS.get(header[156:157], Kind.FILE)
        name = _text(header[:100])
        if header[257:263] == b"ustar\0" and (prefix := _text(header[345:500])):
            name = prefix + b"/" + name
        link = _text(header[157:257])
        if extended:
            name = extended.get(b"GNU.sparse.name") or extended.get(b"path", name)
            link = extended.get(b"linkpath", link)
            size = self._decimal(extended, b"size", size)
        if kind is Kind.FILE and name.endswith(b"/"):  # as before ustar
            kind = Kind.DIRECTORY
        if kind in (Kind.FILE, Kind.DIRECTORY):
            self.left, self._padding = size, -size % BLOCK
        path = self._inside(name, offset)
        size = size if kind is Kind.FILE else 0
        return Entry(path, kind, size, link, offset, header)

    def _inside(self, name: bytes, offset: int) -> bytes:
        """Return a path below the root; empty, with a fault, where it leads elsewhere."""
        if len(name) > self._limits.path_bytes or b"\0" in name:
            self.fault(offset, f"no path, or one of {len(name):,} bytes")
            return b""
        if b"//" not in name and not name.startswith((b".", b"/")) and b"/." not in name:
            path = name.rstrip(b"/")
        else:
            parts: list[bytes] = []
            for part in name.split(b"/"):
                if part == b"..":
                    if not parts:
                        self.fault(
                            offset, f"{name.decode(errors='replace')} leads out of the image"
                        )
                        return b""
                    parts.pop()
                elif part not in (b"", b"."):
                    parts.append(part)
            path = b"/".join(parts)
        if path.count(b"/") >= self._limits.depth:
            self.fault(offset, f"more than {self._limits.depth} directories deep: {shown(path)}")
            return b""
        return path

    def _records(self, content: bytes, offset: int) -> dict[bytes, bytes]:
        """Return the records of a pax header: ``length key=value`` and a line end each."""
        records, at = {}, 0
        while at < len(content):
            digits, space, _ = content[at : at + 12].partition(b" ")
            length = int(digits) if digits.isdigit() and space else 0
            if length <= len(digits) + 1 or at + length > len(content):
                raise self._damage(f"the extended header at byte {offset:,} cannot be read")
            key, _, value = content[at + len(digits) + 1 : at + length - 1].partition(b"=")
            records[key] = value
            at += length
        return records

    def _number(self, field: bytes, name: str) -> int:
        if field[0] & 0x80:  # base 256, for what does not fit
            number = int.from_bytes(field, "big") & ~(1 << (8 * len(field) - 1))
            if field[0] != 0x80 or number >= 1 << 63:
                raise self._damage(f"a header has a {name} that no file has")
            return number
        digits = field.strip(b" \0")
        try:
            return int(digits, 8) if digits else 0
        except ValueError:
            raise self._damage(f"a header has a {name} that is no number") from None

    def _decimal(self, extended: dict[bytes, bytes], key: bytes, default: int) -> int:
        value = extended.get(key)
        if value is None:
            return default
        if not value.isdigit() or len(value) > 19:
            raise self._damage(f"an extended header has a {key.decode()} that is no number")
        return int(value)

    def _damage(self, what: str) -> ArchiveError:
        return ArchiveError(
            f"{self.where}: {what}; reading stopped at byte {self._source.position:,}.\n"
            "Save the image again, and compare the checksum where the archive was copied."
        )


class Content:
    """The content of a tar's current member, as a source of its own.

    Raises:
        ArchiveError: while it is read: the archive is cut off in it.
    """

    def __init__(self, tar: Tar) -> None:
        self.position = 0
        self._tar = tar

    def some(self, most: int) -> bytes:
        found = self._tar.some(most)
        self.position += len(found)
        return found

    def peek(self, count: int) -> bytes:
        return self._tar.peek(count)

    def skip(self, count: int) -> int:
        skipped = self._tar.skip(count)
        self.position += skipped
        return skipped


def is_header(block: bytes) -> bool:
    """Tell by its checksum whether 512 bytes are the header of a member."""
    if len(block) < BLOCK:
        return False
    digits = block[148:156].strip(b" \0")
    try:
        expected = int(digits, 8)
    except ValueError:
        return False
    return sum(block) - sum(block[148:156]) + 8 * 0x20 == expected


def shown(path: bytes) -> str:
    """Return a path of the image as people read it; the report takes out what steers terminals."""
    return "/" + path.decode(errors="replace")


def _octal(field: bytes) -> int:
    """Return the number in a field; 0 where it holds none that a real file has."""
    digits = field.strip(b" \0")
    return int(digits, 8) if re.fullmatch(rb"[0-7]+", digits) else 0


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]
