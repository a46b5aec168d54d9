"""Make the sample of the repository: the first 600 + 100 of each digit, in their own order.

python -m custom_image.mnist.make_sample FOLDER OUTPUT     FOLDER holds the four files of MNIST
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np

from custom_image.mnist.digits import Pixels
from custom_image.mnist.files import SAMPLE, read_folder


def first_of_each(labels: Pixels, count: int) -> list[int]:
    """Return the places of the first ``count`` of each label, in the order of ``labels``."""
    places = [np.flatnonzero(labels == digit)[:count] for digit in range(10)]
    return sorted(np.concatenate(places).tolist())


def write_sample(folder: Path, output: Path) -> None:
    """Write the four files of the sample, compressed; the same bytes each time."""
    digits = read_folder(folder, str(folder))
    train = first_of_each(digits.train_labels, SAMPLE[0].count // 10)
    test = first_of_each(digits.test_labels, SAMPLE[2].count // 10)
    arrays = (
        digits.train_images[train],
        digits.train_labels[train],
        digits.test_images[test],
        digits.test_labels[test],
    )
    output.mkdir(parents=True, exist_ok=True)
    for file, array in zip(SAMPLE, arrays, strict=True):
        content = gzip.compress(file.header + array.tobytes(), compresslevel=9, mtime=0)
        (output / f"{file.name}.gz").write_bytes(content)


if __name__ == "__main__":
    write_sample(Path(sys.argv[1]), Path(sys.argv[2]))
