"""The SIGTERM drill: what clients see of a service that is told to stop.

Four kinds of clients use the service when the signal arrives: new ones, one that keeps its
connection alive, some whose kept-alive connection is idle, and some whose requests are slow to
arrive: of those one is in flight at any time, also when the service leaves. What happens to them
is noted as :class:`~custom_image.drills.sigterm_clients.Event`, and the rules judge the list.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from custom_image.drills.processes import Family, catches_sigterm, ignore_sigterm
from custom_image.drills.sigterm_clients import Clients, Event, running
from custom_image.engines import Instance
from custom_image.probing.http import Request

IDLE_CONNECTIONS: Final = 2
SLOW_CLIENTS: Final = 2
WARM_UP_S: Final = 0.5
EDGE_S: Final = 0.25
"""A request sent so shortly before the service may stop can meet its end: it takes time to arrive,
and who waits exactly as long as is required breaks no rule."""
OVERTIME_S: Final = 5.0
"""How long after its deadline the service is watched on, to say how late it is."""


@dataclass(frozen=True)
class Drain:
    """What the drill saw.

    Attributes:
        drain_s: how long the service had to go on serving.
        exit_s: when it had to be gone.
        events: in order of time.
        exited_s: seconds from SIGTERM to the end of its first process; None where it still ran.
        exit_code: None where it still ran.
        is_caught: whether its first process has a handler for SIGTERM; None where nothing tells.
        deaf: processes that listen and ignore SIGTERM, as ``pid command``.
        orphans: processes that outlived their parent.
    """

    drain_s: float
    exit_s: float
    events: tuple[Event, ...]
    exited_s: float | None
    exit_code: int | None
    is_caught: bool | None
    orphans: tuple[str, ...]
    deaf: tuple[str, ...] = ()

    def asked(self) -> list[Event]:
        """Return the requests that were sent while the service had to serve."""
        end_s = self.drain_s - min(EDGE_S, self.drain_s / 4)
        kinds = ("new", "kept-alive")
        return [event for event in self.events if event.kind in kinds and 0 <= event.t_s < end_s]

    def lost(self) -> list[Event]:
        """Return those of them that got no answer."""
        return [event for event in self.asked() if not event.ok]

    def cut_off(self) -> list[Event]:
        """Return the requests that had been accepted, and were cut off."""
        return [event for event in self.events if event.kind == "slow" and not event.ok]

    def to_fact(self) -> dict[str, Any]:
        """Return the drill for the report, its timeline as ``[t_s, kind, ok]`` for plots."""
        return {
            "drain_s": self.drain_s,
            "exit_s": self.exit_s,
            "exited_s": None if self.exited_s is None else round(self.exited_s, 2),
            "exit_code": self.exit_code,
            "timeline": [[round(event.t_s, 3), event.kind, event.ok] for event in self.events],
        }

    def summary(self) -> str:
        """Return the drill as lines of evidence: counts, the first losses, the end."""
        lines = []
        for kind in ("new", "kept-alive", "slow", "health"):
            events = [event for event in self.events if event.kind == kind and event.t_s >= 0]
            good = sum(event.ok for event in events)
            if events:
                lines.append(f"{kind}: {good} of {len(events)} requests answered after SIGTERM")
        lines += [str(event) for event in (*self.lost()[:3], *self.cut_off()[:3])]
        lines += [str(event) for event in self.events if event.kind in ("idle", "exit")]
        return "\n".join(lines)


def drill_sigterm(
    instance: Instance,
    url: str,
    request: Request,
    *,
    expected_status: int,
    drain_s: float,
    exit_s: float,
    overtime_s: float = OVERTIME_S,
    health_path: str = "",
    pause: Callable[[float], None] = time.sleep,
) -> Drain:
    """Send SIGTERM to a service that is in use, and watch until it is gone.

    Args:
        instance: an instance of one's own, ready; it does not survive this.
        url: where it answers.
        request: one that it answers with ``expected_status``.
        expected_status: an answer of another status counts as none.
        drain_s: how long it has to go on serving.
        exit_s: when it has to be gone.
        overtime_s: how long it is watched beyond that.
        health_path: asked along the way; empty where there is none.
        pause: waits, and may raise to call the drill off.
    """
    clients = Clients(url, request, expected_status, interval_s=0.25 if drain_s > 10 else 0.1)
    is_caught = catches_sigterm(instance)
    deaf = tuple(ignore_sigterm(instance))
    family = Family(instance)
    hold_s = min(1.0, drain_s / 4)

    with running(clients) as start:
        start(clients.come_new)
        start(clients.stay)
        for number in range(1, IDLE_CONNECTIONS + 1):
            start(clients.idle, number)
        if request.body:  # without one, half a request is not yet accepted
            for number in range(SLOW_CLIENTS):
                start(clients.send_slowly, number * hold_s / SLOW_CLIENTS, hold_s)
        if health_path:
            start(clients.ask_health, health_path)
        pause(WARM_UP_S)
        family.look()

        clients.signal(lambda: instance.send_signal("SIGTERM"))
        exit_code = None
        while exit_code is None and clients.since_signal_s() < exit_s + overtime_s:
            pause(0.02)
            family.look(at_most_every_s=0.5)
            exit_code = instance.wait(0)
        exited_s = None if exit_code is None else clients.since_signal_s()
        if exit_code is not None:
            clients.service_left.set()
            clients.note("exit", exit_code == 0, time.monotonic(), f"exit code {exit_code}")
        orphans = family.orphans(is_over=exit_code is not None)
        if exit_code is None:
            clients.over.set()  # what is cut off from here on, the drill itself cuts off
        instance.stop()  # wakes the clients that still wait for an answer

    return Drain(
        drain_s,
        exit_s,
        clients.events(),
        exited_s,
        exit_code,
        is_caught,
        tuple(orphans),
        deaf,
    )
