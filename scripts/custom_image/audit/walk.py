"""A folder as it is: no link is followed, no device is opened, names are bytes."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from custom_image.audit.findings import NotAudited
from custom_image.specification import MODEL_DIR, USER_HOME

PACKAGES: Final = (b"site-packages", b"dist-packages", b"node_modules")
_MODEL: Final = MODEL_DIR.value.removeprefix(f"{USER_HOME.value}/").encode()


@dataclass(frozen=True)
class Place:
    """A file or a folder.

    Attributes:
        path: absolute, as the file system has it.
        size_bytes: of a file; 0 for everything else.
        is_folder: a real one: not a link to one.
        is_file: a real one: no link, device, socket or pipe.
    """

    path: bytes
    size_bytes: int = 0
    is_folder: bool = False
    is_file: bool = False

    @classmethod
    def of(cls, path: Path) -> Place:
        """Return a path as places have it: made absolute, links left as they are."""
        return cls(os.fsencode(os.path.abspath(path)))  # noqa: PTH100 - resolve() follows links

    @property
    def name(self) -> bytes:
        """The last part of its path."""
        return self.path.rpartition(b"/")[2]

    def below(self, folder: Path) -> bytes:
        """Return its path relative to a folder."""
        return self.path.removeprefix(Place.of(folder).path).lstrip(b"/")

    def is_model_of(self, home: Path) -> bool:
        """Tell whether it is a file of the model package of a home directory."""
        return self.is_file and self.below(home).startswith(_MODEL + b"/")

    def read(self, most_bytes: int) -> bytes:
        """Return the beginning of a file; nothing where it cannot be read, or is none any more."""
        with suppress(OSError):
            # Between the walk and now it may have become a link or a pipe.
            handle = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(handle, "rb") as file:
                if stat.S_ISREG(os.fstat(handle).st_mode):
                    return file.read(most_bytes)
        return b""


def walk(
    folder: Path, *, stop_at: Collection[Path], not_audited: list[NotAudited]
) -> Iterator[Place]:
    """Yield all below a folder, each folder before what is in it.

    Not entered are links, ``stop_at``, what is mounted there, which no save has, and the folders of
    installed packages, whose many files are no user's. A folder that cannot be read is noted.
    """
    stops = {Place.of(path).path for path in stop_at}
    pending = [Place.of(folder).path]
    while pending:
        current = pending.pop()
        try:
            with os.scandir(current) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            not_audited.append(NotAudited("unreadable", f"{shown(current)}: {error.strerror}"))
            continue
        inside = []
        for entry in found:
            if entry.path in stops:
                continue
            with suppress(OSError):  # gone meanwhile
                if entry.is_dir(follow_symlinks=False):
                    if entry.name not in PACKAGES and not os.path.ismount(entry.path):
                        yield Place(entry.path, is_folder=True)
                        inside.append(entry.path)
                else:
                    facts = entry.stat(follow_symlinks=False)
                    is_file = stat.S_ISREG(facts.st_mode)
                    size = facts.st_size if is_file else 0
                    yield Place(entry.path, size, is_file=is_file)
        pending += reversed(inside)


def shown(path: bytes) -> str:
    """Return a path fit to be printed: control characters and what is not UTF-8 are escaped."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
