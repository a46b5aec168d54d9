"""Rolling updates: which instances to start and which to tell to stop, at each moment.

Pure: it knows neither containers nor time, so that every order of events can be tried. The order is
that of a Kubernetes deployment, whose words ``max_surge`` and ``max_unavailable`` are.

Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from local_modelarts.storage.specs import Group


@dataclass(frozen=True)
class Goal:
    """What a group of instances is to become.

    Attributes:
        revision: of the instances that are wanted.
        surge: how many more instances than ``count`` there may be meanwhile.
        unavailable: how many fewer than ``count`` may be ready meanwhile.
        recreate: all old instances end before new ones start.
    """

    revision: str
    count: int
    surge: int = 1
    unavailable: int = 0
    recreate: bool = False


@dataclass(frozen=True)
class Slot:
    """An instance as far as an update is concerned.

    Attributes:
        is_leaving: it was told to stop, or has failed for good.
    """

    id: str
    revision: str
    is_ready: bool
    is_leaving: bool = False


@dataclass(frozen=True)
class Step:
    """What to do now: how many instances to start, and which to tell to stop."""

    start: int = 0
    stop: tuple[str, ...] = ()


def plan(goal: Goal, slots: Sequence[Slot]) -> Step:
    """Return the next step of a group; an empty one where there is nothing to do but wait."""
    staying = [slot for slot in slots if not slot.is_leaving]
    new = [slot for slot in staying if slot.revision == goal.revision]
    old = [slot for slot in staying if slot.revision != goal.revision]
    if goal.recreate:
        has_old = any(slot.revision != goal.revision for slot in slots)
        start = 0 if has_old else max(0, goal.count - len(new))
        return Step(start, (*_ids(old), *_ids(_excess(new, goal.count))))
    start = max(0, min(goal.count - len(new), goal.count + goal.surge - len(staying)))
    excess = _excess(new, goal.count)
    fewest = max(0, goal.count - goal.unavailable)
    kept = [slot for slot in staying if slot not in excess]
    ready = sum(slot.is_ready for slot in kept)
    starting = sum(not slot.is_ready for slot in kept if slot.revision == goal.revision)
    # One that is not ready serves nobody, but may yet, as long as its successor has not started.
    useless = [slot for slot in old if not slot.is_ready]
    useless = useless[: max(0, len(kept) - fewest - starting)]
    replaced = [slot for slot in old if slot.is_ready][: max(0, ready - fewest)]
    return Step(start, _ids([*excess, *useless, *replaced]))


def is_done(goal: Goal, slots: Sequence[Slot]) -> bool:
    """Tell whether a group is what it was to become; what is leaving may take its time."""
    staying = [slot for slot in slots if not slot.is_leaving]
    return len(staying) == goal.count and all(
        slot.is_ready and slot.revision == goal.revision for slot in staying
    )


def share(value: object, count: int, default: int, *, up: bool) -> int:
    """Return how many of ``count`` instances a value means.

    ``"25%"`` and, in the classic API, a number below 1 are shares, rounded up for a surge and down
    for what may be missing, as Kubernetes does; anything else is a number of instances.

    Raises:
        ValueError: it is neither.
    """
    if value in (None, ""):
        return default
    text = str(value)
    number = Fraction(text.removesuffix("%"))
    if text.endswith("%"):
        number /= 100
    if number < 0:
        raise ValueError(text)
    if text.endswith("%") or 0 < number < 1:
        return math.ceil(number * count) if up else math.floor(number * count)
    return int(number)


def match_groups(old: Sequence[Group], new: Sequence[Group]) -> list[Group]:
    """Return the new entries of a config, each with the group of the entry that it replaces.

    An entry of the same revision keeps its instances; of the rest, each takes the place of one that
    is gone, in order; only one more than there were is a new group.
    """
    groups = {entry.revision: entry.group for entry in reversed(old)}
    wanted = {entry.revision for entry in new}
    free = [entry.group for entry in old if entry.revision not in wanted]
    unused = max((int(entry.group) for entry in old), default=-1) + 1
    found = []
    for entry in new:
        group = groups.pop(entry.revision, "") or (free.pop(0) if free else "")
        if not group:
            group, unused = str(unused), unused + 1
        found.append(replace(entry, group=group))
    return found


def _excess(new: Sequence[Slot], count: int) -> list[Slot]:
    """Return the instances that are one too many, those that are not ready first."""
    return sorted(new, key=lambda slot: slot.is_ready)[: max(0, len(new) - count)]


def _ids(slots: Sequence[Slot]) -> tuple[str, ...]:
    return tuple(slot.id for slot in slots)
