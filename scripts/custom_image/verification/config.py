"""The config.json of a target: its own or another file, read as far as a patient reader can."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from custom_image.adoption.config_json.config import correct_config
from custom_image.errors import CustomImageError, PackageError, UsageError
from custom_image.model_config import ModelConfig, parse_model_config
from custom_image.verification.target import Target


@dataclass(frozen=True)
class FoundConfig:
    """What is known of a config.json.

    Attributes:
        text: None where there is none.
        where: its path, in the target or here.
        fault: why it cannot be read at all.
        config: what it says; None where that cannot be told.
        corrections: what had to be corrected to read it.
    """

    text: str | None = None
    where: str = ""
    fault: CustomImageError | None = None
    config: ModelConfig | None = None
    corrections: tuple[str, ...] = ()

    def with_apis(self, path: Path) -> FoundConfig:
        """Return it with the apis of another file: an array of them, or a config.json.

        Raises:
            UsageError: the file cannot be read, or declares none.
        """
        try:
            found = correct_config(_read(path), str(path), complete=False).config
        except PackageError as error:
            raise UsageError(str(error)) from error
        if not found.apis:
            raise UsageError(
                f"{path}: expected the array `apis` of a config.json, such as\n"
                '[{"url": "/", "method": "post", "request": {"Content-type": "application/json"}}]'
            )
        own = self.config
        return replace(self, config=own.model_copy(update={"apis": found.apis}) if own else found)


def find_config(target: Target, path: Path | None) -> FoundConfig:
    """Return the config.json at ``path``; of the target, where that is None.

    Raises:
        UsageError: the file at ``path`` cannot be read.
    """
    if path is None:
        try:
            found = target.find_config()
        except CustomImageError as error:  # there, and not to be read: far too large
            return FoundConfig("", fault=error)
    else:
        found = str(path), _read(path)
    if found is None:
        return FoundConfig()
    where, content = found
    text = content.decode(errors="replace")
    try:
        return FoundConfig(text, where, config=parse_model_config(text, where))
    except PackageError:  # config.valid says why; the other rules judge what can be read
        with suppress(PackageError):
            corrected = correct_config(content, where, complete=False)
            changes = tuple(str(change) for change in corrected.changes)
            return FoundConfig(text, where, config=corrected.config, corrections=changes)
    return FoundConfig(text, where)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}).") from error
