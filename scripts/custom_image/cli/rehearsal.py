"""The command that rehearses upgrades."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from custom_image.cli.options import show
from custom_image.cli.ship import Config, Generation, config_of, enter, read_config
from custom_image.extras import explain
from custom_image.progress import say

if TYPE_CHECKING:
    from custom_image.rehearsal.result import Rehearsal


def rehearse(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="An image of the Docker engine.")],
    config: Config = None,
    upgrades: Annotated[int, typer.Option(min=1, help="A to B is one, B to A the next.")] = 2,
    speed: Annotated[
        int, typer.Option(min=1, help="How many times shorter all waits are; 1: the true ones.")
    ] = 20,
    control: Annotated[
        bool, typer.Option(help="Also upgrade without a drain, which must lose something.")
    ] = True,
    generation: Generation = "",
    stop_command: Annotated[
        str, typer.Option(help="Of v2: run in the container before SIGTERM.")
    ] = "",
    manifest: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="What `export kubernetes` wrote: its probes, grace, stop command and surge hold.",
        ),
    ] = None,
    picture: Annotated[
        Path, typer.Option(dir_okay=False, metavar="PNG", help="Where the timeline is drawn.")
    ] = Path("build/rehearsal.png"),
) -> None:
    """Rehearse an upgrade that loses no request.

    On a local ModelArts of its own, a service is upgraded from A to B and back under 50 requests a
    second, and every request is accounted for. Then the same image is upgraded with neither a drain
    nor the stop command: that must lose some, or the rehearsal proves nothing. Exits 1 unless it is
    proved.

    \b
    Examples:
      custom-image rehearse dockerfile_build:latest
      custom-image rehearse dockerfile_build:latest --speed 1
      custom-image rehearse dockerfile_build:latest --generation v1
      custom-image rehearse theirs:latest --config config.json --stop-command "sleep 4"
      custom-image rehearse dockerfile_build:latest --manifest mnist.yaml
    """
    from custom_image import local_platform
    from custom_image.cloud import open_cloud
    from custom_image.kubernetes.rollout import Rollout
    from custom_image.model_config import read_model_config
    from custom_image.rehearsal.run import platform_settings
    from custom_image.rehearsal.run import rehearse as run

    named = read_config(config).resolve() if config else None
    rollout = Rollout.read(manifest) if manifest else None
    (picture,) = enter(picture)
    wanted = read_model_config(named) if named else config_of(image)
    update: dict[str, Any] = {"stop_command": stop_command}
    if rollout:
        wanted = rollout.applied_to(wanted)
        update = {
            "stop_command": stop_command or rollout.stop_command,
            "grace_s": rollout.grace_s,
            "surge": rollout.surge,
            "unavailable": rollout.unavailable,
        }
    folder = Path(f"build/rehearsal-{speed}")
    local_platform.start(folder, [], platform_settings(speed))
    try:
        cloud = open_cloud("local", folder=folder)
        found = run(
            image,
            wanted,
            cloud=cloud,
            speed=speed,
            upgrades=upgrades,
            control=control,
            generation=generation,
            **update,
        )
    finally:
        local_platform.stop(folder, purge=True)
    show(found)
    _draw(found, picture)
    if not found.is_proved:
        raise typer.Exit(1)


def _draw(found: Rehearsal, picture: Path) -> None:
    try:
        from custom_image.plots import Picture, plot_upgrade_timeline
    except ModuleNotFoundError as error:
        say(f"the timeline is not drawn: {explain(error) or error}")
        return
    drawn = plot_upgrade_timeline(found)
    assert isinstance(drawn, Picture)  # another noun stands for what was not rehearsed
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_bytes(drawn._repr_png_())
    say(f"the timeline is drawn in {picture}")
