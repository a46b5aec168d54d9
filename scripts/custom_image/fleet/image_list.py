"""Which images are meant: the lines of a file, or what an organization of a registry holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from custom_image.errors import UsageError
from custom_image.fleet.registry import list_images
from custom_image.image_reference import ImageReference


@dataclass(frozen=True)
class BadLine:
    """A line that names no image.

    Attributes:
        number: counted from 1.
    """

    number: int
    text: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.text!r} names no image: {self.reason}"


@dataclass(frozen=True)
class ImageList:
    """The images, each once and in order, and the lines that name none."""

    source: str
    images: tuple[str, ...]
    bad_lines: tuple[BadLine, ...] = ()


def read_images(source: str) -> ImageList:
    """Read a file of images, one a line, or list the images of ``registry/organization/``.

    Blank lines and what follows a ``#`` are left out.

    Raises:
        UsageError: the file cannot be read, or there is no image in it.
        Unavailable: the registry does not answer, or refuses.
    """
    path = Path(source)
    if not path.exists() and source.endswith("/") and not source.startswith((".", "/")):
        found = ImageList(source, tuple(list_images(source)))
    else:
        found = _read(path)
    if not found.images and not found.bad_lines:
        raise UsageError(f"{source}: expected images, one a line; found none.")
    return found


def _read(path: Path) -> ImageList:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(
            f"{path}: cannot be read ({reason}).\n"
            "Expected a file with an image a line, or an organization: registry.example.com/team/"
        ) from error
    images, bad_lines = [], []
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip().removeprefix("\ufeff")
        if not text:
            continue
        try:
            ImageReference.parse(text)
        except UsageError as error:
            # The fault alone: the rest of the message tells of one argument, not of a line.
            reason = str(error).splitlines()[0].partition(" is no image reference: ")[2]
            bad_lines.append(BadLine(number, text[:100], reason.rstrip(".")))
        else:
            images.append(text)
    return ImageList(str(path), tuple(dict.fromkeys(images)), tuple(bad_lines))
