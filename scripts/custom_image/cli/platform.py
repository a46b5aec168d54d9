"""Commands about the local ModelArts: up, down, status."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from custom_image.cli.options import Format, FormatOption, render

app = typer.Typer(
    name="platform",
    help="Start, find and stop the local ModelArts.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Folder = Annotated[
    Path, typer.Option(metavar="FOLDER", help="Where it keeps its state; one platform a folder.")
]
_FOLDER = Path("build/platform")


@app.command()
def up(
    folder: Folder = _FOLDER,
    preset: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IMAGE",
            help="An image of the Docker engine that it offers as a preset image; may be repeated. "
            "docker/preset, or docker/preset[torch], is the stand-in, made where it is missing.",
        ),
    ] = None,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A limit in place of the platform's, to rehearse its failure on a small image; "
            "may be repeated.",
        ),
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Start the local ModelArts, or say where it runs.

    What ran when it was killed goes on. It listens on loopback and on the gateway of its own Docker
    network.

    \b
    Examples:
      custom-image platform up
      custom-image platform up --preset docker/preset
      custom-image platform up --set save_size_bytes=1000000
    """
    from custom_image import local_platform
    from custom_image.settings import enter_project

    enter_project()
    presets = [_made(image) for image in preset or []]
    running = local_platform.start(folder, presets, setting or [])
    typer.echo(render(running, form), nl=False)


@app.command()
def down(
    folder: Folder = _FOLDER,
    purge: Annotated[
        bool, typer.Option("--purge", help="Also remove its images, volumes, network and state.")
    ] = False,
) -> None:
    """Stop the local ModelArts; its instances stop as on the platform and keep their work.

    \b
    Examples:
      custom-image platform down
      custom-image platform down --purge
    """
    from custom_image import local_platform
    from custom_image.settings import enter_project

    enter_project()
    ran = local_platform.stop(folder, purge=purge)
    typer.echo("stopped" if ran else "it was not running")


@app.command()
def status(folder: Folder = _FOLDER, form: FormatOption = Format.TABLE) -> None:
    """Say where the local ModelArts runs; exits 3 where it does not.

    \b
    Examples:
      custom-image platform status
      custom-image platform status --format json
    """
    from custom_image import local_platform
    from custom_image.settings import enter_project

    enter_project()
    running = local_platform.find(folder)
    if running:
        typer.echo(render(running, form), nl=False)
        return
    none = '{"running": false}' if form is Format.JSON else "it is not running"
    typer.echo(none)
    raise typer.Exit(3)


def _made(image: str) -> str:
    """Return the name of a preset image, after making the stand-in where it is meant."""
    from custom_image.builders import preset

    if image not in (preset.FOLDER, preset.TORCH):
        return image
    from custom_image.engines.docker.engine import DockerEngine

    return preset.ensure_preset_image(DockerEngine.connect(), torch=image == preset.TORCH)
