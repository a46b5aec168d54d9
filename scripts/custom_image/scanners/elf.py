"""Programs and shared objects: for which machine they are, and which others they need.

Of a large file its first 4 MiB and its last MiB are kept: linkers put what counts at either end.

Source: elf(5), https://man7.org/linux/man-pages/man5/elf.5.html
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from custom_image.image_archive import Entry
from custom_image.specification import MIB

MAGIC: Final = b"\x7fELF"
MACHINES: Final = {62: "amd64", 183: "arm64", 3: "386", 40: "arm", 21: "ppc64le", 243: "riscv64"}
HEAD_BYTES: Final = 4 * MIB
TAIL_BYTES: Final = MIB
MOST_FILES: Final = 20_000
MOST_NEEDED: Final = 200
_LOAD, _DYNAMIC = 1, 2
_NEEDED, _STRINGS = 1, 5


@dataclass(frozen=True)
class Program:
    """An ELF file.

    Attributes:
        machine: as image metadata spells it; the number where it is none of these.
        needed: names of the shared objects that it needs; empty where they could not be read.
    """

    path: bytes
    layer: int
    machine: str
    needed: tuple[str, ...]


class ElfReader:
    """Reads the head of every program."""

    def __init__(self) -> None:
        self.found: list[Program] = []

    def open(self, entry: Entry, layer: int) -> _Ends | None:
        """Take every file that is large enough; the first bytes tell whether it is one."""
        if entry.size < 64 or len(self.found) >= MOST_FILES:
            return None
        return _Ends(self, entry, layer)


class _Ends:
    def __init__(self, reader: ElfReader, entry: Entry, layer: int) -> None:
        self._reader, self._entry, self._layer = reader, entry, layer
        self._head = bytearray()
        self._tail = bytearray()
        self._seen = 0

    def feed(self, chunk: bytes) -> bool:
        if not self._seen and not chunk.startswith(MAGIC):
            return False
        self._seen += len(chunk)
        room = HEAD_BYTES - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:]
        del self._tail[: max(0, len(self._tail) - TAIL_BYTES)]
        return True

    def close(self) -> None:
        if self._head.startswith(MAGIC):
            file = _Parts(bytes(self._head), bytes(self._tail), self._seen)
            machine, needed = parse_elf(file)
            path = self._entry.path
            self._reader.found.append(Program(path, self._layer, machine, needed))


class _Parts:
    """The two ends of a file, read by offset."""

    def __init__(self, head: bytes, tail: bytes, size: int) -> None:
        self._head, self._tail, self._size = head, tail, size

    def read(self, offset: int, size: int) -> bytes:
        """Return so many bytes, fewer at the end; none where they were not kept."""
        if offset + size <= len(self._head):
            return self._head[offset : offset + size]
        start = self._size - len(self._tail)
        if self._tail and offset >= start:
            return self._tail[offset - start : offset - start + size]
        return self._head[offset : offset + size]


def parse_elf(file: _Parts) -> tuple[str, tuple[str, ...]]:
    """Return the machine, and the names of what is needed, as far as they can be read."""
    head = file.read(0, 64)
    is_64, order = head[4] == 2, "<" if head[5] == 1 else ">"
    number = struct.unpack_from(f"{order}H", head, 18)[0]
    machine = MACHINES.get(number, str(number))
    if not is_64:
        return machine, ()
    try:
        return machine, _needed(file, head, order)
    except struct.error:  # cut off, or made up
        return machine, ()


def _needed(file: _Parts, head: bytes, order: str) -> tuple[str, ...]:
    table_at, size, count = (
        struct.unpack_from(f"{order}Q", head, 32)[0],
        *struct.unpack_from(f"{order}HH", head, 54),
    )
    loads, dynamic = [], b""
    for number in range(min(count, 64)):
        row = file.read(table_at + number * size, 56)
        kind, _, offset, address, _, file_size = struct.unpack_from(f"{order}IIQQQQ", row)
        if kind == _LOAD:
            loads.append((address, file_size, offset))
        elif kind == _DYNAMIC:
            dynamic = file.read(offset, min(file_size, 65536))
    entries = [
        struct.unpack_from(f"{order}QQ", dynamic, at) for at in range(0, len(dynamic) - 15, 16)
    ]
    strings_at = next((value for tag, value in entries if tag == _STRINGS), None)
    if strings_at is None:
        return ()
    base = next((o + strings_at - a for a, n, o in loads if a <= strings_at < a + n), None)
    if base is None:
        return ()
    names: list[str] = []
    for tag, value in entries:
        if tag == _NEEDED and len(names) < MOST_NEEDED:
            name = file.read(base + value, 256).split(b"\0")[0].decode(errors="replace")
            if name:
                names.append(name)
    return tuple(names)
