"""Judging every image of a list, and going on where an earlier run was broken off.

The folder of a fleet holds, below ``images/``, the last outcome of each image, written when it
arrives; ``last_run.json``, what the last whole run found; ``matrix.html`` and ``matrix.csv``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Final

from custom_image.errors import UsageError
from custom_image.fleet.matrix import Matrix, Row
from custom_image.fleet.outcomes import Outcomes, arrivals, read_json, write_json
from custom_image.fleet.unit import Outcome, Unit

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
    # Where nothing could be checked, another try may find more.
    kept = Outcomes(folder / OUTCOMES, good=(0, 1))
    known = {image: kept.known(image, options) for image in images}
    units = {image: _unit(image, options, known[image]) for image in images}
    remains = f"What was found is kept in {folder}: the same command goes on from there."
    rows: dict[str, Row] = {}
    with closing(arrivals(units, executor, remains)) as arriving:
        for image, outcome in arriving:
            if outcome.is_unchanged and (last := known[image]):
                rows[image] = Row.of(image, last, judged=False)
            else:
                kept.keep(image, options, outcome)
                rows[image] = Row.of(image, outcome)
            told(rows[image])
    ordered = [rows[image] for image in images]
    return Matrix(tuple(ordered), previous=_exchange_last_run(folder / LAST_RUN, ordered))


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


def _unit(image: str, options: Sequence[str], last: Outcome | None) -> Unit:
    return Unit(
        arguments=("verify", image, *options, "--format", "json"),
        image=image,
        known=last.digest if last else "",
        alone=_STATIC not in options,
    )


def _exchange_last_run(path: Path, rows: Sequence[Row]) -> dict[str, dict[str, str]]:
    """Return the badges of the last whole run by image and rule, and keep those of this one."""
    last: dict[str, dict[str, str]] = read_json(path)
    # An image that could not be judged this time keeps what was known of it.
    found = {row.image: row.badges if row.is_judged else last.get(row.image) for row in rows}
    write_json(path, {image: badges for image, badges in found.items() if badges})
    return last
