"""The four files of MNIST: their names, their hashes, and how to read one or say what is wrong.

A file counts as MNIST when the SHA-256 of its content, uncompressed, is known: the format alone
would also admit Fashion-MNIST, which has the same names, sizes and headers.

Source: http://yann.lecun.com/exdb/mnist/ describes the IDX format.
"""

from __future__ import annotations

import hashlib
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from custom_image.errors import DatasetError
from custom_image.mnist.digits import Digits, Pixels

GZIP_MAGIC: Final = b"\x1f\x8b"
PICTURE_SIDE: Final = 28


@dataclass(frozen=True)
class IdxFile:
    """One file of a data set.

    Attributes:
        name: without ``.gz``.
        count: how many pictures or labels it holds.
        sha256: of the uncompressed content.
        gz_sha256: of the compressed file as it is published; empty where none is.
    """

    name: str
    count: int
    sha256: str
    gz_sha256: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array in it."""
        side = (PICTURE_SIDE, PICTURE_SIDE) if "images" in self.name else ()
        return (self.count, *side)

    @property
    def header(self) -> bytes:
        """The bytes before the data: type (08 is unsigned byte), dimensions, and their sizes."""
        sizes = b"".join(size.to_bytes(4, "big") for size in self.shape)
        return bytes([0, 0, 8, len(self.shape)]) + sizes

    @property
    def size_bytes(self) -> int:
        """Of the uncompressed content."""
        return len(self.header) + int(np.prod(self.shape))


FULL: Final = (
    IdxFile(
        "train-images-idx3-ubyte",
        60_000,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    ),
    IdxFile(
        "train-labels-idx1-ubyte",
        60_000,
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    ),
    IdxFile(
        "t10k-images-idx3-ubyte",
        10_000,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    ),
    IdxFile(
        "t10k-labels-idx1-ubyte",
        10_000,
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
)

SAMPLE: Final = (
    IdxFile(
        "train-images-idx3-ubyte",
        6_000,
        "5e70119ad8ca01350c1b2fd3f58eb4c0617afdc0fa8945a3d63e6a33daeba69d",
    ),
    IdxFile(
        "train-labels-idx1-ubyte",
        6_000,
        "ff4542eef991f0408428561f51d3e426698657dd02a35148555c89a37d2df31b",
    ),
    IdxFile(
        "t10k-images-idx3-ubyte",
        1_000,
        "b97c8bfeb834d8e7999eaa2d69239abe06653dc09c1e5d7eb0c974c5965bc6a9",
    ),
    IdxFile(
        "t10k-labels-idx1-ubyte",
        1_000,
        "41cf2f530031915ba9fbb241407c369dba1acd7515053edff48cebeee8b260f4",
    ),
)
_LARGEST_BYTES: Final = max(file.size_bytes for file in FULL)


def find_file(folder: Path, name: str) -> Path | None:
    """Return the file of that name, plain or compressed, also as unpacked by some archivers."""
    dotted = name.replace("-idx", ".idx")
    for candidate in (name, f"{name}.gz", dotted, f"{dotted}.gz"):
        if (folder / candidate).is_file():
            return folder / candidate
    return None


def read_folder(folder: Path, source: str) -> Digits:
    """Read four files, of the full data set or of this project's sample.

    Raises:
        DatasetError: a file is missing, damaged, swapped for another, or not MNIST.
    """
    found = {file.name: path for file in FULL if (path := find_file(folder, file.name))}
    if missing := [file.name for file in FULL if file.name not in found]:
        raise DatasetError(
            f"{folder}: expected the four MNIST files, plain or .gz; missing: {', '.join(missing)}."
            + ("" if folder.is_dir() else " There is no such folder.")
            + "\nAdd them, or name no folder to have MNIST fetched."
        )
    read = [read_file(found[pair[0].name], pair) for pair in zip(FULL, SAMPLE, strict=True)]
    if len({file in FULL for file, _ in read}) > 1:
        raise DatasetError(
            f"{folder}: some of the files belong to all of MNIST and some to the sample of it.\n"
            "Take all four from the same place."
        )
    train_images, train_labels, test_images, test_labels = (array for _, array in read)
    return Digits(train_images, train_labels, test_images, test_labels, source)


def read_file(path: Path, expected: tuple[IdxFile, ...]) -> tuple[IdxFile, Pixels]:
    """Read an IDX file, plain or compressed; return which of ``expected`` it is, and its array.

    Raises:
        DatasetError: it is none of them.
    """
    content = _read_content(path)
    digest = hashlib.sha256(content).hexdigest()
    for file in expected:
        if digest == file.sha256:
            data = np.frombuffer(content, np.uint8, offset=len(file.header))
            return file, data.reshape(file.shape)
    raise DatasetError(
        f"{path}: {_diagnose(content, digest, expected[0])}\n"
        "Replace it, or name no folder to have MNIST fetched."
    )


def is_genuine(path: Path, file: IdxFile) -> bool:
    """Tell whether a file, plain or compressed, has exactly the content of ``file``."""
    try:
        read_file(path, (file,))
    except DatasetError:
        return False
    return True


def _read_content(path: Path) -> bytes:
    try:
        with path.open("rb") as opened:
            content = opened.read(2 * _LARGEST_BYTES)  # noise does not compress
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}).") from error
    if not content.startswith(GZIP_MAGIC):
        return content
    decompressor = zlib.decompressobj(wbits=31)
    try:
        content = decompressor.decompress(content, _LARGEST_BYTES + 1)
    except zlib.error as error:
        raise DatasetError(
            f"{path}: is damaged; it does not decompress ({error}).\nReplace it."
        ) from error
    if not decompressor.eof and len(content) <= _LARGEST_BYTES:
        raise DatasetError(f"{path}: is truncated; the compressed data ends early.\nReplace it.")
    return content


def _diagnose(content: bytes, digest: str, expected: IdxFile) -> str:
    for file in (*FULL, *SAMPLE):
        if digest == file.sha256:
            return f"holds what belongs into {file.name}; the two files may have been swapped."
    if content[:3] != expected.header[:3] or len(content) < 8:
        return f"expected an IDX file, found one that starts with {content[:8]!r}."
    if content[3] != expected.header[3]:
        kinds = {1: "labels", 3: "pictures"}
        found = kinds.get(content[3], f"an array of {content[3]} dimensions")
        return f"expected {kinds[expected.header[3]]}, found {found}."
    dimensions = content[3]
    ends = range(4, 4 + 4 * dimensions, 4)
    sizes = [int.from_bytes(content[start : start + 4], "big") for start in ends]
    declared = 4 + 4 * dimensions + math.prod(sizes)
    if len(content) != declared:
        state = "truncated" if len(content) < declared else "damaged"
        return f"is {state}; its header declares {declared:,} bytes, found {len(content):,}."
    shape = " x ".join(f"{size:,}" for size in sizes)
    return (
        f"is an IDX file of {shape}, but not MNIST: expected SHA-256 {expected.sha256[:12]}..., "
        f"found {digest[:12]}...."
    )
