"""A service as the platform shows it now, whichever generation of the API is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from custom_image.cloud.model import Model
    from custom_image.cloud.services.service import DeployOptions


@dataclass(frozen=True)
class Seen:
    """A service as the platform shows it now.

    Attributes:
        status: in lower case, as the classic calls write it.
        url: where it is asked; empty before it runs.
        content: what tells it from a service of other models or settings.
        is_ready: whether every part of it is.
        version: of a service of v2; empty elsewhere.
        options: how it was deployed, as far as the platform says.
        is_asynchronous: whether it says that it answers later; classic services do not.
    """

    id: str
    status: str
    url: str
    content: object
    is_ready: bool
    version: str
    options: DeployOptions
    is_asynchronous: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether nothing is under way with it."""
        if self.status == "running":
            return self.is_ready
        return self.status in ("failed", "stopped", "error", "finished")


class Generation(Protocol):
    """The calls about real-time services of one generation of the API."""

    generation: str

    def request(
        self, model: Model, name: str, options: DeployOptions, *, asynchronous: bool
    ) -> dict[str, Any]:
        """Return the body of a request; refuse what the platform would."""
        ...

    def find(self, name: str) -> Seen | None:
        """Return the service of this name, or None."""
        ...

    def create(self, body: Mapping[str, Any]) -> str:
        """Begin to deploy a service and return its id."""
        ...

    def update(self, seen: Seen, body: Mapping[str, Any]) -> None:
        """Begin a rolling update."""
        ...

    def restart(self, seen: Seen) -> None:
        """Begin to start a service that was stopped."""
        ...

    def show(self, service_id: str, planned: Mapping[str, Any] | None = None) -> Seen | None:
        """Return a service as it is now, or None."""
        ...

    def content(self, document: Mapping[str, Any]) -> object:
        """Return what tells services apart, of a request or of one that is shown."""
        ...

    def events(self, service_id: str) -> list[dict[str, Any]]:
        """Return what has happened to a service, oldest first."""
        ...

    def pod_events(self, service_id: str) -> list[dict[str, Any]]:
        """Return what has happened to its instances, oldest first; of v2 alone."""
        ...

    def delete(self, service_id: str) -> None:
        """Begin to delete a service. Harmless if repeated."""
        ...
