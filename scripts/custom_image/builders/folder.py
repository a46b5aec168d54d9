"""A folder in place of an image where no engine can build one: the files that would be in it."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, ClassVar

from custom_image.errors import Unavailable
from custom_image.images import Image, Location
from custom_image.report import Verdict

if TYPE_CHECKING:
    from custom_image.build_context import BuildContext


@dataclass(frozen=True)
class UnbuiltImage(Image):
    """A folder that mirrors /home of the image; its boot file starts as a process of this machine.

    Attributes:
        reference: the folder, to be started and verified like the reference of an image.
    """

    location: ClassVar[Location] = Location.FOLDER
    reference: str

    def __str__(self) -> str:
        return (
            f"{Verdict.NOT_CHECKED}: no Docker engine, so no image was built.\n"
            f"{self.reference} stands in for it: its run.sh is started as a process of this "
            "machine, and rules about the image itself are not checked."
        )

    def _repr_html_(self) -> str:
        return f"<p>{escape(str(self))}</p>"


def build(context: BuildContext) -> UnbuiltImage:
    """Return the part of a context that runs without an image.

    Raises:
        Unavailable: its Dockerfile is the author's own, which only a builder understands.
    """
    if context.is_own:
        raise Unavailable(
            f"{context.folder} cannot be built: no Docker engine answers, and there is no ma-cli.\n"
            "`custom-image doctor` says why; a server may have one: --server user@host."
        )
    return UnbuiltImage(str(context.folder / "rootfs" / "home"))
