"""From an image to an answering service, and down again: how every notebook ends.

    deployment = ship(image, config)      into the registry, published as a model, deployed
    deployment.predict(jpeg)              through the gateway
    deployment.rehearse_upgrade()         A to B and back under load, on the local ModelArts
    deployment.delete()

It goes to the local ModelArts unless ``endpoint="cloud"`` says otherwise. The same verbs, one by
one, are those of :mod:`custom_image.cloud`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from custom_image import local_platform
from custom_image.builders import BuiltImage
from custom_image.cloud import (
    Cloud,
    Model,
    PublishedImage,
    Service,
    delete,
    deploy,
    find_image,
    open_cloud,
    publish,
    push,
)
from custom_image.cloud.images import choose_target, log_in
from custom_image.cloud.services.deploy import services_left
from custom_image.ecs import BuildServer
from custom_image.ecs import push as push_there
from custom_image.errors import Unavailable, UsageError
from custom_image.images import Image, Location
from custom_image.progress import show_part
from custom_image.rehearsal.run import platform_settings, rehearse
from custom_image.report import Verdict

if TYPE_CHECKING:
    from custom_image.engines.client import Prediction
    from custom_image.model_config import ModelConfig
    from custom_image.rehearsal.result import Rehearsal

ENDPOINTS: Final = ("local", "cloud")
REHEARSAL_SPEED: Final = 20
"""The platform's 60 and 90 s become 3 and 4.5; `custom-image rehearse --speed 1` waits them."""
_ELSEWHERE: Final = (
    "The image is in no Docker engine of this machine; where it is: custom-image rehearse IMAGE."
)


@dataclass(frozen=True)
class NotDone:
    """What stands in for a step that cannot be taken here; it never looks like a success.

    Attributes:
        step: what was not done: ``deployed``, ``asked``.
        reason: why, as a sentence.
    """

    step: str
    reason: str

    def __str__(self) -> str:
        return f"{Verdict.NOT_CHECKED}: nothing was {self.step}. {self.reason}"

    def _repr_html_(self) -> str:
        return f"<p>{escape(str(self))}</p>"


@dataclass(frozen=True)
class NotDeployed(NotDone):
    """The deployment of an image where there is none, or no platform; every verb says so."""

    def steps(self) -> dict[str, object]:
        """Return what each step became, by its name."""
        return {"service": self}

    def predict(self, body: bytes, *, filename: str = "digit.jpg", stream: bool = False) -> NotDone:
        """Say that there is nothing to ask."""
        return NotDone("asked", self.reason)

    def rehearse_upgrade(self) -> NotDone:
        """Say that there is nothing to upgrade."""
        return NotDone("upgraded", self.reason)

    def delete(self) -> NotDone:
        """Say that there is nothing to take down."""
        return NotDone("taken down", self.reason)


@dataclass(frozen=True)
class TakenDown:
    """What is left when a service is gone."""

    service: str
    model: str
    image: str

    def __str__(self) -> str:
        return f"{self.service} is gone; left: model {self.model}, image {self.image}"

    def _repr_html_(self) -> str:
        return f"<p>{escape(str(self))}</p>"


@dataclass(frozen=True)
class Deployment:
    """An image that answers as a service.

    Attributes:
        image: its name in the engine, where one is here; else empty.
        was_started: whether the local ModelArts was started for it, and ends with it.
    """

    published: PublishedImage
    model: Model
    service: Service
    image: str
    was_started: bool
    cloud: Cloud = field(repr=False, compare=False)

    def steps(self) -> dict[str, object]:
        """Return what each step became, by its name."""
        return {"in SWR": self.published, "model": self.model, "service": self.service}

    def predict(
        self, body: bytes, *, filename: str = "digit.jpg", stream: bool = False
    ) -> Prediction:
        """Ask through the gateway, as any client does; ``stream`` shows parts as they arrive.

        Raises:
            Unavailable: nothing answers.
        """
        on_part = show_part if stream else None
        return self.service.predict(body, filename=filename, on_part=on_part)

    def rehearse_upgrade(self) -> Rehearsal | NotDone:
        """Upgrade a service of this image under load, on a local ModelArts with short waits.

        Raises:
            ServiceNotReady: the service does not answer before anything is upgraded.
            CloudRefused: the platform refuses, or a deployment fails; with a bundle.
        """
        if not self.image:
            return NotDone("upgraded", _ELSEWHERE)
        folder = Path(f"build/rehearsal-{REHEARSAL_SPEED}")
        local_platform.start(folder, [], platform_settings(REHEARSAL_SPEED))
        try:
            cloud = open_cloud("local", folder=folder)
            return rehearse(
                self.image,
                self.model.config,
                cloud=cloud,
                speed=REHEARSAL_SPEED,
                generation=self.service.generation,
            )
        finally:
            local_platform.stop(folder, purge=True)

    def delete(self) -> TakenDown:
        """Delete the service; a local ModelArts that was started for it, and has no other, ends.

        Raises:
            CloudRefused: the platform refuses.
            Unavailable: it does not answer.
        """
        delete(self.service)
        if self.was_started and not services_left(self.cloud):
            local_platform.stop()
        model = f"{self.model.name} {self.model.version}"
        return TakenDown(self.service.name, model, self.published.reference)

    def __str__(self) -> str:
        return "\n".join(str(noun) for noun in (self.published, self.model, self.service))

    def _repr_html_(self) -> str:
        return "".join(noun._repr_html_() for noun in (self.published, self.model, self.service))


def ship(
    image: Image,
    config: ModelConfig,
    *,
    endpoint: str = "local",
    generation: str = "",
    on: BuildServer | None = None,
) -> Deployment | NotDeployed:
    """Bring an image into the registry, publish it as a model, and deploy it as a service.

    Each step finds what an earlier run left, so repeating this sends nothing again.

    Args:
        image: what was built or saved; a stand-in for an image is not deployed.
        config: the config.json of its model package.
        endpoint: ``local``, the local ModelArts, which is started where none runs; or ``cloud``,
            as the environment names it, which costs money.
        generation: of the API that deploys it, ``v2`` or ``v1``; empty for that of the endpoint.
        on: the server that built the image, which is then pushed from there.

    Raises:
        UsageError: ``endpoint`` is neither, or the platform would refuse the image.
        CloudRefused: the platform refuses, or a deployment fails; with a bundle.
        Unavailable: the cloud does not answer.
    """
    if endpoint not in ENDPOINTS:
        raise UsageError(f"endpoint is {endpoint!r}; expected one of: {', '.join(ENDPOINTS)}.")
    if image.location in (Location.FOLDER, Location.NONE):
        return NotDeployed("deployed", "There is no image here; see above for why.")
    if image.location is Location.REGISTRY:
        # It is in the registry of the platform that this instance belongs to.
        cloud, was_started = Cloud.connect(), False
        if cloud.region and endpoint != "cloud":
            return NotDeployed("deployed", "It would cost money: set endpoint = 'cloud'.")
        published = find_image(image.registry_path, cloud=cloud)
    else:
        was_started = endpoint == "local" and local_platform.find() is None
        try:
            cloud = open_cloud(endpoint)
        except Unavailable as error:
            if endpoint == "local":
                return NotDeployed("deployed", str(error).splitlines()[0])
            raise
        published = _push(image, cloud, on)
    model = publish(published, config, command=image.start_command, cloud=cloud)
    service = deploy(model, generation=generation, cloud=cloud)
    name = image.reference if image.location is Location.ENGINE else ""
    return Deployment(published, model, service, name, was_started, cloud)


def _push(image: Image, cloud: Cloud, on: BuildServer | None) -> PublishedImage:
    """Push from where the image is."""
    if image.location is Location.ENGINE:
        return push(image if isinstance(image, BuiltImage) else image.reference, cloud=cloud)
    if on is None:
        raise UsageError(
            f"{image.reference} is on a server, and nothing leads there.\n"
            "Name the server that built it: ship(image, config, on=server)."
        )
    login, target = log_in(cloud), choose_target(image.reference, "", cloud)
    cloud.create_organization(target.namespace)
    if cloud.platform:
        # It listens on this machine's loopback alone: the server gets there by the connection.
        for address in (cloud.platform.registry, cloud.platform.endpoint):
            on.connection.lend_port(int(address.rpartition(":")[2]))
    reference = f"{login.registry}/{target.repository}:{target.tag}"
    return push_there(image.reference, reference, on=on, login=login)
