"""The store of the platform's resources: one SQLite file that survives SIGKILL.

One table holds every kind of resource: a status that only moves from states the caller names, and
the rest as JSON. What a status says has happened; what a transient status says is under way, and
is done again after a crash. By hand: an ORM knows no move that names its former states.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from local_modelarts.storage.resources import Resource

R = TypeVar("R", bound=Resource)
_COLUMNS: Final = {field.name for field in fields(Resource)}

_TABLE = """
CREATE TABLE IF NOT EXISTS resources (
    kind TEXT NOT NULL, id TEXT NOT NULL, status TEXT NOT NULL, fields TEXT NOT NULL,
    create_at INTEGER NOT NULL, update_at INTEGER NOT NULL, PRIMARY KEY (kind, id)
)
"""


class WrongStatus(Exception):
    """A resource is not in a status from which the change may start.

    Attributes:
        status: the one that it is in; empty where there is no such resource.
    """

    def __init__(self, status: str) -> None:
        super().__init__(status)
        self.status = status


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class State:
    """The resources. Every change is a transaction; threads share one connection, in turn.

    For rehearsals of a crash: with ``die``, ``before`` or ``after``, each change calls ``kill``.
    """

    def __init__(self, path: Path, *, die: str = "", kill: Callable[[], None] = _kill) -> None:
        self._die, self._kill = die, kill
        self._lock = threading.RLock()
        self._depth = 0
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.execute(_TABLE)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make everything inside happen together or not at all; may be nested."""
        with self._lock:
            if self._depth:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            before = self._connection.total_changes
            self._depth += 1
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1
            changed = self._connection.total_changes != before
            self._kill_if("before", changed)
            self._connection.execute("COMMIT")
            self._kill_if("after", changed)

    def _kill_if(self, moment: str, changed: bool) -> None:
        if changed and self._die == moment:
            self._kill()

    def add(self, kind: type[R], resource_id: str, status: str, **fields: Any) -> R:
        """Add a resource and return it.

        Raises:
            TypeError: the kind has no such field, or one is missing.
        """
        now = _now_ms()
        row = kind(id=resource_id, status=status, create_at=now, update_at=now, **fields)
        with self.transaction():
            self._connection.execute(
                "INSERT INTO resources VALUES (?, ?, ?, ?, ?, ?)",
                (kind.kind, resource_id, status, _to_json(row), now, now),
            )
        return row

    def get(self, kind: type[R], resource_id: str) -> R | None:
        """Return one resource, or None."""
        found = self._select(kind, "AND id = ?", (resource_id,))
        return found[0] if found else None

    def find(self, kind: type[R], statuses: Collection[str] = ()) -> list[R]:
        """Return the resources of a kind, newest first; of some statuses where any are named."""
        marks = ", ".join("?" for _ in statuses)
        return self._select(kind, f"AND status IN ({marks})" if statuses else "", statuses)

    def change(
        self,
        kind: type[R],
        resource_id: str,
        allowed: Collection[str],
        status: str = "",
        **fields: Any,
    ) -> R:
        """Change a resource that is in one of the ``allowed`` statuses, and return it.

        Raises:
            WrongStatus: it is in another one, or there is none.
        """
        with self.transaction():
            row = self.get(kind, resource_id)
            if row is None or row.status not in allowed:
                raise WrongStatus(row.status if row else "")
            row = replace(row, **fields, status=status or row.status, update_at=_now_ms())
            self._connection.execute(
                "UPDATE resources SET status = ?, fields = ?, update_at = ?"
                " WHERE kind = ? AND id = ?",
                (row.status, _to_json(row), row.update_at, kind.kind, resource_id),
            )
        return row

    def remove(self, kind: type[Resource], resource_id: str) -> None:
        """Forget a resource. Idempotent."""
        with self.transaction():
            self._connection.execute(
                "DELETE FROM resources WHERE kind = ? AND id = ?", (kind.kind, resource_id)
            )

    def _select(self, kind: type[R], condition: str, values: Collection[str]) -> list[R]:
        query = (
            "SELECT id, status, fields, create_at, update_at FROM resources"
            f" WHERE kind = ? {condition} ORDER BY create_at DESC, rowid DESC"
        )
        with self._lock:
            found = self._connection.execute(query, (kind.kind, *values)).fetchall()
        return [
            kind(
                id=resource_id,
                status=status,
                create_at=created,
                update_at=updated,
                **json.loads(fields),
            )
            for resource_id, status, fields, created, updated in found
        ]


def _to_json(row: Resource) -> str:
    own = {name: value for name, value in vars(row).items() if name not in _COLUMNS}
    return json.dumps(own, default=asdict)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
