"""Weights that are pickles: their opcodes are read by picklescan, nothing is ever loaded.

Loading a pickle runs whatever it names. What is read here is bounded in memory and time: the first
16 MiB and the last MiB of a file, 150,000 opcodes of a pickle, and 3,000,000 of an image.
"""

from __future__ import annotations

import io
import logging
import pickletools
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Final

from custom_image.image_archive import Entry
from custom_image.specification import MIB

PICKLES: Final = re.compile(rb"\.(?:pkl|pickle|joblib|pt|pth|ckpt|bin|npy|npz)$", re.IGNORECASE)
HEAD_BYTES: Final = 16 * MIB
TAIL_BYTES: Final = MIB
MOST_OPCODES: Final = 150_000
MOST_OPCODES_OF_AN_IMAGE: Final = 3_000_000
MOST_FILES: Final = 10_000
MOST_NAMES: Final = 50
_ZIP, _NUMPY, _SEVEN_ZIP = b"PK\x03\x04", b"\x93NUMPY", b"7z\xbc\xaf\x27\x1c"
_MAGIC: Final = (_ZIP, _NUMPY, *(bytes([0x80, protocol]) for protocol in range(6)))
_PICKLE_NAMES: Final = (".pkl", ".pickle")


@dataclass
class FoundPickle:
    """A file that holds a pickle.

    Attributes:
        dangerous: names that it imports when it is loaded, and that run commands.
        unknown: other names that it imports, for which nobody vouches.
        unread: why not all of it could be judged; empty where it was.
        is_one: whether there is a pickle at all: most arrays of NumPy hold numbers alone.
    """

    path: bytes
    layer: int
    dangerous: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    unread: str = ""
    is_one: bool = False


class PickleReader:
    """Reads the opcodes of pickles, also inside of PyTorch's and NumPy's zip files."""

    def __init__(self) -> None:
        self.found: list[FoundPickle] = []
        self.opcodes_left = MOST_OPCODES_OF_AN_IMAGE
        self.problem = why_no_picklescan()

    def open(self, entry: Entry, layer: int) -> _Ends | None:
        """Take files whose name says that they are weights."""
        if self.problem or not entry.size or not PICKLES.search(entry.path):
            return None
        return _Ends(self, entry, layer)


class _Ends:
    """Keeps the beginning and the end of a file, where zip files have what counts."""

    def __init__(self, reader: PickleReader, entry: Entry, layer: int) -> None:
        self._reader = reader
        self._entry = entry
        self._layer = layer
        self._head = bytearray()
        self._tail = b""
        self._is_one = False

    def feed(self, chunk: bytes) -> bool:
        """Take a part of a file."""
        if not self._head:
            is_text_pickle = self._entry.path.lower().endswith((b".pkl", b".pickle", b".joblib"))
            self._is_one = chunk.startswith(_MAGIC) or is_text_pickle
        room = HEAD_BYTES - len(self._head)
        self._head += chunk[:room]
        if len(chunk) > room:
            self._tail = (self._tail + chunk[room:])[-TAIL_BYTES:]
        return self._is_one

    def close(self) -> None:
        """Read the opcodes of what was kept."""
        if not self._is_one:
            return
        if len(self._reader.found) >= MOST_FILES or self._reader.opcodes_left <= 0:
            pickle = FoundPickle(self._entry.path, self._layer, unread="after too many others")
        else:
            file = _Gap(bytes(self._head), self._tail, self._entry.size)
            self._head = bytearray()
            pickle = _scan(FoundPickle(self._entry.path, self._layer), file, self._reader)
        if pickle.is_one or pickle.unread:
            self._reader.found.append(pickle)


class _Gap(io.RawIOBase):
    """A file of which only the beginning and the end are known, and whose reads are counted."""

    def __init__(self, head: bytes, tail: bytes, size: int) -> None:
        super().__init__()
        self._head, self._tail, self._size = head, tail, size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self._size if size < 0 else min(self._at + size, self._size)
        begin, tail_begin = self._at, self._size - len(self._tail)
        if begin >= end:
            return b""
        if end <= len(self._head):
            found = self._head[begin:end]
        elif begin >= tail_begin:
            found = self._tail[begin - tail_begin : end - tail_begin]
        elif begin < len(self._head):
            found = self._head[begin:]  # up to the gap
        else:
            raise EOFError(f"only its first {len(self._head):,} bytes were read")
        self._at += len(found)
        return found


class _Counted(io.RawIOBase):
    """One pickle, of which no more than so many opcodes are read: each takes a read at least."""

    def __init__(self, content: bytes, reads: int) -> None:
        super().__init__()
        self._file = io.BytesIO(content)
        self.most = reads
        self.reads = 0

    def read(self, size: int = -1) -> bytes:
        self._count()
        return self._file.read(size)

    def readline(self, size: int | None = -1) -> bytes:
        self._count()
        return self._file.readline(size if size is not None else -1)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        # picklescan steps back by a byte after each pickle, also where there was none to read.
        if whence == io.SEEK_CUR and self._file.tell() + offset < 0:
            return self._file.seek(0)
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def _count(self) -> None:
        self.reads += 1
        if self.reads > self.most:
            raise EOFError("too many opcodes")


def why_no_picklescan() -> str:
    """Return why pickles cannot be read here; empty where they can."""
    try:
        import picklescan.scanner  # noqa: F401
    except ImportError:
        return "picklescan is not installed; pip install picklescan"
    return ""


def _scan(pickle: FoundPickle, file: _Gap, reader: PickleReader) -> FoundPickle:
    head = file.read(8)
    file.seek(0)
    try:
        if head.startswith(_ZIP):
            with zipfile.ZipFile(file) as archive:
                for info in archive.infolist():
                    with archive.open(info) as member:
                        start = member.read(8)
                        if info.filename.endswith(_PICKLE_NAMES) or start.startswith(_MAGIC):
                            content = start + member.read(HEAD_BYTES)
                            _scan_one(pickle, content, info.filename, reader)
        else:
            _scan_one(pickle, file.read(HEAD_BYTES), pickle.path.decode(errors="replace"), reader)
            if not pickle.unread and file.tell() < file.seek(0, io.SEEK_END):
                pickle.unread = f"only its first {HEAD_BYTES:,} bytes were read"
    except Exception as error:  # noqa: BLE001 - whatever a hostile file does to who reads it
        pickle.unread = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    return pickle


def _scan_one(pickle: FoundPickle, content: bytes, name: str, reader: PickleReader) -> None:
    from picklescan import scanner

    # Its findings become verdicts; what it logs would be a stranger's text on the terminal.
    logging.getLogger("picklescan").setLevel(logging.CRITICAL + 1)
    pickle.is_one = pickle.is_one or not content.startswith(_NUMPY)
    if content.startswith(_NUMPY):
        content = _objects_of_array(content)
        if not content:
            return
        pickle.is_one = True
    if content.startswith(_SEVEN_ZIP):  # picklescan would unpack it to disk
        pickle.unread = "a 7z archive"
        return
    counted = _Counted(content, min(MOST_OPCODES * 2, reader.opcodes_left))
    extension = PurePosixPath(name).suffix.lower()
    is_torch = extension in (".pt", ".pth", ".ckpt", ".bin")
    result = scanner.scan_bytes(counted, name, extension if is_torch else None)
    reader.opcodes_left -= counted.reads + len(content) // 256
    for found in result.globals:
        kind = {"dangerous": pickle.dangerous, "suspicious": pickle.unknown}.get(found.safety.value)
        shown = f"{found.module}.{found.name}"
        if kind is not None and shown not in kind and len(kind) < MOST_NAMES:
            kind.append(shown)
    if counted.reads > counted.most:
        pickle.unread = "too many opcodes"
    elif result.scan_err or (not result.globals and not _is_whole(content)):
        pickle.unread = "its opcodes cannot be followed to the end"


def _is_whole(content: bytes) -> bool:
    """Tell whether a pickle that names nothing is one at all, and ends with STOP."""
    try:
        for _ in pickletools.genops(content):
            pass
    except Exception:  # noqa: BLE001 - it raises whatever its opcodes lead to
        return False
    return True


def _objects_of_array(content: bytes) -> bytes:
    """Return the pickle in a .npy file; empty where its array holds numbers.

    Source: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    """
    width = 2 if content[6:7] == b"\x01" else 4
    start = 8 + width
    end = start + int.from_bytes(content[8:start], "little")
    return content[end:] if re.search(rb"'\|?O'", content[start:end]) else b""
