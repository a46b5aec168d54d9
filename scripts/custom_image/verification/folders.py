"""Folders as targets: a build context, a model package, or a mirror of an image's /home."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from custom_image.adoption.service_code.modules import SERVICE_NAME
from custom_image.engines import Engine, ImageFile, Instance, StartOptions
from custom_image.errors import PackageError, UsageError
from custom_image.image_archive import LIMITS, Contents, FolderFiles, read_files
from custom_image.rules import Needs
from custom_image.rules.contents.readers import content_readers
from custom_image.specification import BOOT_FILE, MODEL_DIR
from custom_image.verification.target import CONFIG_NAME, CONFIG_PLACES, Nothing, Target

# Where the parts of an image's /home are found in a folder: a build context, a folder that
# mirrors /home itself, a model package.
HOMES: Final = ("rootfs/home", "home", "")


class FolderTarget(Nothing):
    """A build context or a model package: files, nothing to run."""

    kind = "a folder"
    offers = Needs.FILES | Needs.CONTENTS

    def __init__(self, folder: Path, name: str = "") -> None:
        self.name = name or str(folder)
        self._folder = folder
        self._dockerfile = folder / "Dockerfile"
        if self._dockerfile.is_file():
            self.offers |= Needs.DOCKERFILE

    def why_not(self, need: Needs) -> str:
        if need in (Needs.CONFIG, Needs.CONFIG_TEXT) and (self._folder / SERVICE_NAME).is_file():
            return "no config.json; `custom-image package FOLDER` makes one up"
        return super().why_not(need)

    def find_file(self, path: str) -> ImageFile | None:
        relative = path.removeprefix("/home/")
        if relative == path:
            return None  # only /home is mirrored
        files = [self._folder / home / relative for home in HOMES]
        if path.startswith(f"{MODEL_DIR}/"):  # a package, or one beside a Dockerfile
            name = path.removeprefix(f"{MODEL_DIR}/")
            files += [self._folder / name, self._folder / "model" / name]
        for file in files:
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


def open_folder(folder: Path, name: str, engine: Engine | None) -> Target:
    """Return a folder as a target: started as a process where it mirrors /home of an image.

    Raises:
        UsageError: it is none of these.
    """
    boot_name = Path(BOOT_FILE.value).name
    home = next((folder / home for home in HOMES if (folder / home / boot_name).is_file()), None)
    is_known = (
        (folder / "Dockerfile").is_file()
        or (folder / SERVICE_NAME).is_file()
        or FolderTarget(folder).find_config()
    )
    if home is not None and not (folder / "Dockerfile").is_file():
        from custom_image.engines.process.engine import ProcessEngine

        return ProcessTarget(
            home, engine if isinstance(engine, ProcessEngine) else ProcessEngine(), name
        )
    if home is None and not is_known:
        raise UsageError(
            f"{name} holds no Dockerfile, no {CONFIG_NAME} and no {boot_name}.\n"
            "Name a build context, a model package, or a folder that mirrors /home of an image."
        )
    return FolderTarget(folder, name)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(LIMITS.file_bytes + 1)
    if len(content) > LIMITS.file_bytes:
        raise PackageError(
            f"{path}: more than {LIMITS.file_bytes:,} bytes; expected a file that is read whole.\n"
            "Make it smaller."
        )
    return content
