"""Spreading large weights over several layers of an image, because a registry limits each.

A Dockerfile that copies ``weights/0/``, ``weights/1/`` ... has as many layers for them. Whole files
share a layer as long as they fit. A file that fits in none travels in parts, which the boot file
joins before it serves: the image holds it once, the running container a second time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from custom_image.errors import PackageError
from custom_image.specification import GB, LAYER_SIZE

LAYER_BYTES: Final = LAYER_SIZE.value * GB - 10 * 10**6
"""What files may take in one layer: the limit, without room for the headers of its tar."""
PARTS_NAME: Final = ".parts"
"""A file beside the weights that names those in parts, one a line; read by the boot file."""
_HEADER_BYTES: Final = 2048
_COPY_BYTES: Final = 2**20


def count_layers(dockerfile: str) -> int:
    """Return how many layers a Dockerfile has for weights; 0 where it copies them as one folder."""
    return len(set(re.findall(r"^COPY .*\bweights/(\d+)/ ", dockerfile, re.MULTILINE)))


def spread(
    weights: Mapping[str, Path],
    folder: Path,
    layers: int,
    link: Callable[[Path, Path], None],
    layer_bytes: int = LAYER_BYTES,
) -> None:
    """Put files, by their name in the model, into ``folder/0``, ``folder/1`` ...

    Args:
        weights: where each file is now.
        folder: gets ``layers`` folders, empty ones too.
        layers: of the Dockerfile.
        link: gives a file another name.
        layer_bytes: the most that one of them may hold.

    Raises:
        PackageError: they do not fit.
    """
    free = [layer_bytes] * layers
    for number in range(layers):
        (folder / str(number)).mkdir(parents=True)
    in_parts = []
    for name, path in sorted(weights.items()):
        size = path.stat().st_size
        pieces = _pieces(size, layer_bytes - _HEADER_BYTES)
        if len(pieces) > 1:
            in_parts.append(name)
        for number, (start, length) in enumerate(pieces):
            needed = length + _HEADER_BYTES
            place = next((n for n, left in enumerate(free) if left >= needed), None)
            if place is None:
                raise PackageError(_does_not_fit(weights, layers, layer_bytes))
            free[place] -= needed
            if len(pieces) == 1:
                link(path, folder / str(place) / name)
            else:
                _cut(path, start, length, folder / str(place) / f"{name}.part-{number:03}")
    if in_parts:
        (folder / "0" / PARTS_NAME).write_text("".join(f"{name}\n" for name in in_parts))


def _pieces(size: int, most: int) -> list[tuple[int, int]]:
    """Return start and length of each piece of a file, one for a file that fits."""
    return [(start, min(most, size - start)) for start in range(0, max(size, 1), most)]


def _cut(path: Path, start: int, length: int, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with path.open("rb") as source, target.open("wb") as part:
        source.seek(start)
        while length and (data := source.read(min(length, _COPY_BYTES))):
            part.write(data)
            length -= len(data)


def _does_not_fit(weights: Mapping[str, Path], layers: int, layer_bytes: int) -> str:
    sizes = sorted(((p.stat().st_size, name) for name, p in weights.items()), reverse=True)
    largest = ", ".join(f"{name} ({size / GB:.2f} GB)" for size, name in sizes[:3])
    return (
        f"the weights do not fit into {layers} layers of {layer_bytes / GB:.2f} GB each; "
        f"the largest: {largest}.\nMake the files smaller, or so that two of them fill a layer."
    )
