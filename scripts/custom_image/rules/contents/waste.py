"""Bytes that are uploaded and pulled, and of no use to the service."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from typing import Final

from custom_image.image_archive import Contents, Entry
from custom_image.rules import (
    ALL_PROFILES,
    Context,
    Finding,
    Needs,
    Severity,
    failed,
    passed,
    rule,
)
from custom_image.specification import Source

BEST_PRACTICES: Final = Source(
    "Docker: building best practices", "https://docs.docker.com/build/building/best-practices/"
)
MB: Final = 10**6
WORTH_SAYING_BYTES: Final = MB
"""Of one kind; less is not worth a line of a Dockerfile."""
LEAST_DUPLICATE_BYTES: Final = 128 * 1024
SHOWN: Final = 10
CACHES: Final = re.compile(
    rb"(?:^|/)(\.cache/(?:pip|uv|huggingface|torch|conda|yarn|go-build)|var/cache/apt"
    rb"|var/lib/apt/lists|var/cache/(?:yum|dnf|apk)|(?:mini|ana|mamba|mini)?(?:conda|forge)3?/pkgs"
    rb"|\.npm/_cacache|\.conda/pkgs)/"
)


class CacheReader:
    """Adds up the files in the caches of package managers, by their names alone."""

    def __init__(self) -> None:
        self.size_bytes: dict[tuple[int, bytes], int] = defaultdict(int)

    def open(self, entry: Entry, layer: int) -> None:
        """Count a file; its content is of no interest."""
        if entry.size and (match := CACHES.search(entry.path)):
            self.size_bytes[layer, entry.path[: match.end() - 1]] += entry.size


class DuplicateReader:
    """Finds equal files, from 128 KiB on, by the digest of their content."""

    def __init__(self) -> None:
        self.places: dict[tuple[int, bytes], list[tuple[int, bytes]]] = defaultdict(list)

    def open(self, entry: Entry, layer: int) -> _Digest | None:
        """Take the content of larger files."""
        return _Digest(self, entry, layer) if entry.size >= LEAST_DUPLICATE_BYTES else None


class _Digest:
    def __init__(self, reader: DuplicateReader, entry: Entry, layer: int) -> None:
        self._reader = reader
        self._entry = entry
        self._layer = layer
        self._hash = hashlib.sha256()

    def feed(self, chunk: bytes) -> bool:
        """Take a part of a file."""
        self._hash.update(chunk)
        return True

    def close(self) -> None:
        """Remember where that content is."""
        places = self._reader.places[self._entry.size, self._hash.digest()[:12]]
        places.append((self._layer, self._entry.path))


@rule(
    id="waste.caches",
    title="No cache of a package manager is in the image",
    why="Caches are uploaded and pulled with every instance, and used by none.",
    severity=Severity.WARNING,
    profiles=ALL_PROFILES,
    needs=Needs.IMAGE | Needs.CONTENTS,
    requires=("layers.unpack",),
    expected="below 1 MB",
    source=BEST_PRACTICES,
    remediation="Empty the cache in the step that fills it: pip install --no-cache-dir, "
    "rm -rf /var/lib/apt/lists/*, conda clean --all --yes.",
    good="RUN apt-get update && apt-get install -y zip && rm -rf /var/lib/apt/lists/*",
    bad="RUN pip install torch",
)
def caches(context: Context) -> Finding:
    """Add up files in the caches of pip, uv, apt, yum, conda, npm, Hugging Face and torch.

    Bytecode (``__pycache__``) is none: it makes a start faster.
    """
    contents = context.contents
    found = contents.reader(CacheReader).size_bytes
    total = sum(found.values())
    lines = [
        f"{_mb(size)}  {contents.position(layer)}, /{path.decode(errors='replace')}"
        for (layer, path), size in sorted(found.items(), key=lambda item: -item[1])[:SHOWN]
    ]
    judge = failed if total >= WORTH_SAYING_BYTES else passed
    return judge(_mb(total), "\n".join(lines))


@rule(
    id="waste.duplicates",
    title="No large file is in the image twice",
    why="Each copy is uploaded and pulled; a link, or one place for both, costs nothing.",
    severity=Severity.WARNING,
    profiles=ALL_PROFILES,
    needs=Needs.IMAGE | Needs.CONTENTS,
    requires=("layers.unpack",),
    expected="below 1 MB",
    source=BEST_PRACTICES,
    remediation="Keep one copy and link to it (ln), or copy it into the image once.",
    good="COPY weights/ /home/ma-user/infer/model/1/",
    bad="the same weights below /opt as well",
)
def duplicates(context: Context) -> Finding:
    """Compare files of 128 KiB and more that the image still shows, by their digests."""
    contents, found = context.contents, []
    for (size, _), places in contents.reader(DuplicateReader).places.items():
        there = [p for p in dict.fromkeys(places) if contents.overlay.holds(p[1], p[0])]
        there.sort(key=lambda place: (contents.order.index(place[0]), place[1]))
        if len({path for _, path in there}) > 1:
            found.append((size * (len(there) - 1), there))
    found.sort(key=lambda item: -item[0])
    total = sum(wasted for wasted, _ in found)
    lines = [f"{_mb(wasted)}  {_shown(contents, there)}" for wasted, there in found[:SHOWN]]
    judge = failed if total >= WORTH_SAYING_BYTES else passed
    return judge(f"{_mb(total)} in {len(found)} files", "\n".join(lines))


@rule(
    id="waste.replaced",
    title="No layer deletes or replaces what a lower one brought",
    why="A lower layer keeps its bytes: chmod, chown and rm in a step of their own free nothing.",
    severity=Severity.WARNING,
    profiles=ALL_PROFILES,
    needs=Needs.IMAGE | Needs.CONTENTS,
    requires=("layers.unpack",),
    expected="below 1 MB",
    source=BEST_PRACTICES,
    remediation="Delete in the step that creates, COPY --chown instead of RUN chown, and leave "
    "build "
    "tools behind in a stage of their own.",
    good="COPY --chown=1000:100 weights/ /model/",
    bad="COPY weights/ /model/ and then RUN chown -R 1000:100 /model",
)
def replaced(context: Context) -> Finding:
    """Add up what later layers hide of earlier ones, and name the largest."""
    contents = context.contents
    lines = [
        f"{_mb(waste.size_bytes)}  {contents.position(waste.layer)}, {waste.path}: hidden by "
        f"{contents.position(waste.by_layer)}"
        for waste in contents.largest_waste[:SHOWN]
    ]
    total = contents.overlay.wasted_bytes
    judge = failed if total >= WORTH_SAYING_BYTES else passed
    return judge(_mb(total), "\n".join(lines))


def _shown(contents: Contents, there: list[tuple[int, bytes]]) -> str:
    names = [f"{contents.position(n)}, /{path.decode(errors='replace')}" for n, path in there]
    return " = ".join(names[:4]) + (f" and {len(names) - 4} more" if names[4:] else "")


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / MB:.1f} MB" if size_bytes >= MB / 10 else f"{size_bytes:,} bytes"
