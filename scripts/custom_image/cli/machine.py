"""Commands about this machine: doctor, clean."""

from __future__ import annotations

from typing import Annotated

import typer

from custom_image.cli.options import Format, FormatOption, render


def doctor(form: FormatOption = Format.TABLE) -> None:
    """Say what this machine can do, and what not.

    Beside what is missing stands how to get it.

    Nothing is installed, pulled or started. Exits 3 where the main job cannot be done here.

    \b
    Examples:
      custom-image doctor
      custom-image doctor --format json
    """
    from custom_image.doctor import diagnose

    diagnosis = diagnose()
    typer.echo(render(diagnosis, form), nl=False)
    if not diagnosis.is_able:
        raise typer.Exit(3)


def clean(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Only those of one run, by its id.")
    ] = "",
) -> None:
    """Remove containers of interrupted runs.

    They are found by their label custom-image.run.

    Without a run id that is every run, also one that is still going on. Images and build/ stay.

    \b
    Examples:
      custom-image clean
      custom-image clean 3f2a9c0d1b7e
    """
    from custom_image.engines.docker import DockerEngine

    engine = DockerEngine.connect()
    count = engine.remove_run(run) if run else engine.remove_every_run()
    typer.echo(f"{count} container{'' if count == 1 else 's'} removed")
