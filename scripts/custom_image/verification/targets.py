"""Targets of a verification: image, archive, folder, a boot file as a process, a running URL.

A target judges nothing: see :mod:`~custom_image.verification.target`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from custom_image.engines import Engine, ImageFacts, ImageFile, Instance, StartOptions, open_engine
from custom_image.errors import CustomImageError, Unavailable, UsageError
from custom_image.image_archive import LIMITS, Archive, Contents, is_oci_layout, read_saved
from custom_image.rules import Needs
from custom_image.rules.contents.readers import content_readers
from custom_image.rules.static.accounts import ACCOUNTS_FILE
from custom_image.rules.static.command import INFER_BOOT_FILE
from custom_image.specification import BOOT_FILE
from custom_image.verification.folders import FolderTarget, ProcessTarget, open_folder
from custom_image.verification.target import CONFIG_PLACES, WARM_UP_PLACES, Nothing, Target

__all__ = [
    "ArchiveTarget",
    "FolderTarget",
    "ImageTarget",
    "ProcessTarget",
    "Target",
    "UrlTarget",
    "open_target",
]

# What several rules ask for: looked up together, for each look costs a container.
USUAL_FILES: Final = (BOOT_FILE.value, INFER_BOOT_FILE, ACCOUNTS_FILE)


class ArchiveTarget(Nothing):
    """An image in a file, or in a folder with OCI's layout; nothing of it is unpacked."""

    kind = "an archive"
    offers = Needs.FILES | Needs.IMAGE | Needs.CONTENTS

    def __init__(self, path: Path, name: str = "") -> None:
        self.name = name or str(path)
        self._archive = Archive(path, content_readers, self.name)
        self._files: dict[str, ImageFile | None] = {}
        _ = self._archive.facts  # now, where an error still is one of the target

    def mentions(self, variables: set[str]) -> bool:
        return variables <= self._archive.facts.environment.keys()

    def image(self) -> ImageFacts:
        return self._archive.facts

    def find_file(self, path: str) -> ImageFile | None:
        if path not in self._files:
            self._files[path] = self._archive.find_file(path)
        return self._files[path]

    def find_config(self) -> tuple[str, bytes] | None:
        return next(((p, f.content) for p in CONFIG_PLACES if (f := self.find_file(p))), None)

    def contents(self) -> Contents:
        return self._archive.contents


class ImageTarget(Nothing):
    """An image that a Docker engine holds."""

    kind = "this image"
    offers = ArchiveTarget.offers | Needs.SERVICE | Needs.INSTANCE | Needs.CONTAINER
    maps_ports = True

    def __init__(self, reference: str, engine: Any) -> None:
        self.name = reference
        self._engine = engine
        self._facts: ImageFacts = engine.inspect(reference)
        self._files: dict[str, ImageFile | None] = {}

    def mentions(self, variables: set[str]) -> bool:
        return variables <= self._facts.environment.keys()

    def image(self) -> ImageFacts:
        return self._facts

    def find_file(self, path: str) -> ImageFile | None:
        if path not in self._files:
            try:
                self._look_up([path, *USUAL_FILES])
            except CustomImageError:  # one of them is far too large: perhaps not this one
                self._look_up([path])
        return self._files[path]

    def find_config(self) -> tuple[str, bytes] | None:
        try:
            self._look_up([*CONFIG_PLACES, *WARM_UP_PLACES])
        except CustomImageError:  # one of them is far too large: perhaps not config.json
            self._look_up(CONFIG_PLACES)
        return next(((p, f.content) for p in CONFIG_PLACES if (f := self._files[p])), None)

    def _look_up(self, paths: Sequence[str]) -> None:
        wanted = [path for path in dict.fromkeys(paths) if path not in self._files]
        # By id: the tag may have moved on since it was inspected.
        self._files |= self._engine.find_files(self._facts.id, wanted, LIMITS.file_bytes)

    def contents(self) -> Contents:
        return read_saved(self.name, self._engine.save(self._facts.id), content_readers())

    def start(self, options: StartOptions) -> Instance:
        instance: Instance = self._engine.start(self._facts.id, options)
        return instance


class UrlTarget(Nothing):
    """A service that runs already, and is only asked."""

    kind = "a URL"
    offers = Needs.SERVICE

    def __init__(self, url: str) -> None:
        self.name = url
        parts = urlsplit(url)
        if parts.hostname is None or parts.path.strip("/") or parts.query:
            raise UsageError(
                f"{url} is not the base URL of a service, such as http://127.0.0.1:8080.\n"
                "Paths are taken from config.json: name it with --config."
            )
        self.url = url.rstrip("/")


def open_target(target: str | os.PathLike[str], engine: Engine | None = None) -> Target:
    """Return the target that a user means.

    Args:
        target: an image reference, an archive of an image, a folder or a URL.
        engine: runs it; None for the Docker engine, or for folders this machine itself.

    Raises:
        UsageError: it names nothing that can be verified.
        ArchiveError: it is an archive, and damaged.
        Unavailable: it is an image, and no Docker engine answers.
    """
    text = os.fspath(target)
    if text.startswith(("http://", "https://")):
        return UrlTarget(text)
    path = Path(text)
    if path.is_dir():
        if not is_oci_layout(path):
            return open_folder(path, text, engine)
        return ArchiveTarget(path, text)
    if path.is_file():
        return ArchiveTarget(path, text)
    if text.startswith((".", "/")):
        raise UsageError(
            f"{text} is not there; expected an image, an archive of one, a folder or a URL."
        )
    engine = engine or open_engine("docker")
    if not hasattr(engine, "inspect"):
        raise Unavailable(
            f"{text} is an image, and the engine {engine.name!r} runs none.\n"
            "Start a Docker engine (scripts/ensure_docker.sh), or name a folder or a URL."
        )
    return ImageTarget(text, engine)
