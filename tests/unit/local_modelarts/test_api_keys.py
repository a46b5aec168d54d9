"""The life of API keys, in any order of calls, kills and moments: who is let in, and who is not."""

from __future__ import annotations

import itertools
import sqlite3
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from service_fields import SERVICE_FIELDS

from local_modelarts.errors import ApiError
from local_modelarts.http.api_keys import SERVICE_SCOPE, TEMPORARY, USER, ApiKeys
from local_modelarts.storage.resources import Service
from local_modelarts.storage.store import State

SERVICES = ("one", "two")
HOUR_MS = 3_600_000
SCOPES = st.sampled_from([USER, SERVICE_SCOPE])


@dataclass
class Key:
    """What a key should be able to do."""

    id: str
    text: str
    scope: str
    ends_at: int = 0
    is_deleted: bool = False
    services: set[str] = field(default_factory=set)

    def expected(self, service_id: str, now_ms: int) -> int:
        """Return the status that a call with it gets."""
        if self.is_deleted or (self.ends_at and now_ms >= self.ends_at):
            return 401
        return 403 if self.scope == SERVICE_SCOPE and service_id not in self.services else 200


class KeyLife(RuleBasedStateMachine):
    """The keys of an account with two services."""

    keys = Bundle("keys")

    def __init__(self) -> None:
        super().__init__()
        self.scratch = tempfile.TemporaryDirectory()
        self.file = Path(self.scratch.name) / "state.sqlite"
        self.now_ms = 1_000_000
        self.known: list[Key] = []
        self.names = itertools.count()
        self.state = State(self.file)
        for service_id in SERVICES:
            self.state.add(Service, service_id, "RUNNING", **SERVICE_FIELDS)
        self.begin()

    def begin(self) -> None:
        platform: Any = SimpleNamespace(state=self.state, identity=SimpleNamespace(project_id="p"))
        self.api = ApiKeys(platform, lambda: self.now_ms)

    # --- calls ------------------------------------------------------------------------------------

    @initialize(target=keys, scope=SCOPES)
    def begin_with_one(self, scope: str) -> Key:
        return self.create(scope)

    @rule(target=keys, scope=SCOPES)
    def make(self, scope: str) -> Key:
        return self.create(scope)

    def create(self, scope: str) -> Key:
        row, text = self.api.create({"name": f"k{next(self.names)}", "scope": scope})
        self.known.append(Key(row.id, text, scope))
        return self.known[-1]

    @rule(target=keys, hours=st.integers(1, 24))
    def make_temporary(self, hours: int) -> Key:
        row, text = self.api.create_temporary({"expire_time": hours})
        self.known.append(Key(row.id, text, TEMPORARY, self.now_ms + hours * HOUR_MS))
        assert row.ends_at == self.known[-1].ends_at
        return self.known[-1]

    @rule(key=keys, service_id=st.sampled_from(SERVICES), bound=st.booleans())
    def bind(self, key: Key, service_id: str, bound: bool) -> None:
        if key.is_deleted or key.scope != SERVICE_SCOPE:
            with pytest.raises(ApiError):
                self.api.bind(service_id, key.id, bound=bound)
            return
        self.api.bind(service_id, key.id, bound=bound)
        key.services = key.services | {service_id} if bound else key.services - {service_id}

    @rule(some=st.lists(keys, min_size=1, max_size=4), bound=st.booleans())
    def bind_all(self, some: list[Key], bound: bool) -> None:
        body = {"key_ids": [{"key_id": key.id} for key in some]}
        done, failed = self.api.bind_all("one", body, bound=bound)

        good = [key for key in some if key.scope == SERVICE_SCOPE and not key.is_deleted]
        assert [row.id for row in done] == [key.id for key in good]
        assert len(failed) == len(some) - len(good)
        for key in good:
            key.services = key.services | {"one"} if bound else key.services - {"one"}

    @rule(key=keys)
    def delete(self, key: Key) -> None:
        if key.is_deleted or key.scope == TEMPORARY:
            with pytest.raises(ApiError):
                self.api.delete(key.id)
            return
        self.api.delete(key.id)
        key.is_deleted = True

    # --- what goes on -----------------------------------------------------------------------------

    @rule(minutes=st.sampled_from([1, 59, 60, 600]))
    def time_passes(self, minutes: int) -> None:
        self.now_ms += minutes * 60_000

    @rule()
    def the_platform_is_killed(self) -> None:
        self.state.close()
        self.state = State(self.file)
        self.begin()

    # --- what always holds ------------------------------------------------------------------------

    @invariant()
    def each_key_opens_what_it_should(self) -> None:
        for key, service_id in itertools.product(self.known, SERVICES):
            assert self.status(key, service_id) == key.expected(service_id, self.now_ms)

    @invariant()
    def the_list_names_what_is_there_and_is_not_temporary(self) -> None:
        listed = {row.id for row in self.api.find({})}
        assert listed == {k.id for k in self.known if not k.is_deleted and k.scope != TEMPORARY}

    def status(self, key: Key, service_id: str) -> int:
        try:
            self.api.check(key.text, service_id)
        except ApiError as error:
            return error.status
        return 200

    def teardown(self) -> None:
        """No text of a key was written down."""
        self.state.close()
        with sqlite3.connect(self.file) as database:
            rows = str(database.execute("SELECT * FROM resources").fetchall())
        database.close()
        assert not [key for key in self.known if key.text in rows]
        self.scratch.cleanup()


KeyLife.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestKeyLife = KeyLife.TestCase


def test_a_hundred_keys_are_allowed_and_temporary_ones_do_not_count() -> None:
    life = KeyLife()
    life.make_temporary(1)
    for _ in range(100):
        life.create(USER)

    with pytest.raises(ApiError, match=r"At most 100"):
        life.create(USER)
    life.teardown()
