"""After a save: what of the things that an audit named is in the layers of the image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from custom_image.audit.findings import Audit, Finding
from custom_image.audit.walk import shown
from custom_image.image_archive import Entry, read_saved


@dataclass(frozen=True)
class Carried:
    """Something that an audit named, and that the saved image has.

    Attributes:
        layers: where it is, as people name layers.
    """

    finding: Finding
    layers: tuple[str, ...]

    def __str__(self) -> str:
        where = "; ".join(self.layers)
        return f"{self.finding.path}: {self.finding.what}. It is in {where}."


class _NamedReader:
    """Notes in which layers named paths stand, or something below them."""

    def __init__(self, paths: set[str]) -> None:
        self._paths = paths
        self.found: dict[str, set[int]] = {}

    def open(self, entry: Entry, layer: int) -> None:
        """Compare a file by its name alone."""
        path = "/" + shown(entry.path)
        while path:
            if path in self._paths:
                self.found.setdefault(path, set()).add(layer)
                return
            path = path.rpartition("/")[0]


def search_layers(audit: Audit, name: str, saved: Iterator[bytes]) -> tuple[Carried, ...]:
    """Return what still stands of an audit and is in an image, deleted by a later layer or not.

    Args:
        audit: of the instance, at its own paths.
        name: of the image, for messages.
        saved: what ``docker save`` writes.

    Raises:
        ArchiveError: it is no image.
    """
    named = {finding.path: finding for finding in audit.open if finding.path}
    reader = _NamedReader(set(named))
    contents = read_saved(name, saved, [reader])
    if contents.damage:
        raise contents.damage
    return tuple(
        Carried(named[path], tuple(contents.position(layer) for layer in sorted(layers)))
        for path, layers in sorted(reader.found.items())
    )
