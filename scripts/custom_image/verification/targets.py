"""What can be verified: an image, its archive, a folder, a boot file as a process, a running URL.

A target says what it ``offers`` to rules and why it lacks the rest; it judges nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from custom_image.engines import Engine, ImageFacts, ImageFile, Instance, StartOptions, open_engine
from custom_image.errors import PackageError, Unavailable, UsageError
from custom_image.image_archive import (
    LIMITS,
    Archive,
    Contents,
    FolderFiles,
    is_oci_layout,
    read_files,
    read_saved,
)
from custom_image.rules import Needs
from custom_image.rules.readers import content_readers
from custom_image.specification import BOOT_FILE, MODEL_DIR

CONFIG_NAME: Final = "config.json"
CONFIG_PLACES: Final = (
    f"{MODEL_DIR}/{CONFIG_NAME}",
    f"/home/mind/model/{CONFIG_NAME}",
)
# Where the parts of an image's /home are found in a folder: a build context, a folder that
# mirrors /home itself, a model package.
HOMES: Final = ("rootfs/home", "home", "")


class Target(Protocol):
    """Something that can be verified."""

    name: str
    offers: Needs
    url: str
    """Where it answers already; empty where it has to be started."""

    maps_ports: bool
    """Whether it listens on the declared port, whatever port leads there from here."""

    def why_not(self, need: Needs) -> str:
        """Return why it does not offer something."""
        ...

    def mentions(self, variables: set[str]) -> bool:
        """Tell whether it declares environment variables, and so probably heeds them."""
        ...

    def image(self) -> ImageFacts:
        """Return image metadata. Only where it offers IMAGE."""
        ...

    def find_file(self, path: str) -> ImageFile | None:
        """Return a file by its absolute path in the image. Only where it offers FILES."""
        ...

    def find_config(self) -> tuple[str, bytes] | None:
        """Return where its config.json is and what it holds, or None where it has none."""
        ...

    def contents(self) -> Contents:
        """Read every file once. Only where it offers CONTENTS."""
        ...

    def dockerfile(self) -> bytes:
        """Return the text of its Dockerfile. Only where it offers DOCKERFILE."""
        ...

    def start(self, options: StartOptions) -> Instance:
        """Start an instance. Only where it offers INSTANCE."""
        ...


class _Nothing:
    """The answers of a target that offers nothing; each kind overrides what it has."""

    name = ""
    kind = "target"
    offers = Needs.NOTHING
    url = ""
    maps_ports = False

    def why_not(self, need: Needs) -> str:
        if need in (Needs.CONFIG, Needs.CONFIG_TEXT):
            return "no config.json; name one with --config"
        return f"{self.kind} has no {_CALLED[need]}"

    def mentions(self, variables: set[str]) -> bool:
        return False

    def image(self) -> ImageFacts:
        raise LookupError(self.why_not(Needs.IMAGE))

    def find_file(self, path: str) -> ImageFile | None:
        raise LookupError(self.why_not(Needs.FILES))

    def find_config(self) -> tuple[str, bytes] | None:
        return None

    def contents(self) -> Contents:
        raise LookupError(self.why_not(Needs.CONTENTS))

    def dockerfile(self) -> bytes:
        raise LookupError(self.why_not(Needs.DOCKERFILE))

    def start(self, options: StartOptions) -> Instance:
        raise LookupError(self.why_not(Needs.INSTANCE))


_CALLED: Final = {
    Needs.CONTENTS: "files that could all be read",
    Needs.DOCKERFILE: "Dockerfile; a build context has",
    Needs.FILES: "files of an image",
    Needs.IMAGE: "image metadata",
    Needs.SERVICE: "service to ask; start it and name its URL",
    Needs.INSTANCE: "instances that could be started and stopped",
    Needs.CONTAINER: "container of its own",
}


class ArchiveTarget(_Nothing):
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


class ImageTarget(_Nothing):
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
            # By id: the tag may have moved on since it was inspected.
            self._files |= self._engine.find_files(self._facts.id, [path], LIMITS.file_bytes)
        return self._files[path]

    def find_config(self) -> tuple[str, bytes] | None:
        self._files |= self._engine.find_files(self._facts.id, CONFIG_PLACES, LIMITS.file_bytes)
        return next(((p, f.content) for p in CONFIG_PLACES if (f := self._files[p])), None)

    def contents(self) -> Contents:
        return read_saved(self.name, self._engine.save(self._facts.id), content_readers())

    def start(self, options: StartOptions) -> Instance:
        instance: Instance = self._engine.start(self._facts.id, options)
        return instance


class FolderTarget(_Nothing):
    """A build context or a model package: files, nothing to run."""

    kind = "a folder"
    offers = Needs.FILES | Needs.CONTENTS

    def __init__(self, folder: Path, name: str = "") -> None:
        self.name = name or str(folder)
        self._folder = folder
        self._dockerfile = folder / "Dockerfile"
        if self._dockerfile.is_file():
            self.offers |= Needs.DOCKERFILE

    def find_file(self, path: str) -> ImageFile | None:
        relative = path.removeprefix("/home/")
        if relative == path:
            return None  # only /home is mirrored
        for home in HOMES:
            file = self._folder / home / relative
            if file.is_file():
                stat = file.stat()
                return ImageFile(_read(file), stat.st_mode & 0o7777, stat.st_uid, stat.st_gid)
        return None

    def find_config(self) -> tuple[str, bytes] | None:
        places = [
            self._folder / CONFIG_NAME,
            self._folder / "model" / CONFIG_NAME,
            *(
                self._folder / home / place[len("/home/") :]
                for home in HOMES
                for place in CONFIG_PLACES
            ),
        ]
        return next(((str(p), _read(p)) for p in places if p.is_file()), None)

    def contents(self) -> Contents:
        return read_files(FolderFiles(self._folder), self.name, content_readers())

    def dockerfile(self) -> bytes:
        return _read(self._dockerfile)


class ProcessTarget(FolderTarget):
    """A folder that mirrors /home of an image, its boot file started on this machine."""

    kind = "a process"
    offers = Needs.FILES | Needs.CONTENTS | Needs.SERVICE | Needs.INSTANCE

    def __init__(self, folder: Path, engine: Engine, name: str = "") -> None:
        super().__init__(folder, name)
        self._engine = engine

    def mentions(self, variables: set[str]) -> bool:
        files = [f for kind in ("*.sh", "*.py") for f in self._folder.rglob(kind) if f.is_file()]
        text = "".join(file.read_text(errors="replace") for file in files)
        return all(variable in text for variable in variables)

    def start(self, options: StartOptions) -> Instance:
        return self._engine.start(str(self._folder), options)


class UrlTarget(_Nothing):
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
            return _open_folder(path, text, engine)
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


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(LIMITS.file_bytes + 1)
    if len(content) > LIMITS.file_bytes:
        raise PackageError(
            f"{path}: more than {LIMITS.file_bytes:,} bytes; expected a file that is read whole.\n"
            "Make it smaller."
        )
    return content


def _open_folder(folder: Path, name: str, engine: Engine | None) -> Target:
    boot_name = Path(BOOT_FILE.value).name
    home = next((folder / home for home in HOMES if (folder / home / boot_name).is_file()), None)
    is_known = (folder / "Dockerfile").is_file() or FolderTarget(folder).find_config()
    if home is not None and not (folder / "Dockerfile").is_file():
        from custom_image.engines.process import ProcessEngine

        return ProcessTarget(
            home, engine if isinstance(engine, ProcessEngine) else ProcessEngine(), name
        )
    if home is None and not is_known:
        raise UsageError(
            f"{name} holds no Dockerfile, no {CONFIG_NAME} and no {boot_name}.\n"
            "Name a build context, a model package, or a folder that mirrors /home of an image."
        )
    return FolderTarget(folder, name)
