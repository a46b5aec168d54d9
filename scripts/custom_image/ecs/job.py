"""Jobs: what runs on a build server whether anybody is connected or not."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

from custom_image.ecs.ssh.connection import Connection, script_command
from custom_image.ecs.transfer.send import STORE, Busy
from custom_image.errors import ConnectionLost, Unavailable, UsageError
from custom_image.progress import say

TIMED_OUT: Final = 124
CANCELLED: Final = 143
_ID: Final = re.compile(r"\d{8}-\d{6}-[0-9a-f]{4}")
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_BUSY: Final = 75
_OBJECT_MISSING: Final = 76
_NO_SUCH_JOB: Final = 66
_TIDY_S: Final = 60


class ObjectMissing(Unavailable):
    """What was there when it was asked for has been tidied away since; send again."""


@dataclass
class Job:
    """A job on a server.

    Attributes:
        code: how it ended; None where it vanished: the server was restarted, or it was killed.
        log: all that it said.
    """

    connection: Connection
    id: str
    code: int | None = None
    log: list[str] = field(default_factory=list)

    @classmethod
    def start(
        cls,
        connection: Connection,
        script: str,
        key: str,
        arguments: Sequence[str | int],
        *,
        limit_s: int,
        tree: bytes = b"",
        job_id: str = "",
        note: str = "{}",
    ) -> Job:
        """Start a script of ``on_server/`` as a job.

        Args:
            connection: to the server.
            script: its name.
            key: no two jobs of one key run at a time; with a tree, the name of the context.
            arguments: of the script.
            limit_s: after it the job is ended.
            tree: of a manifest, what the job works on.
            job_id: empty for a new one.
            note: JSON, kept there for whoever attaches to it.

        Raises:
            Busy: another job has this key.
            ObjectMissing: the tree needs an object that is gone.
            ConnectionLost: before it was certain that it runs.
        """
        job_id = job_id or new_id()
        text = "\n".join(_read(name) for name in ("job.sh", script))
        place = "yes" if tree else "no"
        with _going_on(connection, job_id):
            done = connection.script(
                "start.sh",
                *(STORE, job_id, key, place, note, text, limit_s, *arguments),
                input=tree,
                timeout_s=None,
            )
        if done.code == _BUSY:
            raise Busy(done.output.strip())
        if done.code == _OBJECT_MISSING:
            raise ObjectMissing(f"{connection.address}: {done.error.strip()}")
        if done.code:
            raise Unavailable(f"{connection.address} cannot start a job: {done.error.strip()}")
        return cls(connection, job_id)

    @classmethod
    def attach(cls, connection: Connection, job_id: str) -> Job:
        """Return a job that was started before, by this machine or another.

        Raises:
            UsageError: ``job_id`` is none.
        """
        if not _ID.fullmatch(job_id):
            raise UsageError(
                f"{job_id!r} is no job; expected an id such as 20260131-235959-4f2a.\n"
                "It was printed when the job was started."
            )
        return cls(connection, job_id)

    def follow(self) -> Iterator[str]:
        """Yield the lines of its log, from the first, until it ends; then its code is known.

        Raises:
            UsageError: there is no such job.
            ConnectionLost: the job goes on.
        """
        self.log.clear()
        with (
            _going_on(self.connection, self.id),
            self.connection.session(script_command("follow.sh", STORE, self.id)) as session,
        ):
            for line in map(_plain, session.lines()):
                self.log.append(line)
                yield line
            result = session.finish()
        self._know(result.code, result.error)

    def note(self) -> dict[str, Any]:
        """Return what was noted when it was started.

        Raises:
            UsageError: there is no such job.
        """
        with _going_on(self.connection, self.id):
            done = self.connection.run(f"cat {STORE}/jobs/{self.id}/note")
        if done.code:
            raise UsageError(f"{self.connection.address} knows no job {self.id}.")
        found: dict[str, Any] = json.loads(done.output)
        return found

    def cancel(self) -> None:
        """End it, and wait until it has tidied up. Harmless where it has ended.

        Raises:
            UsageError: there is no such job.
        """
        done = self.connection.script("cancel.sh", STORE, self.id, _TIDY_S, timeout_s=2 * _TIDY_S)
        self._know(done.code, done.output)

    def _know(self, code: int, said: str) -> None:
        if code == _NO_SUCH_JOB:
            raise UsageError(f"{self.connection.address} knows no job {self.id}.")
        word = (said.split() or [""])[-1]
        self.code = int(word) if word.isdigit() else None


@contextmanager
def _going_on(connection: Connection, job_id: str) -> Iterator[None]:
    """Tell how to come back to a job when the connection breaks off, or somebody interrupts."""
    message = (
        f"Job {job_id} goes on on {connection.address}: `custom-image jobs follow {job_id}` "
        f"comes back to it, `jobs cancel {job_id}` ends it."
    )
    try:
        yield
    except ConnectionLost as error:
        raise ConnectionLost(f"{error}\n{message}") from error
    except KeyboardInterrupt:
        say(message)
        raise


def _plain(line: str) -> str:
    """Return a line without colours and without the ends that a terminal would see."""
    return _COLOUR.sub("", line).rstrip("\r")


def new_id() -> str:
    """Return the id of a new job: when it was started, and four digits by chance."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def _read(name: str) -> str:
    return files("custom_image.ecs").joinpath("on_server", name).read_text()
