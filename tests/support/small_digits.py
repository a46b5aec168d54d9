"""Few real digits, for tests that train in a second."""

from __future__ import annotations

from custom_image.mnist import Digits, load_mnist


def small_digits(train: int = 640, test: int = 200) -> Digits:
    """The first digits of the sample in the repository."""
    sample = load_mnist(sample=True)
    return Digits(
        sample.train_images[:train],
        sample.train_labels[:train],
        sample.test_images[:test],
        sample.test_labels[:test],
        f"the first {train} + {test} of the sample",
    )
