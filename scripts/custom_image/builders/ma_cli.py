"""Building with ``ma-cli``, which ModelArts has in its notebook instances, where no engine is.

The image is built elsewhere and ends in the registry SWR and in image management; nothing of it can
be started here. So the files that it was made of stand in for it, until the instance is switched to
the image. Its tag is the digest of the context: the same context is not built twice.

Source: https://support.huaweicloud.com/intl/en-us/devtool-modelarts/devtool-modelarts_0313.html
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, ClassVar, Final

from custom_image.builders.base import slim_python
from custom_image.errors import BuildFailed, UsageError
from custom_image.image_reference import ImageReference
from custom_image.images import Image, Location
from custom_image.progress import say
from custom_image.report import Verdict

if TYPE_CHECKING:
    from custom_image.build_context import BuildContext

PROGRAM: Final = "ma-cli"
ORGANIZATION_VARIABLE: Final = "SWR_ORGANIZATION"
_TAG_LENGTH: Final = 12


@dataclass(frozen=True)
class RegisteredImage(Image):
    """An image that stands in SWR and in image management, and not on this machine.

    Attributes:
        reference: the folder that stands in for it here, to be started and verified like an image;
            the path where nothing does, as for a Dockerfile of one's own.
        path: in SWR, ``organization/name:tag``.
        was_there: whether an earlier run had built it from the same context.
        seconds: of building, pushing and registering.
        builder: what did so, as it calls itself.
    """

    location: ClassVar[Location] = Location.REGISTRY
    reference: str
    path: str
    was_there: bool
    seconds: float
    builder: str

    @property
    def registry_path(self) -> str:
        """Its path in SWR."""
        return self.path

    @property
    def summary(self) -> str:
        """One line: where it is, and who made it."""
        how = "was built already" if self.was_there else f"built in {self.seconds:.0f} s"
        return f"{self.path}: {how}, pushed to SWR and registered by {self.builder}"

    def __str__(self) -> str:
        return "\n".join([self.summary, *(f"  {line}" for line in self._notes())])

    def _repr_html_(self) -> str:
        notes = "<br>".join(escape(line) for line in self._notes())
        return f"<p>{escape(self.summary)}</p><p>{notes}</p>"

    def _notes(self) -> list[str]:
        stands_in = f"{self.reference}, which it was built from, stands in for it below."
        if self.reference == self.path:
            stands_in = "Nothing here stands in for one of a Dockerfile of your own."
        return [
            f"{Verdict.NOT_CHECKED} here: the image itself. {stands_in}",
            "To ask the image: stop this instance, change its image to this one, and start it.",
        ]


def is_there() -> bool:
    """Tell whether this machine has ma-cli: it is a notebook instance."""
    return shutil.which(PROGRAM) is not None


def build(context: BuildContext, tag: str) -> RegisteredImage:
    """Build the image of a context, push it to SWR and register it in ModelArts.

    Args:
        context: its digest becomes the image's tag.
        tag: whose name the image gets, ``name[:tag]``; the organization is the one that the
            variable ``SWR_ORGANIZATION`` names.

    Raises:
        UsageError: ``tag`` is no name of an image, or no organization is named.
        BuildFailed: ma-cli failed; with what it said.
    """
    organization = os.environ.get(ORGANIZATION_VARIABLE, "").strip()
    if not organization:
        raise UsageError(
            "An image of ma-cli goes into an organization of SWR, and none is named.\n"
            f"Set {ORGANIZATION_VARIABLE}, in a notebook by %env, to one of your account."
        )
    path = f"{organization}/{ImageReference.parse(tag).name}:{context.digest[:_TAG_LENGTH]}"
    ImageReference.parse(path)
    builder = f"{PROGRAM} {_run('--version')[-1]}"  # which says whether it is a stand-in
    began = time.monotonic()
    was_there = any(path in line for line in _run("image", "get-image", "--type", "DEDICATED"))
    if not was_there:
        say(f"{builder} builds {path}")
        arguments = _arguments(context)
        options = [word for pair in arguments.items() for word in ("--build-arg", "=".join(pair))]
        folder = str(context.folder)
        # Forced: what stands under this tag and is not registered is of a run that broke off.
        _run(
            *("image", "build", f"{folder}/Dockerfile", "-swr", path, "--context", folder),
            *(*options, "--force"),
        )
        _run("image", "register", "-swr", path)
    seconds = time.monotonic() - began
    here = path if context.is_own else str(context.folder / "rootfs" / "home")
    image = RegisteredImage(here, path, was_there, seconds, builder)
    say(image.summary)
    return image


def _arguments(context: BuildContext) -> dict[str, str]:
    if context.is_own:
        return {"BASE_IMAGE": context.base_image} if context.base_image else {}
    named = context.base_image or os.environ.get("BASE_IMAGE", "")
    return {"BASE_IMAGE": named or slim_python(context.python.minor), **context.arguments}


def _run(*words: str) -> Sequence[str]:
    """Run one command of ma-cli; return the lines that it wrote.

    Raises:
        BuildFailed: it failed.
    """
    done = subprocess.run(
        [PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    lines = done.stdout.strip().splitlines() or [""]
    if done.returncode:
        raise BuildFailed(f"{PROGRAM} {' '.join(words[:2])} failed:", lines)
    return lines
