"""A target: what it ``offers`` to rules, and why it lacks the rest."""

from __future__ import annotations

from typing import Final, Protocol

from custom_image.engines import ImageFacts, ImageFile, Instance, StartOptions
from custom_image.image_archive import Contents
from custom_image.probing.expected_answers import WARM_UP_NAMES
from custom_image.rules import Needs
from custom_image.specification import MODEL_DIR

CONFIG_NAME: Final = "config.json"
WARM_UP_PLACES: Final = tuple(f"{MODEL_DIR}/{name}" for name in WARM_UP_NAMES)
CONFIG_PLACES: Final = (
    f"{MODEL_DIR}/{CONFIG_NAME}",
    f"/home/mind/model/{CONFIG_NAME}",
)


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


class Nothing:
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
