"""Judging every image of a list, and going on where an earlier run was broken off.

The folder of a fleet holds, below ``images/``, the last outcome of each image, written when it
arrives; ``last_run.json``, what the last whole run found; ``matrix.html`` and ``matrix.csv``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Executor, Future, as_completed
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from custom_image.errors import Unavailable, UsageError
from custom_image.fleet.matrix import Matrix, Row
from custom_image.fleet.unit import Outcome, Unit, run

OUTCOMES: Final = "images"
LAST_RUN: Final = "last_run.json"
OURS: Final = ("--format", "--output", "--all", "--server", "--ssh-config")
"""Options of `verify` that a fleet sets itself, or that choose another machine."""
_ENVIRONMENT: Final = ("--env", "-e")
_VALUE: Final = re.compile(r"--env=|-e(?=.)")
_STATIC: Final = "static"

Told = Callable[[Row], None]


def judge_images(
    images: Sequence[str],
    options: Sequence[str],
    executor: Executor,
    folder: Path,
    *,
    told: Told = lambda row: None,
) -> Matrix:
    """Judge images on the machines of an executor.

    An image is not judged again where its digest, the options and this tool's version are those of
    its last outcome. What arrives is kept at once: a run that is broken off goes on where it was.

    Args:
        images: references.
        options: of `custom-image verify`, the same for every image.
        executor: runs the units.
        folder: of the fleet; made where it is not there.
        told: called with each row when it arrives.

    Raises:
        UsageError: an option that a fleet sets itself, or the folder cannot be written.
        Unavailable: the scheduler went away; what had arrived is kept.
    """
    _refuse(options)
    kept = _Outcomes(folder, options)
    futures: dict[Future[str], str] = {}
    rows: dict[str, Row] = {}
    try:
        for image in images:
            futures[executor.submit(run, _unit(image, options, kept).to_json())] = image
        for future in as_completed(futures):
            image = futures[future]
            outcome = _outcome(future)
            if outcome.is_unchanged:
                outcome = kept.recall(image)
                rows[image] = Row.of(image, outcome, judged=False)
            else:
                kept.keep(image, outcome)
                rows[image] = Row.of(image, outcome)
            told(rows[image])
    except (CancelledError, OSError) as error:
        raise Unavailable(
            f"the scheduler went away when {len(rows)} of {len(images)} images were judged "
            f"({type(error).__name__}).\n"
            f"What was found is kept in {folder}: the same command goes on from there."
        ) from error
    finally:
        for future in futures:
            future.cancel()
    ordered = [rows[image] for image in images]
    return Matrix(tuple(ordered), previous=kept.exchange_last_run(ordered))


def _refuse(options: Sequence[str]) -> None:
    """Refuse what belongs to one report, and values that would travel and be kept."""
    for option in options:
        if option.partition("=")[0] in OURS:
            raise UsageError(f"{option} belongs to one report; a fleet has its own --output.")
    for option, following in pairwise([*options, ""]):
        value = following if option in _ENVIRONMENT else _VALUE.sub("", option)
        if (option in _ENVIRONMENT or _VALUE.match(option)) and "=" in value:
            raise UsageError(
                f"--env {value.partition('=')[0]}=...: a value would travel to the workers and be "
                "kept.\nName the variable alone: each worker has its own value."
            )


def _unit(image: str, options: Sequence[str], kept: _Outcomes) -> Unit:
    return Unit(
        arguments=("verify", image, *options, "--format", "json"),
        image=image,
        known=kept.known(image),
        alone=_STATIC not in options,
    )


def _outcome(future: Future[str]) -> Outcome:
    """Return what a worker sent; a unit that ended every worker that had it is an outcome too."""
    try:
        return Outcome.from_json(future.result())
    except (CancelledError, OSError):
        raise
    except Exception as error:  # noqa: BLE001 - one image must not end the others
        if type(error).__name__ == "KilledWorker":
            return Outcome(error="every worker that judged it was lost; see the workers' logs")
        return Outcome(error=f"{type(error).__name__}: {error}".splitlines()[0])


class _Outcomes:
    """The outcomes in a fleet's folder: one file an image, for these options."""

    def __init__(self, folder: Path, options: Sequence[str]) -> None:
        from custom_image import __version__

        self._folder, self._options = folder, [*options]
        self._version = __version__
        try:
            (folder / OUTCOMES).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"{folder}: cannot be written ({error.strerror}).") from error

    def known(self, image: str) -> str:
        """Return the digest of which a verdict is known; empty where there is none."""
        kept = _read(self._path(image))
        outcome = kept.get("outcome") or {}
        same = kept.get("options") == self._options and outcome.get("version") == self._version
        # Where nothing could be checked, another try may find more.
        judged = outcome.get("output") and outcome.get("exit_code") in (0, 1)
        return str(outcome.get("digest", "")) if same and judged else ""

    def recall(self, image: str) -> Outcome:
        """Return the last outcome of an image."""
        return Outcome(**_read(self._path(image))["outcome"])

    def keep(self, image: str, outcome: Outcome) -> None:
        """Write the outcome of an image; one that was not judged leaves its last verdict."""
        if outcome.output is not None:
            kept = {"image": image, "options": self._options, "outcome": asdict(outcome)}
            _write(self._path(image), kept)

    def exchange_last_run(self, rows: Sequence[Row]) -> dict[str, dict[str, str]]:
        """Return the badges of the last whole run by image and rule, and keep those of this one."""
        path = self._folder / LAST_RUN
        last: dict[str, dict[str, str]] = _read(path)
        # An image that could not be judged this time keeps what was known of it.
        found = {row.image: row.badges if row.is_judged else last.get(row.image) for row in rows}
        _write(path, {image: badges for image, badges in found.items() if badges})
        return last

    def _path(self, image: str) -> Path:
        digest = hashlib.sha256(image.encode()).hexdigest()[:16]
        return self._folder / OUTCOMES / f"{digest}.json"


def _read(path: Path) -> dict[str, Any]:
    """Return what a file holds; nothing where there is none, or where it was not written by us."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, document: dict[str, Any]) -> None:
    """Write a file whole: a kill at any moment leaves the old one or the new one."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    part.replace(path)
