"""Commands about jobs on a build server: follow, cancel."""

from __future__ import annotations

from typing import Annotated

import typer

from custom_image.cli import server as build_server
from custom_image.cli.options import absolute, show
from custom_image.settings import enter_project

JobId = Annotated[
    str, typer.Argument(metavar="JOB", help="Its id, as `build` and `push` printed it.")
]

app = typer.Typer(
    name="jobs",
    no_args_is_help=True,
    help="Follow or cancel what runs on a build server, also when a connection breaks off.",
)


@app.command()
def follow(
    job: JobId,
    server: build_server.Server = "",
    ssh_config: build_server.SshConfig = "",
) -> None:
    """Go on with a job: its log from the first line, then its result.

    \b
    Example:
      custom-image jobs follow 20260131-235959-4f2a --server root@10.0.0.5
    """
    from custom_image import ecs

    ssh_config = absolute(ssh_config)
    enter_project()
    with build_server.connected(server, ssh_config) as there:
        if "reference" in ecs.Job.attach(there.connection, job).note():
            build_server.keep_push(ecs.attach_push(there, job))
        else:
            show(ecs.attach(there, job))


@app.command()
def cancel(
    job: JobId,
    server: build_server.Server = "",
    ssh_config: build_server.SshConfig = "",
) -> None:
    """End a job, and wait until it has tidied up.

    \b
    Example:
      custom-image jobs cancel 20260131-235959-4f2a --server root@10.0.0.5
    """
    from custom_image import ecs

    with build_server.connected(server, ssh_config) as there:
        ecs.Job.attach(there.connection, job).cancel()
