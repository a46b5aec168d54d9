"""Readers of the rules on contents, for the one pass over all files of a target."""

from __future__ import annotations

from collections.abc import Sequence

from custom_image.image_archive import Reader
from custom_image.rules.contents.files import StartupReader
from custom_image.rules.contents.secrets import SecretReader
from custom_image.rules.contents.waste import CacheReader, DuplicateReader
from custom_image.scanners.elf import ElfReader
from custom_image.scanners.pickles import PickleReader


def content_readers() -> Sequence[Reader]:
    """Return fresh readers, one of each kind."""
    return (
        SecretReader(),
        CacheReader(),
        DuplicateReader(),
        PickleReader(),
        ElfReader(),
        StartupReader(),
    )
