"""A folder of this machine, read like a layer: its own files, no links followed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from custom_image.image_archive.tar import Entry, Fault, Kind


class FolderFiles:
    """The files below a folder, in the order of their names."""

    def __init__(self, folder: Path) -> None:
        self.where = str(folder)
        self.faults: list[Fault] = []
        self._folder = folder
        self._file: IO[bytes] | None = None

    def __iter__(self) -> Iterator[Entry]:
        """Yield every regular file; what cannot be read is a fault."""
        for parent, folders, names in os.walk(self._folder):
            folders.sort()
            for name in sorted(names):
                path = Path(parent, name)
                if path.is_symlink() or not path.is_file():
                    continue  # a link could lead to any file, a pipe would never end
                try:
                    with path.open("rb") as self._file:
                        stat = os.fstat(self._file.fileno())
                        relative = os.fsencode(path.relative_to(self._folder))
                        yield Entry(relative, Kind.FILE, stat.st_size, b"", 0, b"")
                except OSError as error:
                    self.fault(0, f"{path}: cannot be read ({error.strerror})", is_grave=False)

    def some(self, most: int) -> bytes:
        """Return the next bytes of the current file."""
        return self._file.read(most) if self._file else b""

    def fault(self, entry_offset: int, what: str, *, is_grave: bool = True) -> None:
        """Take something down that should not be there."""
        self.faults.append(Fault(self.where, entry_offset, what, is_grave))
