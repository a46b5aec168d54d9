"""An image and where it is: what building, saving, plotting and shipping hand around."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import ClassVar


class Location(StrEnum):
    """Where an image is."""

    ENGINE = "engine"
    """The Docker engine of this machine."""

    SERVER = "server"
    """The Docker engine of a build server."""

    REGISTRY = "registry"
    """SWR and image management, and not on this machine."""

    FOLDER = "folder"
    """Nowhere: a folder stands in for it, which the process engine starts."""

    NONE = "none"
    """Nowhere, and nothing stands in for it."""


class Image:
    """An image, wherever it is; its subclasses say what made it.

    Attributes:
        location: where it is.
        start_command: what a service has to start in place of the image's own command; empty for
            that.
        reference: what starts it at its location: a name of the engine, a folder.
    """

    location: ClassVar[Location]
    start_command: ClassVar[str] = ""
    reference: str

    @property
    def size_bytes(self) -> int:
        """Its size, where that is known here; else 0."""
        return 0

    @property
    def registry_path(self) -> str:
        """``organization/name:tag`` in SWR; empty where it is in none yet."""
        return ""

    @property
    def document(self) -> dict[str, str | int | float]:
        """What tools read of it."""
        return {
            "location": self.location,
            "reference": self.reference,
            "registry_path": self.registry_path,
            "size_bytes": self.size_bytes,
        }

    def to_json(self) -> str:
        """Return it as tools read it."""
        return json.dumps(self.document, indent=2) + "\n"
