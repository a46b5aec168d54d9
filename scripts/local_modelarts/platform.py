"""The parts of one running platform, put together once and handed to everything else."""

from __future__ import annotations

from dataclasses import dataclass

from custom_image.engines.serving_host import ServingHost
from local_modelarts.jobs import Jobs
from local_modelarts.registry.client import Registry
from local_modelarts.registry.logins import Logins
from local_modelarts.settings import Settings
from local_modelarts.storage.paths import Folder, Identity
from local_modelarts.storage.store import State


@dataclass(frozen=True)
class Platform:
    """What a handler may use.

    Attributes:
        gateway: address of this machine as instances see it.
    """

    folder: Folder
    identity: Identity
    settings: Settings
    state: State
    host: ServingHost
    registry: Registry
    logins: Logins
    jobs: Jobs
    gateway: str


def endpoint(platform: Platform, address: str) -> str:
    """Return the address of the API as seen from ``address``'s network."""
    return f"http://{address}:{platform.identity.port}"
