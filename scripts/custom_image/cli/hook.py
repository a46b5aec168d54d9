"""Command hook: what pre-commit runs on the files of a commit."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from custom_image.cli.options import show


def hook(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", exists=True, help="config.json, Dockerfile, run.sh ..."),
    ],
) -> None:
    """Judge the folders of some files, at level static.

    For pre-commit, whose hooks get the files of a commit: a folder that several of them are in is
    judged once. Nothing is started and nothing is written.

    \b
    Examples:
      custom-image hook my/model/config.json my/image/Dockerfile

    Exits 0 where no rule failed, 1 where one did.
    """
    from custom_image.report import Verdict
    from custom_image.verification import verify
    from custom_image.verification.progress import Silence

    failed = False
    for folder in dict.fromkeys(file.parent for file in files):
        report = verify(folder, level="static", progress=Silence())
        show(report)
        failed |= report.verdict is Verdict.FAILED
    raise typer.Exit(1 if failed else 0)
