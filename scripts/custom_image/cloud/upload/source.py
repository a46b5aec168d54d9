"""An image of the Docker engine that is to be pushed, whichever way its engine stores images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from custom_image.cloud.upload.single_image import SingleImage, read_single_image
from custom_image.cloud.upload.upload import upload
from custom_image.progress import progress_bar

if TYPE_CHECKING:
    from custom_image.engines import ImageFacts
    from custom_image.engines.docker.engine import DockerEngine

_DONE: Final = ("Pushed", "Layer already exists", "Mounted from")


@dataclass(frozen=True)
class Source:
    """An image of the engine.

    Attributes:
        single: what is sent of it, where the engine's own push would send an index: with
            containerd's image store, the default of Docker 29. None where the engine pushes.
    """

    image: str
    facts: ImageFacts
    engine: DockerEngine
    single: SingleImage | None

    @property
    def id(self) -> str:
        """The digest of its configuration, which a registry's manifest names."""
        return self.single.id if self.single else self.facts.id

    @property
    def conversions(self) -> tuple[str, ...]:
        """How what is sent differs from what the engine has."""
        return self.single.conversions if self.single else ()

    def push(self, reference: str, *, user: str, password: str) -> None:
        """Send what the registry lacks.

        Raises:
            Unavailable: the registry refuses or is gone.
        """
        from custom_image.engines.docker.host import DockerHost

        host = DockerHost.connect()
        host.tag(self.image, reference)
        if self.single:
            save = partial(self.engine.save, self.image)
            upload(self.single, save, reference, user=user, password=password)
            return
        with progress_bar(len(self.facts.layers), f"pushing {reference}", "layer") as bar:
            for status in host.push(reference, user, password):
                bar.update(status.startswith(_DONE))


def find_source(image: str) -> Source:
    """Return an image of the engine.

    Raises:
        UsageError: the engine has no such image.
        Unavailable: there is no engine.
    """
    from custom_image.engines.docker.engine import DockerEngine

    engine = DockerEngine.connect()
    facts = engine.inspect(image)
    is_index = engine.has_containerd_store
    single = read_single_image(image, engine.save(image)) if is_index else None
    return Source(image, facts, engine, single)
