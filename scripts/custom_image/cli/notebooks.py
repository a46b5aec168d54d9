"""Commands about the notebooks: run, copy, refresh."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from custom_image.cli.options import Format, FormatOption
from custom_image.errors import UsageError

if TYPE_CHECKING:
    from custom_image.notebooks.repetition import Repetition

app = typer.Typer(
    name="notebooks",
    help="Run the notebooks, copy them, or renew their outputs.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


IN_INSTANCE = ("image_saving", "dockerfile_build")
"""The scenarios whose notebooks can run inside a notebook instance; the first one belongs there."""
Runner = Callable[[Path, dict[str, str | int | float | bool], Path], Path]


class TakesPairs(TyperCommand):
    """A command whose ``-p name value`` is one option with two words, as papermill spells it.

    typer has no repeated option of two words, so they are joined before it sees them.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Join the two words behind each ``-p``; ``-p name=value`` stays as it is."""
        joined: list[str] = []
        words = iter(args)
        for word in words:
            joined.append(word)
            if word == "-p" and (name := next(words, None)) is not None:
                joined.append(name if "=" in name else f"{name}={next(words, '')}")
        return super().parse_args(ctx, joined)


Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="NAME", help="Such as dockerfile_build; without any, all in reading order."
    ),
]
Values = Annotated[
    list[str] | None,
    typer.Option("-p", metavar="NAME VALUE", help="Set one parameter; may be repeated."),
]
ValuesFile = Annotated[
    str,
    typer.Option(
        "--parameters",
        "-f",
        metavar="FILE",
        help="Set parameters from a YAML file: a path, or the name of one in notebooks/parameters.",
    ),
]
InInstance = Annotated[
    bool | None,
    typer.Option(
        "--in-instance/--here",
        help="Run inside a new notebook instance of the local ModelArts, or here. Without either: "
        "image_saving inside where `custom-image platform up` was run, all others here.",
    ),
]


@app.command(cls=TakesPairs)
def run(
    names: Names = None,
    values: Values = None,
    values_file: ValuesFile = "",
    output_dir: Annotated[
        Path, typer.Option(file_okay=False, help="Where the executed notebooks are kept.")
    ] = Path("build/notebooks"),
    in_instance: InInstance = None,
    again: Annotated[
        str,
        typer.Option(
            metavar="CELL:NAME=VALUE",
            help="Then run the cells from this one on once more, with another parameter.",
        ),
    ] = "",
    form: FormatOption = Format.TABLE,
) -> None:
    """Run notebooks headless, from top to bottom.

    A parameter that is misspelt, of the wrong type or used by no cell is an error, and so is a run
    that ends before the last cell. Beside each executed notebook stands a JSON file of the results;
    --format json prints all of them.

    \b
    Examples:
      custom-image notebooks run
      custom-image notebooks run dockerfile_build -p level quick -p epochs 2
      custom-image notebooks run --parameters ci
      custom-image notebooks run image_saving --in-instance
      custom-image notebooks run dockerfile_build --in-instance
      custom-image notebooks run dockerfile_build --again ship:generation=v1
    """
    from custom_image.notebooks.repetition import parse_repetition
    from custom_image.settings import enter_project

    # Paths that the user typed are relative to where the user is; all others to the project.
    chosen = _choose(names or [], values or [], values_file)
    enter_project()
    repeated = {path: parse_repetition(path, again) for path, _ in chosen if again}
    results = []
    for notebook, parameters in chosen:
        run_it = choose_runner(notebook, in_instance, repeated.get(notebook))
        executed = run_it(notebook, parameters, output_dir)
        if form is Format.TABLE:
            typer.echo(str(executed))
        else:
            found = json.loads(executed.with_suffix(".json").read_text(encoding="utf-8"))
            results.append({"executed": str(executed), **found})
    if form is Format.JSON:
        typer.echo(json.dumps(results, indent=2, ensure_ascii=False))


@app.command()
def copy(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", file_okay=False, help="Made where it is not there.")
    ],
) -> None:
    """Lay the notebooks with their parameters into a folder, to work in without a clone.

    What they make goes below build/ in that folder.

    \b
    Examples:
      custom-image notebooks copy my-notebooks
      cd my-notebooks && jupyter lab
    """
    from custom_image.notebooks.copies import copy_notebooks

    for path in copy_notebooks(folder):
        typer.echo(str(path))


@app.command()
def refresh(names: Names = None, in_instance: InInstance = None) -> None:
    """Renew the outputs that readers see.

    Runs each notebook, cleans and stamps the outputs, and writes them into the notebook itself.

    Runs with notebooks/parameters/default.yaml, so at level full: this takes minutes. Needs the
    development tools (make install).

    \b
    Examples:
      custom-image notebooks refresh
      custom-image notebooks refresh dockerfile_build
    """
    from custom_image.notebooks.outputs import refresh_outputs
    from custom_image.settings import enter_project, find_project

    find_project()  # the notebooks of a wheel are nobody's to write to
    chosen = _choose(names or [], [], "default")
    enter_project()
    for notebook, parameters in chosen:
        run_it = choose_runner(notebook, in_instance)
        typer.echo(str(refresh_outputs(str(notebook), parameters, run=run_it)))


def choose_runner(
    notebook: Path, in_instance: bool | None, again: Repetition | None = None
) -> Runner:
    """Return what runs a notebook: here, or inside an instance of the local ModelArts.

    Raises:
        UsageError: cells are to be repeated in an instance.
    """
    from custom_image.local_platform import find
    from custom_image.notebooks.run import run_notebook

    if (in_instance and notebook.stem.endswith(IN_INSTANCE)) or (
        in_instance is None and notebook.stem.endswith(IN_INSTANCE[0]) and find() is not None
    ):
        from custom_image.notebooks.in_instance import run_in_instance

        if again:
            raise UsageError("--again repeats cells here, not in an instance: add --here.")
        return run_in_instance
    return lambda path, parameters, output_dir: run_notebook(
        str(path), parameters, output_dir, again=again
    )


def _choose(
    names: list[str], values: list[str], values_file: str
) -> list[tuple[Path, dict[str, str | int | float | bool]]]:
    """Return each notebook with its parameters, all checked before the first one runs."""
    from custom_image.notebooks.parameters import (
        choose_values,
        find_notebook,
        list_notebooks,
        parse_values,
        pick_values,
        read_values,
    )

    notebooks = [find_notebook(name) for name in names] or list_notebooks()
    chosen = []
    for notebook in notebooks:
        given = pick_values(notebook, read_values(values_file)) if values_file else {}
        given |= parse_values(notebook, values)
        chosen.append((notebook.resolve(), choose_values(notebook, given)))
    return chosen
