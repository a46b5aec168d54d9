"""The one image in what an engine saves: its configuration, its layers, and what is left out.

An engine with containerd's image store keeps an index: the image beside its attestations and other
platforms, layers as they were built or pulled. A registry such as SWR takes one image in layers of
gzip: https://docs.docker.com/engine/storage/containerd/
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from custom_image.errors import ArchiveError
from custom_image.image_archive.containers import StreamContainer, is_json
from custom_image.image_archive.limits import LIMITS
from custom_image.image_archive.manifests import OCI_INDEX, find_image
from custom_image.image_archive.sources import CHUNK_BYTES, Source, Stream, decompressed, read

GZIP: Final = "gzip"
ZSTD: Final = "zstd"
PLAIN: Final = "plain"
_MAGIC: Final = {b"\x1f\x8b": GZIP, b"\x28\xb5": ZSTD}
_BLOBS: Final = "blobs/sha256/"
_GZIP_FORMAT: Final = 31  # of zlib: with gzip's head, which then names no time
_DEEPEST: Final = 4


@dataclass(frozen=True)
class SavedLayer:
    """A layer as the engine saves it.

    Attributes:
        part: its name in the archive.
        packing: ``gzip``, ``zstd`` or ``plain``.
    """

    part: str
    size_bytes: int
    packing: str

    @property
    def digest(self) -> str:
        """Of what is sent, where that is these very bytes and their name tells it."""
        is_blob = self.packing == GZIP and self.part.startswith(_BLOBS)
        return f"sha256:{self.part.removeprefix(_BLOBS)}" if is_blob else ""


@dataclass(frozen=True)
class SingleImage:
    """What is sent of a saved image.

    Attributes:
        config: the configuration, byte for byte.
        layers: lowest first; one may come twice.
        left_out: what else the engine has under its name.
    """

    config: bytes
    layers: tuple[SavedLayer, ...]
    left_out: tuple[str, ...]

    @property
    def id(self) -> str:
        """The digest of the configuration, which is the image's id."""
        return f"sha256:{hashlib.sha256(self.config).hexdigest()}"

    @property
    def conversions(self) -> tuple[str, ...]:
        """How what is sent differs from what the engine has."""
        found = [f"left out: {what}" for what in self.left_out]
        packed = {layer.part: layer.packing for layer in self.layers}
        for packing in (ZSTD, PLAIN):
            if count := list(packed.values()).count(packing):
                found.append(f"packed as gzip: {count} {packing} layer{'s' * (count > 1)}")
        return tuple(found)


def read_single_image(name: str, chunks: Iterator[bytes]) -> SingleImage:
    """Read an engine's answer to ``docker save``; the contents of layers are skipped.

    Raises:
        UsageError: it holds no image, or several for linux/amd64.
        ArchiveError: it is damaged.
    """
    documents: dict[str, bytes | int] = {}
    linked: dict[str, str] = {}
    layers: dict[str, SavedLayer] = {}
    for part in StreamContainer(name, Stream(chunks)).parts():
        if part.same_as:
            linked[part.name] = part.same_as
        elif is_json(part):
            is_small = part.size <= LIMITS.json_bytes
            documents[part.name] = read(part.source, part.size) if is_small else part.size
        else:
            packing = _MAGIC.get(part.source.peek(2), PLAIN)
            layers[part.name] = SavedLayer(part.name, part.size, packing)
    image = find_image(name, documents, linked)
    config = next(
        (d for d in documents.values() if isinstance(d, bytes) and _digest(d) == image.id), None
    )
    missing = [part for part in image.layers if part not in layers]
    if config is None or missing:
        what = missing[0] if missing else f"the configuration {image.id}"
        raise ArchiveError(f"{name}: {what} is not there.\nPull or build the image again.")
    found = tuple(layers[part] for part in image.layers)
    return SingleImage(config, found, tuple(_left_out(documents, OCI_INDEX, image.id)))


def saved_parts(
    name: str, chunks: Iterator[bytes], wanted: Mapping[str, SavedLayer]
) -> Iterator[tuple[SavedLayer, Iterator[bytes]]]:
    """Yield the layers that are wanted, by part, in the archive's order, each as gzip.

    Raises:
        ArchiveError: it is damaged.
    """
    for part in StreamContainer(name, Stream(chunks)).parts():
        if layer := wanted.get(part.name):
            if layer.packing == GZIP:
                yield layer, _chunks(part.source)
            else:
                yield layer, _gzipped(decompressed(part.source, f"{name}, {part.name}"))


def _chunks(source: Source) -> Iterator[bytes]:
    while chunk := source.some(CHUNK_BYTES):
        yield chunk


def _gzipped(source: Source) -> Iterator[bytes]:
    compressor = zlib.compressobj(wbits=_GZIP_FORMAT)
    for chunk in _chunks(source):
        if packed := compressor.compress(chunk):
            yield packed
    yield compressor.flush()


def _left_out(
    documents: Mapping[str, bytes | int], part: str, image_id: str, depth: int = 0
) -> Iterator[str]:
    """Yield what an index names, and the archive holds, besides the image."""
    index = _parsed(documents.get(part))
    if depth > _DEEPEST:
        return
    for descriptor in index.get("manifests") or []:
        blob = f"blobs/{str(descriptor.get('digest', '')).replace(':', '/', 1)}"
        manifest = _parsed(documents.get(blob))
        if "manifests" in manifest:
            yield from _left_out(documents, blob, image_id, depth + 1)
        elif manifest and (manifest.get("config") or {}).get("digest") != image_id:
            platform = descriptor.get("platform") or {}
            system, architecture = platform.get("os", ""), platform.get("architecture", "")
            is_image = system not in ("", "unknown")
            yield f"the image for {system}/{architecture}" if is_image else "an attestation"


def _parsed(document: bytes | int | None) -> dict[str, Any]:
    try:
        found = json.loads(document) if isinstance(document, bytes) else {}
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
