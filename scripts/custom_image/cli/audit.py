"""Command audit: what a save of a notebook instance would carry along, and what it would lose."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from custom_image.cli.options import Format, FormatOption, show
from custom_image.errors import UsageError


def audit(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER",
            help="A home directory; without it that of this notebook instance, or what stands in "
            "for it below build/.",
        ),
    ] = None,
    fix: Annotated[
        bool,
        typer.Option(
            "--fix",
            help="Remove what is made again by itself: caches of pip and the like, copies that "
            "JupyterLab makes, histories of shells. Never weights, never your own files.",
        ),
    ] = False,
    keep: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="Leave this out, and never remove it; may be repeated."),
    ] = None,
    lock: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The requirements that its Python should have; without it those of the serving "
            "runtime.",
        ),
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Look through a notebook instance before its image is saved.

    Finds what the image would carry along: caches, files over 10 MB, .git, .ssh, keys and tokens,
    histories, checkpoints, packages that differ from the lock, too many layers. And what it would
    lose: weights below work and /cache, which are mounted.

    \b
    Examples:
      custom-image audit
      custom-image audit --fix
      custom-image audit /home/ma-user --keep /home/ma-user/.cache/pip --format json

    Exits 0 where nothing is found or all of it was removed, 1 where something stands. What could
    not be looked at says NOT CHECKED.
    """
    from custom_image.audit import audit_folder
    from custom_image.image_saving import audit_instance, open_instance
    from custom_image.settings import enter_project

    if folder and lock:
        raise UsageError(
            "--lock is about the Python of this notebook instance, and another folder is named.\n"
            "Leave out one of the two."
        )
    # Paths that the user typed are relative to where the user is; all others to the project.
    kept = [path.absolute() for path in keep or ()]
    if folder:
        found = audit_folder(folder, keep=kept, fix=fix)
    else:
        locked = lock.absolute() if lock else None
        enter_project()
        found = audit_instance(open_instance(), keep=kept, lock=locked, fix=fix)
    if form is Format.JSON:
        typer.echo(found.to_json())
    else:
        show(found)
    raise typer.Exit(1 if found.open else 0)
