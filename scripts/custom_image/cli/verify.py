"""Command verify: an image, a folder or a service, judged by the rules."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from custom_image.cli import server as build_server
from custom_image.cli.options import keep_last, show, write
from custom_image.errors import UsageError
from custom_image.report.formats import ReportFormat
from custom_image.specification import HUAWEICLOUD, PORT

if TYPE_CHECKING:
    from custom_image.rules.overrides import Overrides


def verify(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="An image reference, a folder with a build context or a model package, or the URL "
            "of a running service.",
        ),
    ],
    config: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="The config.json, where the target holds none."
        ),
    ] = None,
    profile: Annotated[
        str, typer.Option(help="The kind of deployment to judge for; the edition's own if empty.")
    ] = "",
    level: Annotated[
        str,
        typer.Option(
            help="static: read only, nothing is started. quick: short waits; rules about a "
            "duration then say NOT CHECKED. full: the platform's own 60, 90 and 200 seconds."
        ),
    ] = "quick",
    port: Annotated[
        int, typer.Option(help="The container port that the model declares.")
    ] = PORT.value,
    command: Annotated[
        str,
        typer.Option(
            metavar='"WORDS"',
            help="Started instead of the image's own, as by the start command of the model's form: "
            "an image saved out of a notebook instance starts JupyterLab by default.",
        ),
    ] = "",
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env",
            "-e",
            metavar="NAME=VALUE",
            help="A variable of the service; NAME alone: as here.",
        ),
    ] = None,
    volume: Annotated[
        list[str] | None,
        typer.Option(
            "--volume",
            "-v",
            metavar="FOLDER:PATH[:rw]",
            help="Mounted weights; read-only without :rw.",
        ),
    ] = None,
    memory: Annotated[str, typer.Option(help="The memory of the flavor, such as 8g.")] = "",
    cpus: Annotated[float, typer.Option(help="The CPUs of the flavor, such as 2.")] = 0,
    shm_size: Annotated[str, typer.Option(help="The size of /dev/shm; 64m if not given.")] = "",
    gpus: Annotated[
        str, typer.Option(help="GPUs of this machine: all, a number, device=0,1.")
    ] = "",
    device: Annotated[
        list[str] | None, typer.Option(metavar="PATH", help="A device, such as /dev/davinci0.")
    ] = None,
    network: Annotated[str, typer.Option(metavar="none", help="Without any network.")] = "",
    stop_command: Annotated[
        str,
        typer.Option(
            metavar='"WORDS"', help="The stop command of Inference 2.0, run before SIGTERM."
        ),
    ] = "",
    grace: Annotated[
        float, typer.Option(metavar="SECONDS", help="From the stop command to SIGKILL.")
    ] = 90,
    apis: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="A file with the array apis, where there is no config.json.",
        ),
    ] = None,
    server: build_server.Server = "",
    ssh_config: build_server.SshConfig = "",
    edition: Annotated[
        str, typer.Option(help="Whose limits hold: huaweicloud, classic or otc.")
    ] = HUAWEICLOUD.name,
    severity: Annotated[
        list[str] | None,
        typer.Option(metavar="RULE=error|warning|note", help="Hold a rule to be more or less bad."),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar="RULE=NUMBER", help="Hold a rule to another number, in its unit."),
    ] = None,
    waive: Annotated[
        list[str] | None,
        typer.Option(metavar='"RULE=REASON"', help="Accept that a rule is broken, and say why."),
    ] = None,
    samples: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            help="Requests with the answers you expect: a YAML file, or a folder with pairs such "
            "as seven.jpg and seven.expected.json.",
        ),
    ] = None,
    rules_file: Annotated[
        Path | None,
        typer.Option(
            "--rules",
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="The same three in YAML; the command line holds where both speak.",
        ),
    ] = None,
    form: Annotated[
        ReportFormat | None,
        typer.Option("--format", help="How to print the report, or to write it; default: table."),
    ] = None,
    output: Annotated[
        list[Path] | None,
        typer.Option(
            dir_okay=False,
            metavar="FILE",
            help="Write the report to a file, and print the table; may be repeated. Without "
            "--format its name decides: .json, .xml (JUnit), .sarif, .html, .md, else a table.",
        ),
    ] = None,
    compare: Annotated[
        str,
        typer.Option(
            metavar="TARGET",
            help="Put TARGET beside this one instead, the same requests sent to both: answers, "
            "schema, latency, memory, size, packages. No rule is judged.",
        ),
    ] = "",
    budget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER[%]",
            help="With --compare: how much worse the judged one may be, such as latency=10%, "
            "size=50MB or answers=0; may be repeated. Exits 1 where one is exceeded.",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="List every rule, also those that passed.")
    ] = False,
) -> None:
    """Judge any image by the platform's rules.

    Also one that was not made here, a folder before anything is built, or a running service.

    \b
    Examples:
      custom-image verify dockerfile_build:latest
      custom-image verify registry.example.com/team/model:2 --config config.json --level full
      custom-image verify http://127.0.0.1:8080 --config config.json
      custom-image verify build/model_package/model --level static --format json
      custom-image verify mnist:1 --server root@10.0.0.5
      custom-image verify saved:1 --command "sh /home/ma-user/infer/run.sh"
      custom-image verify llm:3 --volume /mnt/weights:/weights --env WEIGHTS_PATH=/weights
      custom-image verify mnist:1 --output report.xml --output report.sarif
      custom-image verify mnist:2 --compare mnist:1 --budget latency=10% --budget answers=0
      custom-image verify mnist:1 --limit image.size=20 --waive "user.root=needs port 80, OPS-7"

    Exits 0 where no rule failed, 1 where one did, 2 for wrong usage, 3 where the engine does not
    answer or nothing at all could be checked. What could not be checked says so and is no failure;
    nor is a warning, or a rule that is waived.
    """
    from custom_image.engines.options import parse_options
    from custom_image.report import Verdict
    from custom_image.report.formats import format_of, to_format
    from custom_image.report.terminal import InFull
    from custom_image.verification import verify as judge

    options: dict[str, Any] = {
        "config": config,
        "profile": profile,
        "level": level,
        "port": port,
        "edition": edition,
        "overrides": _overrides(rules_file, severity, limit, waive),
        "samples": samples,
        "command": command,
        "apis": apis,
        "stop_command": stop_command,
        "grace_s": grace,
        "start_options": parse_options(
            env=env or (),
            volume=volume or (),
            memory=memory,
            cpus=cpus,
            shm_size=shm_size,
            gpus=gpus,
            device=device or (),
            network=network,
            is_here=not server,
        ),
    }
    if compare or budget:
        if not compare or server:
            raise UsageError(
                "--budget needs --compare TARGET."
                if not compare
                else "--compare starts both on this machine; leave --server out."
            )
        names = ("config", "samples", "apis", "start_options", "command", "port")
        _compare(target, compare, budget or (), form, output or (), {n: options[n] for n in names})
    if server:
        report = build_server.verify(target, server, ssh_config, **options)
    else:
        report = judge(target, **options)
    keep_last(report)
    for path in output or ():
        write(path, to_format(report, form or format_of(path.name)))
    if output or form in (None, ReportFormat.TABLE):
        show(InFull(report) if everything else report)
    else:
        typer.echo(to_format(report, form or ReportFormat.TABLE), nl=False)
    raise typer.Exit({Verdict.FAILED: 1, Verdict.NOT_CHECKED: 3}.get(report.verdict, 0))


def _compare(
    target: str,
    baseline: str,
    budgets: Sequence[str],
    form: ReportFormat | None,
    output: Sequence[Path],
    options: dict[str, Any],
) -> NoReturn:
    from custom_image.report.comparison_forms import to_form
    from custom_image.report.formats import format_of
    from custom_image.verification.comparison import compare

    comparison = compare(target, baseline, budgets=budgets, **options)
    for path in output:
        write(path, to_form(comparison, form or format_of(path.name)))
    if output or form in (None, ReportFormat.TABLE):
        show(comparison)
    else:
        typer.echo(to_form(comparison, form or ReportFormat.TABLE), nl=False)
    raise typer.Exit(1 if comparison.exceeded else 0)


def _overrides(
    rules_file: Path | None,
    severity: list[str] | None,
    limit: list[str] | None,
    waive: list[str] | None,
) -> Overrides:
    from custom_image.rules.overrides import Overrides

    given = Overrides.parse(severity or (), limit or (), waive or ())
    return (Overrides.read(rules_file) if rules_file else Overrides()) | given
