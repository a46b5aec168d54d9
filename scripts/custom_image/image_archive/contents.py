"""One pass over all layers of an image: its files, its faults, and what rules look for.

Each file is offered once to every :class:`Reader`; a file that none wants is skipped, which in an
uncompressed archive on disk means that it is not even read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from custom_image.engines.image_facts import instruction
from custom_image.errors import ArchiveError, CustomImageError
from custom_image.image_archive.containers import Container, is_json, is_layer
from custom_image.image_archive.limits import LIMITS, Limits
from custom_image.image_archive.manifests import Image, find_image
from custom_image.image_archive.sources import CHUNK_BYTES, decompressed, read
from custom_image.image_archive.tar import Entry, Fault, Members, Tar
from custom_image.image_archive.tree import Budget, Index, Overlay, Waste

R = TypeVar("R")

_LONGEST_STEP: Final = 60


class Sink(Protocol):
    """Takes the content of one file."""

    def feed(self, chunk: bytes) -> bool:
        """Take the next bytes; return whether more of them are wanted."""
        ...

    def close(self) -> None:
        """Draw conclusions: that was the end of the file, or all that was wanted."""
        ...


class Reader(Protocol):
    """Looks for something in all files of an image."""

    def open(self, entry: Entry, layer: int) -> Sink | None:
        """Return what takes the content of a file; None where its name says enough.

        ``layer`` is a number in the order of reading: see :meth:`Contents.position`.
        """
        ...


@dataclass(frozen=True)
class Layer:
    """One layer as it was read.

    Attributes:
        name: of the part that holds it.
        size_bytes: of the files in it, uncompressed.
        files: how many entries it has.
    """

    name: str
    size_bytes: int
    files: int


@dataclass
class Contents:
    """What one pass found.

    Attributes:
        image: what the archive says of the image; None for a folder.
        layers: in the order in which they were read.
        order: numbers of ``layers``, lowest first, a layer that comes twice twice.
        steps: the instruction that made each layer, in the same order.
        overlay: the files of the image as a container sees them.
        faults: what was left out; engines refuse images with grave ones.
        damage: why reading stopped; None where everything was read.
    """

    readers: Sequence[Reader]
    image: Image | None = None
    layers: list[Layer] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)
    overlay: Overlay = field(default_factory=lambda: Overlay(Budget(0)))
    faults: list[Fault] = field(default_factory=list)
    damage: ArchiveError | None = None

    @property
    def sizes(self) -> list[int]:
        """Bytes of each layer, lowest first."""
        return [self.layers[number].size_bytes for number in self.order]

    @property
    def largest_waste(self) -> list[Waste]:
        """The largest, largest first."""
        return self.overlay.largest_waste

    def reader(self, kind: type[R]) -> R:
        """Return the reader of a kind, with what it found.

        Raises:
            LookupError: it did not take part.
        """
        for reader in self.readers:
            if isinstance(reader, kind):
                return reader
        raise LookupError(f"no {kind.__name__} read this")

    def position(self, layer: int) -> str:
        """Return the name of a layer for people: ``layer 3 (COPY weights/ /home)``."""
        if layer not in self.order:
            return f"layer {layer + 1}"
        index = self.order.index(layer)
        step = " ".join(self.steps[index].split()) if index < len(self.steps) else ""
        if step == f"layer {index + 1}":
            step = ""
        return f"layer {index + 1}" + (f" ({_short(step)})" if step else "")


def read_image(
    container: Container, readers: Sequence[Reader] = (), limits: Limits = LIMITS
) -> Contents:
    """Read an archive once and return what it holds; with no readers, its names and sizes alone.

    A layer that is damaged or made to harm is left out from there on; ``damage`` says so.

    Raises:
        UsageError: it is no archive of one image.
        ArchiveError: it is damaged before it says which image it holds.
    """
    contents, budget = Contents(readers), Budget(limits.index_bytes)
    indexes: list[Index] = []
    documents: dict[str, bytes | int] = {}
    linked: dict[str, str] = {}
    try:
        for part in container.parts():
            if part.same_as:
                linked[part.name] = part.same_as
            elif is_layer(part):
                index = Index(budget, limits)
                indexes.append(index)
                where = f"{container.name}, {part.name}"
                source = decompressed(part.source, where, limits)
                _read_layer(contents, index, part.name, Tar(source, where, limits))
            elif is_json(part):
                is_small = part.size <= limits.json_bytes
                documents[part.name] = read(part.source, part.size) if is_small else part.size
    except ArchiveError as error:
        contents.damage = contents.damage or error
    contents.faults += container.faults
    try:
        contents.image = find_image(container.name, documents, linked)
    except CustomImageError:
        if contents.damage:
            raise contents.damage from None
        raise
    numbers = {layer.name: number for number, layer in enumerate(contents.layers)}
    missing = [name for name in contents.image.layers if name not in numbers]
    if missing and not contents.damage:
        contents.damage = ArchiveError(
            f"{container.name}: {missing[0]} is not there, or is no tar; the image needs it as a "
            "layer.\nSave the image again."
        )
    steps = [step for step, makes_layer in contents.image.steps if makes_layer]
    for step, name in zip(steps, contents.image.layers, strict=True):
        if name in numbers:
            contents.order.append(numbers[name])
            contents.steps.append(instruction(step))
    _lay(contents, indexes)
    return contents


def read_files(files: Members, name: str, readers: Sequence[Reader]) -> Contents:
    """Read files that are no image, such as a folder, as if they were its only layer."""
    contents, index = Contents(readers, order=[0], steps=[""]), Index(Budget(LIMITS.index_bytes))
    _read_layer(contents, index, name, files)
    _lay(contents, [index])
    return contents


def _read_layer(contents: Contents, index: Index, name: str, files: Members) -> None:
    number, size_bytes, count = len(contents.layers), 0, 0
    try:
        for entry in files:
            count += 1
            size_bytes += entry.size
            index.add(entry, number, files)
            if entry.size:  # none but files have one
                _offer(entry, number, files, contents.readers)
    except ArchiveError as error:
        contents.damage = contents.damage or error
    contents.faults += files.faults
    contents.layers.append(Layer(name, size_bytes, count))


def _offer(entry: Entry, number: int, files: Members, readers: Sequence[Reader]) -> None:
    sinks = [sink for reader in readers if (sink := reader.open(entry, number)) is not None]
    hungry = sinks
    while hungry and (chunk := files.some(CHUNK_BYTES)):
        hungry = [sink for sink in hungry if sink.feed(chunk)]
    for sink in sinks:
        sink.close()


def _lay(contents: Contents, indexes: list[Index]) -> None:
    for number in contents.order:
        contents.overlay.lay(indexes[number], number)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_STEP else text[:_LONGEST_STEP] + "..."
