"""Weights that are pickles: their opcodes are read, nothing is loaded."""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from custom_image.adoption.changes import ChangeLog, Kind

_SUFFIXES: Final = (".pth", ".pt", ".pkl", ".pickle", ".joblib", ".m", ".model", ".bin", ".tar")
_READ_BYTES: Final = 64 * 10**6
# What a state_dict needs: https://pytorch.org/docs/stable/notes/serialization.html#weights-only
_OF_TENSORS: Final = re.compile(
    r"(collections OrderedDict|torch\._utils _rebuild_\w+|torch \w*Storage|torch \w+"
    r"|torch\.nn\.parameter Parameter|torch\.serialization _get_layout|_codecs encode)"
)


def note_pickles(folder: Path, files: list[str], log: ChangeLog) -> None:
    """Note weights that are pickles: loading one runs what it says."""
    for name in files:
        if Path(name).suffix.lower() in _SUFFIXES and next(_pickles(folder / name), b""):
            why = "is a pickle, which runs what it says when it is loaded; safetensors is none"
            log.add(Kind.WARNING, name, why)


def holds_more_than_tensors(folder: Path, files: list[str]) -> str:
    """Return the name of weights that torch from 2.6 on does not load by itself, or nothing."""
    for name in files:
        if Path(name).suffix.lower() in (".pth", ".pt", ".bin", ".tar"):
            for content in _pickles(folder / name):
                if any(not _OF_TENSORS.fullmatch(used) for used in _names(content)):
                    return name
    return ""


def _pickles(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        head = file.read(2)
        if head == b"PK":
            try:
                with zipfile.ZipFile(file) as archive:
                    for info in archive.infolist():
                        if info.filename.endswith("data.pkl") and info.file_size < _READ_BYTES:
                            yield archive.read(info)
            except zipfile.BadZipFile:
                return
        elif re.match(rb"\x80[\x02-\x05]", head):
            file.seek(0)
            yield file.read(_READ_BYTES)


def _names(content: bytes) -> Iterator[str]:
    """Yield what the pickles in a row name, as ``module name``."""
    strings: list[str] = []
    at = 0
    while content[at : at + 1] == b"\x80":
        last = 0
        try:
            for opcode, argument, place in pickletools.genops(content[at:]):
                last = place or 0
                if opcode.name == "GLOBAL":
                    yield str(argument)
                elif opcode.name == "STACK_GLOBAL":
                    yield " ".join(strings[-2:])
                elif isinstance(argument, str):
                    strings.append(argument)
        except (ValueError, IndexError, UnicodeDecodeError):
            return  # the storages behind the pickles of an old file
        at += last + 1
