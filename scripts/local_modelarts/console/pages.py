"""Pages of the console, made from the platform's state; nothing is changed here."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from local_modelarts.errors import no_model, no_service
from local_modelarts.platform import Platform
from local_modelarts.services.backend import Services
from local_modelarts.storage.events import Events
from local_modelarts.storage.resources import Batch, Event, Image, Model, Repository, Service

_LOG_CHARACTERS: Final = 20_000
_EVENTS: Final = 100
_NOTHING: Final = "\N{EN DASH}"


def services(platform: Platform) -> dict[str, Any]:
    """Return the real-time and the batch services."""
    state = platform.state
    return {"services": state.find(Service), "batches": state.find(Batch)}


def models(platform: Platform) -> dict[str, Any]:
    """Return the models."""
    return {"models": platform.state.find(Model)}


def model(platform: Platform, model_id: str) -> dict[str, Any]:
    """Return a model and what happened to it.

    Raises:
        ApiError: there is none.
    """
    row = platform.state.get(Model, model_id)
    if row is None:
        raise no_model(model_id)
    return {"model": row, "events": _events(platform, model_id)}


def images(platform: Platform) -> dict[str, Any]:
    """Return the images of ModelArts, and the repositories of the registry with their tags."""
    made = {row.id for row in platform.state.find(Repository)}
    names = sorted(made | set(platform.registry.repositories()))
    return {
        "images": platform.state.find(Image),
        "repositories": [(name, platform.registry.tags(name)) for name in names],
        "registry": platform.registry.host,
    }


def service(platform: Platform, services: Services, row: Service) -> dict[str, Any]:
    """Return a service, its instances, what happened to it, and the end of their logs."""
    return {
        "service": row,
        "instances": services.instances(row.id),
        "events": _events(platform, row.id),
        "log": services.logs(row.id)[-_LOG_CHARACTERS:],
    }


def batch(platform: Platform, batch_id: str) -> dict[str, Any]:
    """Return a batch service and what happened to it.

    Raises:
        ApiError: there is none.
    """
    row = platform.state.get(Batch, batch_id)
    if row is None:
        raise no_service(batch_id)
    return {"batch": row, "events": _events(platform, batch_id)}


def time_text(time_ms: int) -> str:
    """Return a moment as it is written on the pages; a dash for one that has not come."""
    if not time_ms:
        return _NOTHING
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def size_text(size_bytes: int) -> str:
    """Return a size in the unit that people think of it in; a dash for one that is not known."""
    if not size_bytes:
        return _NOTHING
    return f"{size_bytes / 1e9:.2f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.0f} MB"


def _events(platform: Platform, resource_id: str) -> list[Event]:
    return Events(platform.state).of(resource_id)[:_EVENTS]
