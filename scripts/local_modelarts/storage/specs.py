"""Specifications of a service's instances; kept as JSON within services and instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Mount:
    """A folder of this machine within an instance.

    Attributes:
        target: its path in the instance.
        source: its path on this machine.
        host_cache: it is fetched onto the node first.
        warm_up: the file of the warm-up task that it waits for; empty for none.
    """

    target: str
    source: str
    read_only: bool = False
    host_cache: bool = False
    warm_up: str = ""


@dataclass(frozen=True)
class InstanceSpec:
    """What an instance is made of.

    Attributes:
        image: as the engine names it.
        is_remote: it is fetched from the registry at every start.
        command: as one string; empty for the image's own.
        user: ``uid:gid``; empty for the image's own.
        probes: by role, as JSON; see :mod:`local_modelarts.runtime.probes`.
        grace_s: from SIGTERM to SIGKILL, as the service says; 0 for the platform's own.
    """

    image: str
    port: int
    protocol: str = "http"
    is_remote: bool = False
    command: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    mounts: Sequence[Mount] = ()
    memory_mib: int = 0
    cpus: float = 0
    probes: Mapping[str, Any] = field(default_factory=dict)
    pre_stop: str = ""
    grace_s: int = 0


@dataclass(frozen=True)
class Group:
    """One entry of a service's ``config``: instances that are alike.

    Attributes:
        revision: tells one spec from another.
        model_id: empty in v2, whose services are made of an image.
        title: name and version of the model.
        surge: how many more than ``count`` there may be during an update.
        unavailable: how many fewer than ``count`` may be ready meanwhile.
        recreate: all old instances end before new ones start.
        given: the entry of the request.
        group: its number; that of the entry that it replaces.
    """

    revision: str
    spec: InstanceSpec
    model_id: str = ""
    title: str = ""
    weight: int = 100
    count: int = 1
    surge: int = 1
    unavailable: int = 0
    recreate: bool = False
    given: Mapping[str, Any] = field(default_factory=dict)
    group: str = ""


def read_spec(document: InstanceSpec | Mapping[str, Any]) -> InstanceSpec:
    """Return a spec, of its JSON or as it is."""
    if isinstance(document, InstanceSpec):
        return document
    mounts = [Mount(**mount) for mount in document["mounts"]]
    return InstanceSpec(**{**document, "mounts": mounts})


def read_group(document: Group | Mapping[str, Any]) -> Group:
    """Return a group, of its JSON or as it is."""
    if isinstance(document, Group):
        return document
    return Group(**{**document, "spec": read_spec(document["spec"])})
