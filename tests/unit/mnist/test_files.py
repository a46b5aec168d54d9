"""Files the user named are used or refused, and a refusal says which file and why."""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from custom_image.errors import DatasetError
from custom_image.mnist import Digits, encode_jpeg, load_mnist
from custom_image.mnist.dataset import SAMPLE_FOLDER
from custom_image.mnist.files import FULL, SAMPLE
from custom_image.mnist.make_sample import first_of_each

IMAGES, LABELS, TEST_IMAGES, TEST_LABELS = (f"{file.name}.gz" for file in SAMPLE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the sample, as a user would have the files."""
    return shutil.copytree(SAMPLE_FOLDER, tmp_path / "digits")


@pytest.fixture(scope="module")
def sample() -> Digits:
    return load_mnist(sample=True)


def test_the_sample_holds_as_many_of_each_digit(sample: Digits):
    assert sample.train_images.shape == (6000, 28, 28)
    assert sample.test_images.shape == (1000, 28, 28)
    assert np.bincount(sample.train_labels).tolist() == [600] * 10
    assert np.bincount(sample.test_labels).tolist() == [100] * 10
    assert sum(path.stat().st_size for path in SAMPLE_FOLDER.iterdir()) < 1_700_000


def test_the_sample_says_where_it_is_from(sample: Digits):
    assert str(sample) == (
        "MNIST: 6,000 digits to train on, 1,000 to test with, from the sample in this repository"
    )
    assert "Creative Commons" in (SAMPLE_FOLDER / "README.md").read_text(encoding="utf-8")


def test_compressed_files_of_a_named_folder_are_used(folder: Path, sample: Digits):
    digits = load_mnist(folder)

    assert digits.sha256 == sample.sha256
    assert str(folder) in digits.source


@pytest.mark.parametrize("name", ["{}", "{}.gz"])
@pytest.mark.parametrize("dotted", [False, True])
def test_plain_and_renamed_files_are_used(tmp_path: Path, sample: Digits, name: str, dotted: bool):
    for path in SAMPLE_FOLDER.glob("*.gz"):
        stem = path.stem.replace("-idx", ".idx") if dotted else path.stem
        content = path.read_bytes() if name.endswith(".gz") else gzip.decompress(path.read_bytes())
        (tmp_path / name.format(stem)).write_bytes(content)

    assert load_mnist(str(tmp_path)).sha256 == sample.sha256


def swap(first: str, second: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = (folder / first).read_bytes()
        (folder / first).write_bytes((folder / second).read_bytes())
        (folder / second).write_bytes(content)

    return change


def rewrite(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Change the uncompressed content of one file."""

    def rewritten(folder: Path) -> None:
        content = gzip.decompress((folder / name).read_bytes())
        (folder / name).write_bytes(gzip.compress(change(content), 1))

    return rewritten


def cut(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-1000])


def flip_compressed(folder: Path) -> None:
    content = bytearray((folder / IMAGES).read_bytes())
    content[5000] ^= 0xFF
    (folder / IMAGES).write_bytes(content)


def other_data_of_the_same_shape(folder: Path) -> None:
    """What Fashion-MNIST is: the same names, sizes and headers."""
    pixels = np.random.default_rng(1).integers(0, 5, 60_000 * 784, dtype=np.uint8)
    (folder / IMAGES).write_bytes(gzip.compress(FULL[0].header + pixels.tobytes(), 1))


def bomb(folder: Path) -> None:
    (folder / IMAGES).write_bytes(gzip.compress(bytes(200_000_000), 1))


DAMAGES = {
    "compressed data cut off": (cut(IMAGES), IMAGES, "truncated"),
    "plain data cut off": (rewrite(IMAGES, lambda c: c[:-1000]), IMAGES, "truncated"),
    "data too long": (rewrite(TEST_LABELS, lambda c: c + b"\0"), TEST_LABELS, "damaged"),
    "a bit flipped": (flip_compressed, IMAGES, "does not decompress"),
    "a pixel changed": (rewrite(IMAGES, lambda c: c[:-1] + b"\1"), IMAGES, "not MNIST"),
    "pictures and labels swapped": (swap(IMAGES, LABELS), IMAGES, "swapped"),
    "training and test swapped": (swap(IMAGES, TEST_IMAGES), IMAGES, "swapped"),
    "labels swapped": (swap(LABELS, TEST_LABELS), LABELS, "swapped"),
    "labels for pictures": (rewrite(IMAGES, lambda _: FULL[1].header), IMAGES, "found labels"),
    "other data": (other_data_of_the_same_shape, IMAGES, "60,000 x 28 x 28, but not MNIST"),
    "a web page": (rewrite(LABELS, lambda _: b"<!DOCTYPE html>"), LABELS, "<!DOCTYP"),
    "empty": (lambda folder: (folder / LABELS).write_bytes(b""), LABELS, "IDX"),
    "a decompression bomb": (bomb, IMAGES, "IDX"),
    "missing": (lambda folder: (folder / LABELS).unlink(), "train-labels-idx1-ubyte", "missing"),
}


@pytest.mark.parametrize(("damage", "name", "expected"), DAMAGES.values(), ids=DAMAGES)
def test_a_bad_file_of_a_named_folder_is_an_error_and_nothing_else_is_used(
    folder: Path, damage: Callable[[Path], None], name: str, expected: str
):
    damage(folder)

    with pytest.raises(DatasetError) as caught:
        load_mnist(folder)

    message = str(caught.value)
    assert name in message.splitlines()[0]
    assert expected in message
    assert len(message.splitlines()) <= 3


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path):
    with pytest.raises(DatasetError, match=r"nowhere.*There is no such folder"):
        load_mnist(tmp_path / "nowhere")


def test_the_first_of_each_digit_are_taken_in_their_own_order():
    labels = np.array([*range(9, -1, -1), *range(10)], np.uint8)

    assert first_of_each(labels, 1) == list(range(10))


def test_equal_digits_have_an_equal_hash_and_others_have_not(sample: Digits):
    arrays = (sample.train_images, sample.train_labels, sample.test_images, sample.test_labels)

    assert Digits(*arrays, source="elsewhere").sha256 == sample.sha256
    assert Digits(*(a[:5] for a in arrays), source="").sha256 != sample.sha256


def test_an_example_shows_the_digit_asked_for(sample: Digits):
    first, second = sample.example(7), sample.example(7, 1)

    assert first.shape == (28, 28)
    assert not np.array_equal(first, second)
    assert np.array_equal(second, sample.test_images[sample.test_labels == 7][1])


@pytest.mark.parametrize(("digit", "index"), [(10, 0), (7, 100), (7, -1)])
def test_an_example_that_is_not_there_is_an_error(sample: Digits, digit: int, index: int):
    with pytest.raises(DatasetError, match=f"number {index} of the digit {digit}"):
        sample.example(digit, index)


def test_a_jpeg_is_the_picture_that_was_encoded(sample: Digits):
    picture = sample.example(7)

    decoded = np.asarray(Image.open(io.BytesIO(encode_jpeg(picture))))

    assert decoded.shape == (28, 28)
    assert np.abs(decoded.astype(int) - picture).mean() < 5


def test_digits_show_themselves_as_pictures_in_a_notebook(sample: Digits):
    html = sample._repr_html_()

    assert "data:image/png;base64," in html
    assert "6,000 digits" in html


def test_neither_digits_nor_packages_need_torch_to_be_imported():
    modules = "custom_image.mnist, custom_image.model_package, custom_image.model_config"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_files_of_the_sample_are_the_ones_that_are_named():
    for file in SAMPLE:
        content = gzip.decompress((SAMPLE_FOLDER / f"{file.name}.gz").read_bytes())

        assert hashlib.sha256(content).hexdigest() == file.sha256
        assert len(content) == file.size_bytes
