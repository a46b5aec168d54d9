"""The plan of a push: what will be sent, and whether the registry's limits let it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from custom_image.build_context.display import size
from custom_image.errors import PackageError
from custom_image.specification import GB, LAYER_SIZE, PUSHED_LAYERS

if TYPE_CHECKING:
    from custom_image.engines import ImageFacts
    from custom_image.registry_client import Blob

_MAKES_LAYER: Final = ("RUN", "COPY", "ADD")


@dataclass(frozen=True)
class Forecast:
    """What a push will send, as far as the registry tells.

    Attributes:
        layers: of the image: what made it, bytes uncompressed, and what the registry has of it.
    """

    reference: str
    layers: tuple[tuple[str, int, Blob | None], ...]

    @property
    def lacking(self) -> list[tuple[str, int]]:
        """The layers that the registry lacks, with their uncompressed bytes."""
        return [(made_by, bytes_) for made_by, bytes_, there in self.layers if there is None]

    def check(
        self, layer_bytes: int = LAYER_SIZE.value * GB, most_layers: int = PUSHED_LAYERS.value
    ) -> None:
        """Refuse what the registry would refuse after hours.

        Raises:
            PackageError: a layer is too large, or there are too many.
        """
        for made_by, bytes_, there in self.layers:
            if bytes_ > layer_bytes and there is None:
                raise PackageError(
                    f"a layer of {size(bytes_)} is above the registry's limit of "
                    f"{size(layer_bytes)}; nothing was pushed. It is made by:\n  {made_by}\n"
                    "Let several instructions make it; scenario ecs_build spreads weights itself."
                )
        if len(self.lacking) > most_layers:
            raise PackageError(
                f"{self.reference} has {len(self.lacking)} layers that the registry lacks; it "
                f"takes {most_layers} in a push, and nothing was pushed.\n"
                "Join RUN and COPY instructions, or push the base image first."
            )

    def __str__(self) -> str:
        lacking = self.lacking
        return (
            f"{self.reference}: the registry lacks {len(lacking)} of {len(self.layers)} layers, "
            f"{size(sum(bytes_ for _, bytes_ in lacking))} uncompressed"
        )


def forecast(
    facts: ImageFacts, reference: str, known: Mapping[str, Blob] | None = None
) -> Forecast:
    """Return what a push of an image would send, all of it where nothing is ``known`` there."""
    known = known or {}
    made = _layer_steps(facts)
    return Forecast(
        reference,
        tuple(
            (made_by, bytes_, known.get(digest))
            for digest, (made_by, bytes_) in zip(facts.layers, made, strict=True)
        ),
    )


def _layer_steps(facts: ImageFacts) -> list[tuple[str, int]]:
    """Return the step behind each layer; the engine does not tell which steps made none."""
    files = [s for s in facts.history if s[1] or s[0].split()[:1][0] in _MAKES_LAYER]
    folders = [s for s in facts.history if s in files or s[0].startswith("WORKDIR")]
    sized = [s for s in facts.history if s[1]]
    for steps in (files, folders, sized):
        if len(steps) == len(facts.layers):
            return steps
    # At least the sizes that matter: the largest steps stand for layers, in whatever order.
    largest = sorted(facts.history, key=lambda step: step[1], reverse=True)
    return (largest + [("", 0)] * len(facts.layers))[: len(facts.layers)]
