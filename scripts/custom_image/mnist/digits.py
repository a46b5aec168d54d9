"""The noun: digits with their labels, shown as pictures."""

from __future__ import annotations

import hashlib
import io
from base64 import b64encode
from dataclasses import dataclass
from functools import cached_property
from html import escape

import numpy as np
import numpy.typing as npt
from PIL import Image

from custom_image.errors import DatasetError

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False, repr=False)
class Digits:
    """Handwritten digits, light on dark.

    Attributes:
        train_images: (n, 28, 28) uint8, 0 is background.
        train_labels: (n,) uint8 from 0 to 9.
        test_images: like ``train_images``; never learned from.
        test_labels: like ``train_labels``.
        source: where they came from, in words.
    """

    train_images: Pixels
    train_labels: Pixels
    test_images: Pixels
    test_labels: Pixels
    source: str

    @cached_property
    def sha256(self) -> str:
        """The hash of all pictures and labels: equal for equal data, whatever its source."""
        digest = hashlib.sha256()
        for array in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def example(self, digit: int, index: int = 0) -> Pixels:
        """Return a test picture of ``digit``, (28, 28) uint8.

        Raises:
            DatasetError: there is no such digit, or not so many of it.
        """
        found = np.flatnonzero(self.test_labels == digit)
        if not 0 <= index < len(found):
            raise DatasetError(
                f"expected a test picture number {index} of the digit {digit}, found {len(found)} "
                "pictures of it.\nDigits go from 0 to 9, and pictures are counted from 0."
            )
        picture: Pixels = self.test_images[found[index]]
        return picture

    def __str__(self) -> str:
        return (
            f"MNIST: {len(self.train_images):,} digits to train on, "
            f"{len(self.test_images):,} to test with, from {self.source}"
        )

    __repr__ = __str__

    def _repr_html_(self) -> str:
        row = np.hstack([self.example(digit) for digit in np.unique(self.test_labels)])
        return (
            f"<p>{escape(str(self))}</p>"
            f"<img src='data:image/png;base64,{b64encode(_encode(row, 'PNG')).decode()}' "
            f"alt='one test picture of each digit' height='56' style='image-rendering:pixelated'>"
        )


def encode_jpeg(picture: Pixels) -> bytes:
    """Return a (28, 28) uint8 picture as a JPEG file, as a client would send it."""
    return _encode(picture, "JPEG")


def _encode(picture: Pixels, format_name: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format_name, quality=95)
    return file.getvalue()
