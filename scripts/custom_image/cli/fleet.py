"""Commands over many images, folders, notebooks or files: fleet verify, build, notebooks, batch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from custom_image.cli.options import Format, FormatOption, show_as, write
from custom_image.errors import UsageError
from custom_image.image_reference import ImageReference
from custom_image.progress import say

if TYPE_CHECKING:
    from custom_image.fleet.executors import Tls
    from custom_image.fleet.matrix import Row
    from custom_image.fleet.task_list import Tasks
    from custom_image.fleet.tasks import TaskResult

app = typer.Typer(
    name="fleet",
    no_args_is_help=True,
    help="Judge, build or run what a list names, here or on many machines.",
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
    show_as(matrix, form)
    say(f"the matrix is in {output / 'matrix.html'} and {output / 'matrix.csv'}")
    raise typer.Exit(matrix.exit_code)


def _tls(ca: Path | None, certificate: Path | None, key: Path | None) -> Tls | None:
    from custom_image.fleet.executors import Tls

    if ca and certificate and key:
        return Tls(ca.resolve(), certificate.resolve(), key.resolve())
    if ca or certificate or key:
        raise UsageError("--tls-ca, --tls-cert and --tls-key belong together; name all three.")
    return None


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": False})
def build(
    context: typer.Context,
    folders: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDERS",
            help="A file with a folder a line, and the name of its image behind it; without a name "
            "the image is called as the folder is.",
        ),
    ],
    executor: ExecutorOption = "",
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    output: Annotated[
        Path, typer.Option(file_okay=False, metavar="FOLDER", help="Where outcomes are kept.")
    ] = Path("build/fleet-build"),
    form: FormatOption = Format.TABLE,
) -> None:
    """Build an image of every folder of a list.

    A folder is a package, as `build --package` takes it; one with a Dockerfile and without
    customize_service.py is a context, as `build --context` takes it. It is relative to the list,
    and lies at the same path for every worker. Words behind -- are handed to each `build`. An image
    stays in the engine of the worker that built it, and is not built again while folder, words and
    this tool's version are the same and that engine has it.

    \b
    Examples:
      custom-image fleet build folders.txt
      custom-image fleet build folders.txt -- --relax --python 3.11
      custom-image fleet build /shared/folders.txt --executor tcp://scheduler:8786

    Exits 0 where all were built, 1 where a build failed, 3 where an engine or the scheduler does
    not answer, 2 for wrong usage or a line that names no folder.
    """
    from custom_image.fleet.task_list import read_builds

    tls = _tls(tls_ca, tls_cert, tls_key)
    _run(read_builds(folders, context.args), executor, tls, output, form)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": False})
def notebooks(
    context: typer.Context,
    listed: Annotated[
        Path,
        typer.Argument(
            metavar="NOTEBOOKS",
            help="A file with a notebook a line, its name or path, and NAME=VALUE behind it for "
            "each parameter that is set.",
        ),
    ],
    executor: ExecutorOption = "",
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    output: Annotated[
        Path,
        typer.Option(
            file_okay=False, metavar="FOLDER", help="Where the executed notebooks are kept."
        ),
    ] = Path("build/fleet-notebooks"),
    form: FormatOption = Format.TABLE,
) -> None:
    """Run every notebook of a list headless, one line one run.

    A path is relative to the list. FOLDER, which every worker sees at the same path, gets a folder
    for each line. Words behind -- are handed to each `notebooks run`. A line is not run again while
    notebook, words and this tool's version are the same and its result is there.

    \b
    Examples:
      custom-image fleet notebooks notebooks.txt
      custom-image fleet notebooks notebooks.txt -- --parameters ci
      custom-image fleet notebooks notebooks.txt --output /shared/runs --executor tcp://scheduler:8786

    Exits 0 where all ran, 1 where one failed, 3 where an engine or the scheduler does not answer,
    2 for wrong usage or a line that names no notebook.
    """
    from custom_image.fleet.task_list import read_notebooks

    tls = _tls(tls_ca, tls_cert, tls_key)
    _run(read_notebooks(listed, output, context.args), executor, tls, output, form)


def _run(found: Tasks, executor: str, tls: Tls | None, output: Path, form: Format) -> None:
    """Run the tasks of a list, print what became of them, and end with their exit code."""
    from custom_image.fleet.executors import open_executor
    from custom_image.fleet.tasks import run_tasks

    tasks, bad_lines = found
    for line in bad_lines:
        say(str(line))
    done = 0

    def told(result: TaskResult) -> None:
        nonlocal done
        done += 1
        how = f"{result.seconds:.1f} s on {result.host}" if result.ran else "done before"
        say(f"[{done}/{len(tasks)}] {result.state} {result.name} ({how})")

    with open_executor(executor, tls=tls) as units:
        results = run_tasks(tasks, units, output, told=told)
    results = replace(results, bad_lines=bad_lines)
    show_as(results, form)
    raise typer.Exit(results.exit_code)


@app.command()
def batch(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="Asked on every worker.")],
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", exists=True, help="A folder of files, or a .manifest."),
    ],
    destination: Annotated[
        Path, typer.Option("--to", file_okay=False, help="Where results and manifest are written.")
    ] = Path("build/fleet-batch"),
    shards: Annotated[int, typer.Option(min=1, help="Into how many parts it is cut.")] = 1,
    config: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="config.json, where the image holds none."),
    ] = None,
    executor: ExecutorOption = "",
    tls_ca: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Ask an image about every file, in shards.

    Each shard starts the image where it runs. Files and results have to lie in folders that every
    worker sees at the same path. The manifest is the same for any number of shards. Exits 1 where a
    file got no answer.

    \b
    Examples:
      custom-image fleet batch mnist:1 digits/
      custom-image fleet batch mnist:1 /shared/digits --to /shared/results --shards 8 \\
        --executor tcp://scheduler:8786
    """
    from custom_image.fleet.batch import list_files, run_batch
    from custom_image.fleet.executors import open_executor
    from custom_image.fleet.unit import Outcome

    def told(number: int, outcome: Outcome) -> None:
        how = outcome.error or f"{outcome.seconds:.1f} s on {outcome.host}"
        say(f"shard {number + 1} of {shards}: {how}")

    files = list_files(source)
    ImageReference.parse(image)
    options = ("--config", str(config.resolve())) if config else ()
    with open_executor(executor, tls=_tls(tls_ca, tls_cert, tls_key)) as units:
        done = run_batch(
            image, files, destination, units, shards=shards, options=options, told=told
        )
    show_as(done, form)
    if done.answered < done.total:
        raise typer.Exit(1)


@app.command()
def shard(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="Of the engine here.")],
    inputs: Annotated[
        Path, typer.Argument(metavar="MANIFEST", exists=True, dir_okay=False, help="All files.")
    ],
    results: Annotated[
        Path, typer.Argument(metavar="FOLDER", exists=True, file_okay=False, help="Of answers.")
    ],
    share: Annotated[str, typer.Argument(metavar="NUMBER/SHARDS", help="Such as 0/8.")],
    config: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="config.json, where the image holds none."),
    ] = None,
) -> None:
    """Ask an image about one share of a manifest; what `fleet batch` runs on each worker.

    Prints the lines of the output manifest as JSON, by the number of the file.
    """
    from custom_image.cli.ship import config_of
    from custom_image.fleet.batch import run_shard
    from custom_image.model_config import read_model_config

    declared = read_model_config(config) if config else config_of(image)
    typer.echo(json.dumps(run_shard(image, inputs, results, share, declared)))
