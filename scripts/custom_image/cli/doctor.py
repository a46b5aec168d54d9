"""Commands about this machine: doctor, clean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from custom_image.cli.options import Format, FormatOption, render
from custom_image.cli.server import SshConfig
from custom_image.errors import UsageError


def doctor(
    form: FormatOption = Format.TABLE,
    server: Annotated[
        str,
        typer.Option(metavar="USER@HOST", help="Look at a build server instead of this machine."),
    ] = "",
    fix: Annotated[
        bool, typer.Option("--fix", help="Install and set there what is missing, then look again.")
    ] = False,
    needs_gb: Annotated[
        float, typer.Option(min=0, help="Free disk that the build needs there; 0: for any image.")
    ] = 0,
    data_root: Annotated[
        str,
        typer.Option(
            metavar="FOLDER",
            help="With --fix: where the engine keeps images; largest: on the largest disk.",
        ),
    ] = "",
    debs: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="With --fix, for a server with no way out: the packages that "
            "`sh scripts/prepare_ecs.sh --fetch FOLDER` has fetched.",
        ),
    ] = None,
    ntp_server: Annotated[
        str, typer.Option(metavar="NAME", help="With --fix: where the clock comes from.")
    ] = "",
    ssh_config: SshConfig = "",
) -> None:
    """Say what this machine or a build server can do, and what not.

    Beside what is missing stands how to get it.

    Nothing is installed, pulled or started, unless --fix says so, on the server alone. Exits 3
    where the main job cannot be done.

    \b
    Examples:
      custom-image doctor
      custom-image doctor --format json
      custom-image doctor --server root@10.0.0.5 --needs-gb 80
      custom-image doctor --server root@10.0.0.5 --fix --data-root largest
    """
    if server:
        from custom_image.ecs.server.checks import DISK_GB
        from custom_image.ecs.server.doctor import diagnose_server, fix_server
        from custom_image.ecs.ssh.connection import Connection

        def connect() -> Connection:
            return Connection.open(server, config_file=ssh_config)

        if fix:
            with connect() as connection:
                fix_server(connection, debs=debs, data_root=data_root, ntp_server=ntp_server)
        # A new connection, because the group docker counts from the next login on.
        with connect() as connection:
            diagnosis = diagnose_server(connection, needs_gb=needs_gb or DISK_GB)
    elif fix or needs_gb or data_root or debs or ntp_server:
        raise UsageError(
            "--fix, --needs-gb, --data-root, --debs and --ntp-server go with --server."
        )
    else:
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
    from custom_image.engines.docker.engine import DockerEngine

    engine = DockerEngine.connect()
    count = engine.remove_run(run) if run else engine.remove_every_run()
    typer.echo(f"{count} container{'' if count == 1 else 's'} removed")
