"""The files of an image by path, layer upon layer, in little memory.

A directory is a dict; what it holds is packed into the smallest Python value that will do, because
an image may hold a million files: a file is one integer (its layer, its size, where its header
is), a symbolic link its target in bytes, a hard link a tuple, a whiteout None.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from custom_image.errors import ArchiveError
from custom_image.image_archive.limits import LIMITS, Limits
from custom_image.image_archive.tar import Entry, Kind, Members, shown

Directory = dict[bytes, Any]

# https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts
_WHITEOUT: Final = b".wh."
_OPAQUE_NAME: Final = b".wh..wh..opq"
_OPAQUE: Final = b""
"""A key that no name is: all below it comes from this layer alone."""
_LONGEST_LINK_CHAIN: Final = 40
_WIDTH: Final = 48
_MASK: Final = (1 << _WIDTH) - 1
# What Python needs, measured: an entry of a dict, the name, the packed value; a dict with one key.
_NODE_BYTES: Final = 150
_DIRECTORY_BYTES: Final = 300
_MOST_WASTE: Final = 25


class Place(NamedTuple):
    """Where a file is.

    Attributes:
        layer: number of its layer, in the order in which they were read.
        offset: of its header in the layer's tar.
    """

    layer: int
    size: int
    offset: int


@dataclass(frozen=True, order=True)
class Waste:
    """Bytes of one layer that a later layer deletes or replaces: still uploaded, never seen."""

    size_bytes: int
    path: str
    layer: int
    by_layer: int


@dataclass
class Budget:
    """Memory that the indexes of all layers of an image share, in bytes."""

    most: int
    used: int = 0


class Index:
    """The files of one layer, or of several that were laid upon each other."""

    def __init__(self, budget: Budget, limits: Limits = LIMITS) -> None:
        self.root: Directory = {}
        self._budget = budget
        self._limits = limits

    def add(self, entry: Entry, layer: int, files: Members) -> None:
        """Take one member of a layer.

        Raises:
            ArchiveError: there are so many that their names alone would fill memory.
        """
        path = entry.path
        if not path:
            return
        parent, _, name = path.rpartition(b"/")
        folder = self._folder(parent, entry, files) if parent else self.root
        if name.startswith(_WHITEOUT):
            self._add_whiteout(folder, name)
            return
        node: Any
        if entry.kind is Kind.DIRECTORY:
            self._make_folder(folder, name)
            return
        if entry.kind is Kind.SYMLINK:
            node = entry.link
        elif entry.kind is Kind.HARD_LINK:
            node = self._hard_link(entry, files)
        else:
            node = _pack(layer, entry.size, entry.offset)
        known = folder.get(name)
        if isinstance(known, int):
            files.fault(entry.offset, f"{shown(path)} for the second time", is_grave=False)
        elif known is None:
            self._charge(_NODE_BYTES + len(name), files)
        folder[name] = node

    def paths(self, *, links: bool = True) -> Iterator[bytes]:
        """Yield the paths of what is no folder, in no order; links only where they are wanted."""
        waiting = [(b"", self.root)]
        while waiting:
            path, folder = waiting.pop()
            for name, node in folder.items():
                inner = path + b"/" + name if path else name
                if isinstance(node, dict):
                    waiting.append((inner, node))
                elif isinstance(node, int) or (links and node is not None):
                    yield inner

    def find(self, path: bytes) -> Place | None:
        """Return where the file of a path is, links followed as the kernel would inside the image.

        None where there is no such file, or it is something else.
        """
        parts = [part for part in path.split(b"/") if part]
        links = 0
        walked: list[Directory] = [self.root]
        while parts:
            part = parts.pop(0)
            if part == b"..":
                walked = walked[:-1] or [self.root]
                continue
            if part == b".":
                continue
            node = walked[-1].get(part)
            if isinstance(node, dict):
                walked.append(node)
            elif isinstance(node, int) and not parts:
                return _unpack(node)
            elif isinstance(node, bytes | tuple):
                links += 1
                target = node if isinstance(node, bytes) else b"/" + node[0]
                if links > _LONGEST_LINK_CHAIN or len(parts) > self._limits.path_bytes:
                    return None
                if target.startswith(b"/"):
                    walked = [self.root]
                parts = [step for step in target.split(b"/") if step] + parts
            else:
                return None
        return None

    def holds(self, path: bytes, layer: int) -> bool:
        """Tell whether what stands at a path, links not followed, comes from this layer."""
        folder = self.root
        *parents, name = path.split(b"/")
        for part in parents:
            folder = folder.get(part)  # type: ignore[assignment]
            if not isinstance(folder, dict):
                return False
        node = folder.get(name)
        return isinstance(node, int) and _unpack(node).layer == layer

    def _folder(self, path: bytes, entry: Entry, files: Members) -> Directory:
        folder = self.root
        for part in path.split(b"/"):
            known = folder.get(part)
            if not isinstance(known, dict):
                if isinstance(known, bytes):
                    files.fault(entry.offset, f"{shown(entry.path)} goes through a link")
                known = self._make_folder(folder, part, files)
            folder = known
        return folder

    def _make_folder(
        self, folder: Directory, name: bytes, files: Members | None = None
    ) -> Directory:
        known = folder.get(name)
        if isinstance(known, dict):
            return known
        is_replaced = name in folder and known is None
        made: Directory = {_OPAQUE: True} if is_replaced else {}
        folder[name] = made
        self._charge(_NODE_BYTES + _DIRECTORY_BYTES + len(name), files)
        return made

    def _add_whiteout(self, folder: Directory, name: bytes) -> None:
        if name == _OPAQUE_NAME:
            folder[_OPAQUE] = True
        elif not name.startswith(_WHITEOUT + _WHITEOUT):  # others are aufs' own
            hidden = name.removeprefix(_WHITEOUT)
            known = folder.get(hidden)
            if isinstance(known, dict):
                known[_OPAQUE] = True
            elif known is None and hidden:
                folder[hidden] = None
                self._charge(_NODE_BYTES + len(hidden), None)

    def _hard_link(self, entry: Entry, files: Members) -> Any:
        target = [part for part in entry.link.split(b"/") if part not in (b"", b".")]
        if b".." in target:
            files.fault(
                entry.offset,
                f"{shown(entry.path)} is a hard link to {entry.link.decode(errors='replace')}, "
                "out of the image",
            )
            return b""
        return (b"/".join(target),)

    def _charge(self, size: int, files: Members | None) -> None:
        self._budget.used += size
        if self._budget.used > self._budget.most:
            raise ArchiveError(
                f"{files.where if files else 'image'}: the names of its files alone take more than "
                f"{self._budget.most:,} bytes of memory; reading stopped.\n"
                "Expected at most about a million files in an image."
            )


class Overlay(Index):
    """Layers laid upon each other, lowest first, and what later ones waste of earlier ones."""

    def __init__(self, budget: Budget) -> None:
        super().__init__(budget)
        self.wasted_bytes = 0
        self._largest: list[Waste] = []

    @property
    def largest_waste(self) -> list[Waste]:
        """The largest, largest first."""
        return sorted(self._largest, reverse=True)

    def lay(self, upper: Index, layer: int) -> None:
        """Lay the next layer upon the others; its index is used up."""
        self._merge(self.root, upper.root, b"", layer)

    def _merge(self, lower: Directory, upper: Directory, path: bytes, layer: int) -> None:
        if lower is upper:  # the same layer twice
            return
        if upper.get(_OPAQUE):
            for name, node in lower.items():
                self._lose(node, path + b"/" + name, layer)
            lower.clear()
        for name, node in upper.items():
            if name == _OPAQUE:
                continue
            old = lower.get(name)
            if isinstance(old, dict) and isinstance(node, dict):
                self._merge(old, node, path + b"/" + name, layer)
                continue
            if old is not None:
                self._lose(old, path + b"/" + name, layer)
            if node is None:
                lower.pop(name, None)
            else:
                lower[name] = node

    def _lose(self, node: Any, path: bytes, by_layer: int) -> None:
        lost: dict[int, int] = {}
        for place in _files(node):
            if place.layer != by_layer:
                lost[place.layer] = lost.get(place.layer, 0) + place.size
        for layer, size in lost.items():
            self.wasted_bytes += size
            if size:
                self._keep(Waste(size, shown(path.lstrip(b"/")), layer, by_layer))

    def _keep(self, waste: Waste) -> None:
        if len(self._largest) < _MOST_WASTE:
            heapq.heappush(self._largest, waste)
        else:
            heapq.heappushpop(self._largest, waste)


def _files(node: Any) -> Iterator[Place]:
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            waiting += node.values()
        elif type(node) is int:
            yield _unpack(node)


def _pack(layer: int, size: int, offset: int) -> int:
    return ((layer << _WIDTH | min(size, _MASK)) << _WIDTH) | min(offset, _MASK)


def _unpack(node: int) -> Place:
    return Place(node >> 2 * _WIDTH, node >> _WIDTH & _MASK, node & _MASK)
