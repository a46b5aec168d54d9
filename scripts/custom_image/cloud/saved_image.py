"""An image that was saved from a notebook instance, as the platform describes it."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import ClassVar, Final

from custom_image.images import Image, Location
from custom_image.specification import GB, NOTEBOOK_IMAGE_SIZE, NOTEBOOK_LAYERS, USER_HOME

_MB: Final = 10**6


@dataclass(frozen=True)
class SavedImage(Image):
    """An image that was saved from a notebook instance, as the platform describes it.

    Attributes:
        id: of ModelArts' image management.
        reference: the address in SWR.
        stored_bytes: as the platform says it, compressed.
        layers: (digest, compressed bytes), lowest first.
        seconds: from the request until the image was ACTIVE.
    """

    location: ClassVar[Location] = Location.REGISTRY
    # Its own command starts JupyterLab; the boot file of the preset serves.
    start_command: ClassVar[str] = f"sh {USER_HOME}/infer/run.sh"
    id: str
    reference: str
    stored_bytes: int
    layers: tuple[tuple[str, int], ...]
    seconds: float

    @property
    def size_bytes(self) -> int:
        """Its size in the registry, compressed."""
        return self.stored_bytes

    @property
    def registry_path(self) -> str:
        """Its address in SWR."""
        return self.reference

    @property
    def summary(self) -> str:
        """One line: address, size, layers, and how long it took."""
        return (
            f"{self.reference}: {self.size_bytes / _MB:.0f} MB in {len(self.layers)} layers, "
            f"saved in {self.seconds:.0f} s"
        )

    def __str__(self) -> str:
        return "\n".join([self.summary, *(f"  {name:<16} {text}" for name, text in self._rows())])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:left'>{escape(name)}</td>"
            f"<td style='text-align:left'>{escape(text)}</td></tr>"
            for name, text in self._rows()
        )
        return f"<p>{escape(self.summary)}</p><table>{rows}</table>"

    def _rows(self) -> list[tuple[str, str]]:
        last_bytes = self.layers[-1][1] if self.layers else 0
        return [
            ("status", "ACTIVE"),
            ("id", self.id),
            ("size", f"{self.size_bytes / GB:.3f} GB of {NOTEBOOK_IMAGE_SIZE}, compressed"),
            ("layers", f"{len(self.layers)} of {NOTEBOOK_LAYERS.value}"),
            ("this save added", f"{last_bytes / _MB:.1f} MB, compressed"),
        ]
