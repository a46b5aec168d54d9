"""Commands over many images or many files: fleet verify, fleet batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from custom_image.cli.options import Format, FormatOption, write
from custom_image.errors import UsageError
from custom_image.progress import say

if TYPE_CHECKING:
    from custom_image.fleet.executors import Tls
    from custom_image.fleet.matrix import Row

app = typer.Typer(
    name="fleet",
    no_args_is_help=True,
    help="Judge many images, or ask one about many files, on this machine or on many.",
)
FOLDER = Path("build/fleet")

ExecutorOption = Annotated[
    str,
    typer.Option(
        metavar="tcp://HOST:8786",
        help="A Dask scheduler, whose workers each have an engine; without it: this machine.",
    ),
]
TlsCa = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="The authority, for tls://.")
]
TlsCert = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="This machine's certificate.")
]
TlsKey = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="The key of that certificate.")
]


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": False})
def verify(
    context: typer.Context,
    images: Annotated[
        str,
        typer.Argument(
            metavar="IMAGES",
            help="A file with an image a line, or an organization: registry.example.com/team/",
        ),
    ],
    executor: ExecutorOption = "",
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    output: Annotated[
        Path, typer.Option(file_okay=False, metavar="FOLDER", help="Where the matrix is kept.")
    ] = FOLDER,
    form: FormatOption = Format.TABLE,
) -> None:
    """Judge every image of a list, and show images and rules in one matrix.

    Words behind -- are handed to each `verify`. An image whose digest was judged before with the
    same words is not judged again, and a run that was broken off goes on. FOLDER holds
    matrix.html and matrix.csv; what changed since the last run stands first.

    \b
    Examples:
      custom-image fleet verify images.txt
      custom-image fleet verify images.txt -- --level full
      custom-image fleet verify registry.example.com/team/ -- --config config.json
      custom-image fleet verify images.txt --executor tcp://scheduler:8786

    Exits 0 where no rule failed, 1 where one did, 3 where an image could not be judged or the
    scheduler does not answer, 2 for wrong usage or a line that names no image.
    """
    from custom_image.fleet.executors import open_executor
    from custom_image.fleet.image_list import read_images
    from custom_image.fleet.page import to_page
    from custom_image.fleet.verification import judge_images

    found = read_images(images)
    for line in found.bad_lines:
        say(f"{found.source}, {line}")
    total, done = len(found.images), 0

    def told(row: Row) -> None:
        nonlocal done
        done += 1
        how = f"{row.seconds:.1f} s on {row.host}" if row.judged else "known by its digest"
        say(f"[{done}/{total}] {row.verdict} {row.image} ({how})")

    tls = _tls(tls_ca, tls_cert, tls_key)
    with open_executor(executor, tls=tls) as units:
        matrix = judge_images(found.images, context.args, units, output, told=told)
    matrix = replace(matrix, bad_lines=found.bad_lines)
    write(output / "matrix.html", to_page(matrix))
    write(output / "matrix.csv", matrix.to_csv())
    typer.echo((matrix.to_json() if form is Format.JSON else str(matrix)).rstrip("\n"))
    say(f"the matrix is in {output / 'matrix.html'} and {output / 'matrix.csv'}")
    raise typer.Exit(matrix.exit_code)


def _tls(ca: Path | None, certificate: Path | None, key: Path | None) -> Tls | None:
    from custom_image.fleet.executors import Tls

    if ca and certificate and key:
        return Tls(ca.resolve(), certificate.resolve(), key.resolve())
    if ca or certificate or key:
        raise UsageError("--tls-ca, --tls-cert and --tls-key belong together; name all three.")
    return None
