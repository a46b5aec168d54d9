"""Options that several commands share, and how a result is printed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from custom_image.errors import CustomImageError, UsageError
from custom_image.progress import say
from custom_image.report import LAST_REPORT
from custom_image.settings import find_project

if TYPE_CHECKING:
    from custom_image.report import Report


class Format(StrEnum):
    """How a result is printed."""

    TABLE = "table"
    JSON = "json"


class Showable(Protocol):
    """A noun of the library: it shows itself, and turns into JSON."""

    def to_json(self) -> str:
        """Return the form that tools read."""
        ...


Mnist = Annotated[
    str,
    typer.Option(
        "--mnist",
        metavar="FOLDER",
        help="Folder with the four IDX files of MNIST. Without it: the cache, then public mirrors.",
    ),
]
Sample = Annotated[
    bool, typer.Option("--sample", help="Use the 6,000 + 1,000 digits that come with the project.")
]
Epochs = Annotated[
    int,
    typer.Option(
        min=0, help="Passes over the training pictures; 0: one of all of MNIST, five of the sample."
    ),
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same weights.")]
BaseImage = Annotated[
    str,
    typer.Option(
        metavar="REFERENCE",
        help="What FROM names. Without it: the variable BASE_IMAGE, else a slim Python, else one "
        "that is built here from the distribution's packages.",
    ),
]
Python = Annotated[
    str,
    typer.Option(
        metavar="VERSION",
        help="The Python of the image, 3.7 to 3.14: which base is taken, or which of its Pythons. "
        "Without it: the base's own, 3.11 where no base is named.",
    ),
]
FormatOption = Annotated[Format, typer.Option("--format", help="How to print the result.")]


def absolute(folder: str) -> str:
    """Return a path the user typed as it was meant, before the project is entered."""
    return str(Path(folder).resolve()) if folder else ""


def show(noun: object) -> None:
    """Print a noun of the library: in colour on a terminal, as plain text elsewhere."""
    if sys.stdout.isatty() and hasattr(noun, "__rich__"):
        from rich.console import Console

        Console().print(noun)
    else:
        typer.echo(str(noun))


def show_as(noun: Showable, form: Format) -> None:
    """Print a noun of the library in the wanted form."""
    if form is Format.JSON:
        typer.echo(render(noun, form), nl=False)
    else:
        show(noun)


def render(noun: Showable, form: Format) -> str:
    """Return the noun in the wanted form, with one line end behind it."""
    text = noun.to_json() if form is Format.JSON else str(noun)
    return text.rstrip("\n") + "\n"


@contextmanager
def in_turn(folder: Path) -> Iterator[None]:
    """Wait until no other process of this machine is in such a block with the same folder.

    What lies below build/ has one name for all: two builds at once would mix their files.
    """
    import fcntl  # here: there is none on Windows, where rules can be judged

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process builds in {folder.resolve()}: waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write(path: Path, text: str) -> None:
    """Write a result to a file.

    Raises:
        UsageError: it cannot be written there.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror}).") from error


def keep_last(report: Report) -> None:
    """Keep a report for the bundle of a deployment that fails; outside a checkout there is none."""
    with suppress(CustomImageError, OSError):
        path = find_project() / LAST_REPORT
        path.parent.mkdir(exist_ok=True)
        path.write_text(report.to_json(), encoding="utf-8")
