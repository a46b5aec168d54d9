"""A picture becomes a digit of MNIST, however it was drawn."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from PIL import Image
from runtime import EXAMPLE_SERVICE


@pytest.fixture(scope="module")
def service():
    spec = importlib.util.spec_from_file_location("customize_service", EXAMPLE_SERVICE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sample(digits):
    return digits.test_images[:100]


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation of two pictures, at most a pixel shifted against each other."""
    shifts = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    moved = (np.roll(one, shift, (0, 1)) for shift in shifts)
    return max(float(np.corrcoef(m.ravel(), other.ravel())[0, 1]) for m in moved)


def test_a_picture_of_mnist_is_left_alone(service, sample):
    for picture in sample:
        assert np.array_equal(service.normalise(picture), picture / 255.0)


def test_its_negative_gives_the_same(service, sample):
    for picture in sample:
        assert np.allclose(service.normalise(255 - picture), picture / 255.0)


def enlarged(picture: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((560, 560), Image.Resampling.BICUBIC))


def on_paper(picture: np.ndarray) -> np.ndarray:
    sheet = np.full((700, 2000), 230, np.uint8)
    sheet[100:660, 1300:1860] = np.minimum(230, 255 - enlarged(picture))
    return sheet


def noisy(picture: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(7).normal(0, 8, (560, 560))
    return np.clip(enlarged(picture) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("drawn", [enlarged, on_paper, noisy], ids=lambda drawn: drawn.__name__)
def test_a_large_picture_is_made_like_the_one_of_mnist(service, sample, drawn):
    found = [likeness(service.normalise(drawn(picture)), picture) for picture in sample]

    assert np.mean(found) > 0.97
    assert np.min(found) > 0.8


def test_the_digit_keeps_its_proportions_inside_20_by_20(service):
    tall = np.zeros((400, 300), np.uint8)
    tall[50:350, 100:150] = 255

    digit = service.normalise(tall)

    rows, columns = np.nonzero(digit)
    assert np.ptp(rows) + 1 == 20
    assert 3 <= np.ptp(columns) + 1 <= 4
    assert (digit.shape, digit.max()) == ((28, 28), 1.0)


@pytest.mark.parametrize("grey", [0, 128, 255])
@pytest.mark.parametrize("shape", [(28, 28), (1, 1), (1, 500), (300, 200)])
def test_a_picture_without_ink_stays_finite(service, grey, shape):
    digit = service.normalise(np.full(shape, grey, np.uint8))

    assert digit.shape == (28, 28)
    assert np.isfinite(digit).all()
    assert 0 <= digit.min() <= digit.max() <= 1


def test_a_photo_that_was_taken_sideways_is_turned(service, digits, tmp_path):
    picture = Image.fromarray(enlarged(digits.example(7)))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to show
    picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "photo.jpg", exif=exif)

    upright = service.normalise(service.read_picture((tmp_path / "photo.jpg").read_bytes()))

    assert likeness(upright, digits.example(7)) > 0.9
