"""Outcomes of earlier runs: the last one of each command, one file each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import CancelledError, Executor, Future, as_completed
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from custom_image.errors import Unavailable, UsageError
from custom_image.files import write_whole
from custom_image.fleet.unit import Outcome, Unit, run

Key = TypeVar("Key")


class Outcomes:
    """The outcomes in a folder, by the name of what a command worked on.

    One counts only where the command's other words, the content of files that they name, and this
    tool's version are the same.
    """

    def __init__(self, folder: Path, *, good: Sequence[int] = (0,)) -> None:
        """Make the folder where it is not there.

        Args:
            folder: of the files.
            good: exit codes after which there is nothing left to try.

        Raises:
            UsageError: it cannot be written.
        """
        self._folder, self._good = folder, good
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{folder}: cannot be written ({error.strerror}).") from error

    def known(self, name: str, words: Sequence[str]) -> Outcome | None:
        """Return the last outcome, where it holds for these words."""
        from custom_image import __version__

        kept = read_json(self._path(name))
        try:
            outcome = Outcome(**kept["outcome"])
        except (KeyError, TypeError):
            return None
        same = kept.get("words") == with_contents(words) and outcome.version == __version__
        done = outcome.output is not None and outcome.exit_code in self._good
        return outcome if same and done else None

    def keep(self, name: str, words: Sequence[str], outcome: Outcome) -> None:
        """Write an outcome; one without a result leaves the last one that had one."""
        if outcome.output is not None:
            kept = {"name": name, "words": with_contents(words), "outcome": asdict(outcome)}
            write_json(self._path(name), kept)

    def _path(self, name: str) -> Path:
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"


def with_contents(words: Sequence[str]) -> list[str]:
    """Return the words, and behind each that names a file here, what that file holds."""
    found = []
    for word in words:
        found.append(word)
        with suppress(OSError, ValueError), Path(word.rpartition("=")[2]).open("rb") as file:
            found.append(hashlib.file_digest(file, "sha256").hexdigest())
    return found


def arrivals(
    units: Mapping[Key, Unit], executor: Executor, remains: str
) -> Generator[tuple[Key, Outcome]]:
    """Run units, and yield the outcome of each when it arrives; closing it cancels the rest.

    Args:
        units: by what each is called here.
        executor: runs them.
        remains: where the scheduler goes away, what is left to do then.

    Raises:
        Unavailable: the scheduler went away.
    """
    futures: dict[Future[str], Key] = {}
    arrived = 0
    try:
        for key, unit in units.items():
            futures[executor.submit(run, unit.to_json())] = key
        for future in as_completed(futures):
            outcome = _outcome_of(future)
            arrived += 1
            yield futures[future], outcome
    except (CancelledError, OSError) as error:
        raise Unavailable(
            f"the scheduler went away when {arrived} of {len(units)} commands had ended "
            f"({type(error).__name__}).\n{remains}"
        ) from error
    finally:
        for future in futures:
            future.cancel()


def _outcome_of(future: Future[str]) -> Outcome:
    """Return what a worker sent; a unit that ended every worker that had it is an outcome too."""
    try:
        return Outcome.from_json(future.result())
    except (CancelledError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - one unit must not end the others
        if type(error).__name__ == "KilledWorker":
            return Outcome(error="every worker that had it was lost; see the workers' logs")
        return Outcome(error=f"{type(error).__name__}: {error}".splitlines()[0])


def read_json(path: Path) -> dict[str, Any]:
    """Return what a file holds; nothing where there is none, or where it was not written by us."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a file whole: a kill at any moment leaves the old one or the new one."""
    write_whole(path, json.dumps(document, ensure_ascii=False))
