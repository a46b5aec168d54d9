"""The list of images: the lines of a file, or what an organization of a registry holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from custom_image.errors import UsageError
from custom_image.fleet.list_file import BadLine, read_list
from custom_image.fleet.registry import list_images
from custom_image.image_reference import ImageReference

_EXPECTED: Final = "a file with an image a line, or an organization: registry.example.com/team/"


@dataclass(frozen=True)
class ImageList:
    """The images, each once and in order, and the lines that name none."""

    source: str
    images: tuple[str, ...]
    bad_lines: tuple[BadLine, ...] = ()


def read_images(source: str) -> ImageList:
    """Read a file of images, one a line, or list the images of ``registry/organization/``.

    Raises:
        UsageError: the file cannot be read, or there is no image in it.
        Unavailable: the registry does not answer, or refuses.
    """
    path = Path(source)
    if path.exists() or not source.endswith("/") or source.startswith((".", "/")):
        return ImageList(str(path), *read_list(path, image_reference, _EXPECTED))
    images = tuple(list_images(source))
    if not images:
        raise UsageError(f"{source}: expected images; the registry lists none.")
    return ImageList(source, images)


def image_reference(text: str) -> str:
    """Return a text that is an image's name.

    Raises:
        UsageError: it is none; the fault alone, as the rest of a sentence.
    """
    try:
        ImageReference.parse(text)
    except UsageError as error:
        fault = str(error).splitlines()[0].partition(" is no image reference: ")[2]
        raise UsageError(f"names no image: {fault}") from error
    return text
