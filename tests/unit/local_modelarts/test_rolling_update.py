"""The plan of a rolling update, in any order of events: never too many instances, never too few."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from local_modelarts.runtime.rolling_update import (
    Goal,
    Slot,
    Step,
    is_done,
    match_groups,
    plan,
    share,
)
from local_modelarts.storage.specs import Group, InstanceSpec

SPEC = InstanceSpec("image", 8080)


class RollingUpdate(RuleBasedStateMachine):
    """A group whose instances start, fail, recover and end whenever they like."""

    def __init__(self) -> None:
        super().__init__()
        self.slots: dict[str, Slot] = {}
        self.names = itertools.count()
        self.revisions = itertools.count()
        self.goal = Goal("", 0)

    @initialize(
        count=st.integers(1, 5),
        surge=st.integers(0, 3),
        unavailable=st.integers(0, 3),
        recreate=st.booleans(),
    )
    def begin(self, count: int, surge: int, unavailable: int, recreate: bool) -> None:
        surge = surge or int(not unavailable)
        self.goal = Goal(f"r{next(self.revisions)}", count, surge, unavailable, recreate)

    # --- what callers do --------------------------------------------------------------------------

    @rule()
    def update(self) -> None:
        self.goal = Goal(**{**vars(self.goal), "revision": f"r{next(self.revisions)}"})

    # --- what the platform does -------------------------------------------------------------------

    @rule()
    def step(self) -> None:
        before = [slot for slot in self.slots.values() if not slot.is_leaving]
        ready = sum(slot.is_ready for slot in before)
        step = plan(self.goal, list(self.slots.values()))
        stopped = [self.slots[name] for name in step.stop]

        assert not any(slot.is_leaving for slot in stopped), "it is told to stop twice"
        assert len(set(step.stop)) == len(step.stop)
        if not self.goal.recreate:
            left = ready - sum(slot.is_ready for slot in stopped)
            assert left >= min(ready, self.goal.count - self.goal.unavailable)
        self.carry_out(step)
        staying = [slot for slot in self.slots.values() if not slot.is_leaving]
        assert len(staying) <= max(len(before), self.goal.count + self.goal.surge)
        if self.goal.recreate and step.start:
            assert {slot.revision for slot in self.slots.values()} == {self.goal.revision}

    def carry_out(self, step: Step) -> None:
        for name in step.stop:
            self.slots[name] = Slot(**{**vars(self.slots[name]), "is_leaving": True})
        for _ in range(step.start):
            name = f"i{next(self.names)}"
            self.slots[name] = Slot(name, self.goal.revision, is_ready=False)

    # --- what instances do ------------------------------------------------------------------------

    @precondition(lambda self: self.slots)
    @rule(data=st.data(), is_ready=st.booleans())
    def change_health(self, data: st.DataObject, is_ready: bool) -> None:
        name = data.draw(st.sampled_from(sorted(self.slots)))
        if not self.slots[name].is_leaving:
            self.slots[name] = Slot(**{**vars(self.slots[name]), "is_ready": is_ready})

    @precondition(lambda self: any(slot.is_leaving for slot in self.slots.values()))
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        leaving = sorted(name for name, slot in self.slots.items() if slot.is_leaving)
        del self.slots[data.draw(st.sampled_from(leaving))]

    @invariant()
    def nothing_is_done_twice(self) -> None:
        """A plan that has been carried out asks for the same only where something has changed."""
        slots = list(self.slots.values())
        assert plan(self.goal, slots) == plan(self.goal, slots)

    def teardown(self) -> None:
        """However it was left: once instances start and end as they should, it comes to its end."""
        for _ in range(60):
            slots = list(self.slots.values())
            if is_done(self.goal, slots) and plan(self.goal, slots) == Step():
                return
            self.step()
            self.slots = {
                name: Slot(**{**vars(slot), "is_ready": True})
                for name, slot in self.slots.items()
                if not slot.is_leaving
            }
        raise AssertionError(f"{self.goal} is never reached: {self.slots}")


RollingUpdate.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestRollingUpdate = RollingUpdate.TestCase


def test_one_instance_is_replaced_only_when_its_successor_is_ready() -> None:
    goal = Goal("new", 1, surge=1, unavailable=0)
    old = Slot("a", "old", is_ready=True)

    assert plan(goal, [old]) == Step(start=1)
    assert plan(goal, [old, Slot("b", "new", is_ready=False)]) == Step()
    assert plan(goal, [old, Slot("b", "new", is_ready=True)]) == Step(stop=("a",))


def test_without_surge_an_old_instance_makes_room_first() -> None:
    goal = Goal("new", 2, surge=0, unavailable=1)
    old = [Slot("a", "old", is_ready=True), Slot("b", "old", is_ready=True)]

    assert plan(goal, old) == Step(stop=("a",))


def test_a_public_pool_ends_all_old_instances_before_it_starts_new_ones() -> None:
    goal = Goal("new", 2, recreate=True)
    old = [Slot("a", "old", is_ready=True), Slot("b", "old", is_ready=True)]
    leaving = [Slot("a", "old", is_ready=True, is_leaving=True)]

    assert plan(goal, old) == Step(stop=("a", "b"))
    assert plan(goal, leaving) == Step()
    assert plan(goal, []) == Step(start=2)


def test_a_group_that_is_gone_from_the_config_ends() -> None:
    slots = [Slot("a", "old", is_ready=True), Slot("b", "old", is_ready=False)]

    assert set(plan(Goal("", 0), slots).stop) == {"a", "b"}


@pytest.mark.parametrize(
    ("value", "count", "up", "expected"),
    [
        ("1%", 1, True, 1),
        ("1%", 1, False, 0),
        ("25%", 8, True, 2),
        ("25%", 3, False, 0),
        ("100%", 3, False, 3),
        (0.5, 3, True, 2),
        ("0.5", 3, False, 1),
        (2, 3, True, 2),
        (None, 3, True, 9),
        ("", 3, True, 9),
    ],
)
def test_a_share_is_rounded_as_kubernetes_rounds(
    value: object, count: int, up: bool, expected: int
) -> None:
    assert share(value, count, 9, up=up) == expected


@pytest.mark.parametrize("value", ["many", "-1", -0.5, "%", [1]])
def test_what_is_no_share_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        share(value, 3, 1, up=True)


REVISIONS = st.lists(st.sampled_from("abcdef"), max_size=5, unique=True)


@given(old=REVISIONS, new=REVISIONS.filter(bool))
def test_an_entry_that_stays_keeps_its_group_and_groups_are_never_shared(
    old: list[str], new: list[str]
) -> None:
    before = match_groups([], [Group(revision, SPEC) for revision in old])
    after = match_groups(before, [Group(revision, SPEC) for revision in new])
    groups = {entry.revision: entry.group for entry in before}

    assert [entry.revision for entry in after] == new
    assert len({entry.group for entry in after}) == len(after)
    for entry in after:
        if entry.revision in groups:
            assert entry.group == groups[entry.revision]
    replaced = [entry for entry in after if entry.revision not in groups]
    gone = [group for revision, group in groups.items() if revision not in new]
    assert [e.group for e in replaced][: len(gone)] == gone[: len(replaced)]
