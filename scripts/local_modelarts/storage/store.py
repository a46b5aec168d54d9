"""What the platform knows, in one SQLite file that survives SIGKILL.

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
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NewType

Kind = NewType("Kind", str)
NOTEBOOK: Final = Kind("notebook")
IMAGE: Final = Kind("image")
ORGANIZATION: Final = Kind("organization")
REPOSITORY: Final = Kind("repository")
MODEL: Final = Kind("model")
SERVICE: Final = Kind("service")
INSTANCE: Final = Kind("serving_instance")
EVENT: Final = Kind("event")
BATCH: Final = Kind("batch")
TASK: Final = Kind("task")
API_KEY: Final = Kind("api_key")
POD_EVENT: Final = Kind("pod_event")

Row = dict[str, Any]
"""A resource: ``id``, ``status``, ``create_at`` and ``update_at`` (UTC, ms), and its own fields."""

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


class State:
    """The resources. Every change is a transaction; threads share one connection, in turn."""

    def __init__(self, path: Path, *, die: str = "") -> None:
        self._die = die
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
            os.kill(os.getpid(), signal.SIGKILL)

    def add(self, kind: Kind, resource_id: str, status: str, **fields: Any) -> Row:
        """Add a resource and return it."""
        now = _now_ms()
        with self.transaction():
            self._connection.execute(
                "INSERT INTO resources VALUES (?, ?, ?, ?, ?, ?)",
                (kind, resource_id, status, json.dumps(fields), now, now),
            )
        return {**fields, "id": resource_id, "status": status, "create_at": now, "update_at": now}

    def get(self, kind: Kind, resource_id: str) -> Row | None:
        """Return one resource, or None."""
        found = self._select("kind = ? AND id = ?", (kind, resource_id))
        return found[0] if found else None

    def find(self, kind: Kind, statuses: Collection[str] = ()) -> list[Row]:
        """Return the resources of a kind, newest first; of some statuses where any are named."""
        marks = ", ".join("?" for _ in statuses)
        condition = f"kind = ? AND status IN ({marks})" if statuses else "kind = ?"
        return self._select(condition, (kind, *statuses))

    def change(
        self,
        kind: Kind,
        resource_id: str,
        allowed: Collection[str],
        status: str = "",
        **fields: Any,
    ) -> Row:
        """Change a resource that is in one of the ``allowed`` statuses, and return it.

        Raises:
            WrongStatus: it is in another one, or there is none.
        """
        with self.transaction():
            row = self.get(kind, resource_id)
            if row is None or row["status"] not in allowed:
                raise WrongStatus(row["status"] if row else "")
            row |= {**fields, "status": status or row["status"], "update_at": _now_ms()}
            own = {k: v for k, v in row.items() if k not in ("id", "status", "create_at")}
            del own["update_at"]
            self._connection.execute(
                "UPDATE resources SET status = ?, fields = ?, update_at = ?"
                " WHERE kind = ? AND id = ?",
                (row["status"], json.dumps(own), row["update_at"], kind, resource_id),
            )
        return row

    def remove(self, kind: Kind, resource_id: str) -> None:
        """Forget a resource. Harmless when repeated."""
        with self.transaction():
            self._connection.execute(
                "DELETE FROM resources WHERE kind = ? AND id = ?", (kind, resource_id)
            )

    def _select(self, condition: str, values: tuple[str, ...]) -> list[Row]:
        query = (
            "SELECT id, status, fields, create_at, update_at FROM resources"
            f" WHERE {condition} ORDER BY create_at DESC, rowid DESC"
        )
        with self._lock:
            found = self._connection.execute(query, values).fetchall()
        return [
            json.loads(fields)
            | {"id": found_id, "status": status, "create_at": created, "update_at": updated}
            for found_id, status, fields, created, updated in found
        ]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
