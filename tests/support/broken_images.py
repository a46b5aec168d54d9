"""Images that are broken on purpose: built on a good one, judged a few at a time, removed."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from judging import Diary
from sabotage import TABLE, Sabotage

import custom_image.specification as spec
from custom_image.report import Report
from custom_image.rules import Waits
from custom_image.verification import verify

# As short as the drills work: what lasts 60, 90 and 200 s on the platform.
SHORT_WAITS = Waits(true=False, keep_alive_s=4, drain_s=1.5, exit_s=5, overtime_s=1)
REMOVED_MEANWHILE = ("failed to get digest", "unknown parent image", "No such image")
AT_ONCE = 3
"""Judging one is mostly waiting: for the builder, for a start, for what never answers."""


class BrokenImages:
    """Judges rows of the table ahead of the tests that read the reports.

    Rows that are told apart by fractions of a second are judged alone, when they are asked for.
    """

    def __init__(
        self, engine: Any, rows: Iterable[Sabotage], good: str, batch: str, folder: Path
    ) -> None:
        self._engine = engine
        self._good = {False: good, True: batch}
        self._configs = {image: config_of(engine, image) for image in (good, batch) if image}
        self._folder = folder
        self._pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="judge")
        self._judged: dict[int, Future[Report]] = {
            id(row): self._pool.submit(self.judge, row, row.only)
            for row in rows
            if not row.is_timed
        }

    def report(self, row: Sabotage) -> Report:
        """Return the report of a row, judged with the rules that it names; anew if asked again."""
        if judged := self._judged.pop(id(row), None):
            return judged.result()
        wait(self._judged.values())
        return self.judge(row, row.only)

    def judge(self, row: Sabotage, only: Collection[str] = ()) -> Report:
        """Build the image of a row, verify and remove it."""
        good = self._good[row.is_batch]
        number = next(n for n, known in enumerate(TABLE) if known is row)
        name = f"{self._engine.run_id}-{number}"
        image = derive(self._engine, good, row.lines, row.name.replace("RUN", name))
        config = None
        if row.config:
            config = self._folder / f"{name}.json"
            config.write_text(row.change(self._configs[good]))
        try:
            return verify(
                image,
                engine=self._engine,
                config=config,
                only=only,
                progress=Diary(),
                **{"waits": SHORT_WAITS} | row.settings,
            )
        finally:
            self._engine.remove_image(image)

    def close(self) -> None:
        """Judge no more."""
        self._pool.shutdown(cancel_futures=True)


def derive(engine: Any, good: str, lines: Iterable[str], tag: str) -> str:
    """Build ``lines`` on top of an image, in well under a second a line; return its reference."""
    dockerfile = "\n".join([f"FROM {good}", *lines, ""]).encode()
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(dockerfile)
        tar.addfile(member, io.BytesIO(dockerfile))
    for tries_left in (2, 1, 0):
        context.seek(0)
        errors = [m["error"] for m in engine.build(context, tag, {}) if "error" in m]
        # The classic builder looks for its cache among images that others are removing just now.
        if not (tries_left and errors and any(text in errors[0] for text in REMOVED_MEANWHILE)):
            break
    assert not errors, errors[0]
    return tag


def config_of(engine: Any, image: str) -> str:
    """Return the config.json in an image."""
    content = engine.read_file(image, f"{spec.MODEL_DIR}/config.json")
    assert content, f"{image} holds no config.json"
    return content.decode()
