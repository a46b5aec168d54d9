"""Routes to the instances of each service: renewed as a whole, read without a lock."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from local_modelarts.storage.resources import Service


@dataclass(frozen=True)
class Target:
    """An instance that requests are sent to.

    Attributes:
        title: name and version of its model.
        is_dead: it has ended, and routing does not know it yet.
    """

    id: str
    name: str
    title: str
    host: str
    port: int
    protocol: str = "http"
    is_dead: bool = False


@dataclass(frozen=True)
class Route:
    """A service as the gateway sees it.

    Attributes:
        row: the service.
        groups: weight and instances of each entry of its config.
    """

    row: Service
    groups: tuple[tuple[int, tuple[Target, ...]], ...] = ()
    _turn: list[int] = field(default_factory=lambda: [0])

    def choose(self) -> Target | None:
        """Return an instance: a group by weight, its instances in turn; None where there is none.

        A group without instances gets no share, as the ``traffic_ratio`` of Inference 2.0 says.
        """
        filled = [(weight, targets) for weight, targets in self.groups if targets]
        if not filled:
            return None
        weights = [weight for weight, _ in filled]
        if not any(weights):
            return None
        targets = filled[0][1]
        if len(filled) > 1:
            targets = random.choices([t for _, t in filled], weights)[0]
        self._turn[0] += 1
        return targets[self._turn[0] % len(targets)]


class Routing:
    """The routes of all services."""

    def __init__(self) -> None:
        self._routes: Mapping[str, Route] = {}

    def find(self, service_id: str) -> Route | None:
        """Return the route of a service that serves, or None."""
        return self._routes.get(service_id)

    def targets(self) -> set[str]:
        """Return the ids of all instances that requests go to."""
        routes = self._routes.values()
        return {t.id for route in routes for _, targets in route.groups for t in targets}

    def publish(self, routes: Mapping[str, Route]) -> None:
        """Replace all routes."""
        self._routes = routes
