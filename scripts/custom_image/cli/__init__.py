"""The command line ``custom-image``: a thin skin, one verb of the library a command.

Heavy imports stand inside the commands, so that ``--help`` is instant. A command prints its result
on standard output; progress and errors go to standard error.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from custom_image import __version__
from custom_image.cli import (
    audit,
    build,
    demo,
    doctor,
    export,
    fleet,
    hook,
    jobs,
    migrate,
    notebooks,
    package,
    platform,
    predict,
    rehearsal,
    rules,
    ship,
    verify,
)
from custom_image.errors import CustomImageError
from custom_image.progress import say

app = typer.Typer(
    name="custom-image",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for command in (
    doctor.doctor,
    demo.demo,
    package.train,
    package.package,
    build.build,
    ship.push,
    ship.publish,
    ship.deploy,
    predict.predict,
    predict.batch,
    ship.delete,
    migrate.migrate,
    rehearsal.rehearse,
    verify.verify,
    rules.rules,
    audit.audit,
    hook.hook,
):
    app.command()(command)
app.add_typer(notebooks.app)
app.add_typer(platform.app)
app.add_typer(jobs.app)
app.add_typer(fleet.app)
app.add_typer(export.app)
app.command()(doctor.clean)


def main() -> None:
    """Run the command line; the entry point of ``custom-image``."""
    arguments = sys.argv[1:]
    debug = "--debug" in arguments  # accepted anywhere: people add it behind what just failed
    try:
        app([argument for argument in arguments if argument != "--debug"])
    except CustomImageError as error:
        if debug:
            raise
        say(f"Error: {error}")
        sys.exit(error.exit_code)
    except Exception as error:
        if debug:
            raise
        if missing := _missing_extra(error):
            say(f"Error: {missing}")
            sys.exit(missing.exit_code)
        say(
            f"Error: {type(error).__name__}: {error}\n"
            "This is a bug in custom-image. Run the command again with --debug to see where it "
            "happened, and please report it with that output."
        )
        sys.exit(1)


def _missing_extra(error: Exception) -> CustomImageError | None:
    from custom_image.extras import explain  # here: `--help` looks through no metadata

    return explain(error) if isinstance(error, ModuleNotFoundError) else None


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"custom-image {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; works with each verb.")
    ] = False,
) -> None:
    """Author a ModelArts custom image and prove that it obeys the platform before you upload it.

    \b
    See what this machine can do, then watch the whole build once:
      custom-image doctor
      custom-image demo

    \b
    Or go step by step; each step finds what the one before it left below build/:
      custom-image train
      custom-image package
      custom-image build dockerfile_build
      custom-image verify dockerfile_build:latest

    \b
    Then ship it, to the local ModelArts first; --dry-run shows what would be sent to the cloud:
      custom-image platform up
      custom-image push dockerfile_build:latest --to my-org/mnist:1.0.0
      custom-image publish my-org/mnist:1.0.0
      custom-image deploy mnist

    Exit codes: 0 all is well, 1 a rule or a step failed, 2 wrong usage, 3 an engine, a registry or
    an API does not answer.
    """
