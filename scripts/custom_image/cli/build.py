"""Command build: a model package, or a Dockerfile of one's own, into an image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from custom_image.cli import server as build_server
from custom_image.cli.options import (
    BaseImage,
    Epochs,
    Format,
    FormatOption,
    Mnist,
    Python,
    Sample,
    Seed,
    absolute,
    in_turn,
    show_as,
)
from custom_image.cli.package import Engine, Runtime, Strict, adopt, package_example, refuse_both
from custom_image.errors import UsageError
from custom_image.progress import say
from custom_image.settings import enter_project

if TYPE_CHECKING:
    from custom_image.adoption.wheels import PackageWheels
    from custom_image.build_context import BuildContext
    from custom_image.target_python import TargetPython


Batch = Annotated[
    bool, typer.Option("--batch", help="Add what batch services need: a headless JRE and zip.")
]


OwnContext = Annotated[
    Path | None,
    typer.Option(
        "--context",
        metavar="DIR",
        help="Build a Dockerfile of your own: DIR, without what its .dockerignore names.",
    ),
]
OwnDockerfile = Annotated[
    Path | None,
    typer.Option(
        "--dockerfile",
        metavar="FILE",
        help="Of your own: for DIR, or without --context for the files that are put together here.",
    ),
]
Network = Annotated[
    bool, typer.Option("--network", help="With --context: RUN steps may reach the network.")
]
WithSecrets = Annotated[
    bool,
    typer.Option(
        "--with-secrets", help="With --context: send files although they look like secrets."
    ),
]


def build(
    command: typer.Context,
    scenario: Annotated[
        str,
        typer.Argument(
            metavar="SCENARIO", help="How to make it: dockerfile_build, or ecs_build on a server."
        ),
    ],
    batch: Batch = False,
    base_image: BaseImage = "",
    python: Python = "",
    tag: Annotated[
        str, typer.Option(metavar="REFERENCE", help="Name of the image; SCENARIO:latest if empty.")
    ] = "",
    package: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="A package of your own, as `custom-image package` takes it. Without it the "
            "example is trained and packaged.",
        ),
    ] = None,
    strict: Strict = False,
    relax: Annotated[
        bool,
        typer.Option(
            "--relax",
            help="Where a version that the package asks for has no wheel for the base's Python, "
            "take the nearest one that has.",
        ),
    ] = False,
    requirements: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What its code imports beyond the engine's packages: a requirement of pip a line.",
        ),
    ] = None,
    own: OwnContext = None,
    dockerfile: OwnDockerfile = None,
    network: Network = False,
    with_secrets: WithSecrets = False,
    mnist: Mnist = "",
    sample: Sample = False,
    epochs: Epochs = 0,
    seed: Seed = 7,
    runtime: Runtime = Engine.ONNX,
    server: build_server.Server = "",
    ssh_config: build_server.SshConfig = "",
    builder: build_server.Builder = "auto",
    form: FormatOption = Format.TABLE,
) -> None:
    """Build the image, without a network.

    Its context is written below build/ first: model package, server, and Python packages as wheels.
    With --context it is a copy of that folder, and its Dockerfile says what becomes of it.

    \b
    Examples:
      custom-image build dockerfile_build
      custom-image build dockerfile_build --batch --tag mnist-batch:1
      custom-image build dockerfile_build --base-image registry.example.com/python:3.11
      custom-image build dockerfile_build --package my/model --relax
      custom-image build dockerfile_build --package my/model --python 3.8
      custom-image build dockerfile_build --runtime torch
      custom-image build dockerfile_build --package my/model --requirements my/requirements.txt
      custom-image build dockerfile_build --context my/image --tag mine:1
      custom-image build ecs_build --context my/image --network --server root@10.0.0.5
      custom-image build ecs_build --server root@10.0.0.5 --tag mnist:1
    """
    from custom_image.adoption.wheels import fetch_wheels
    from custom_image.build_context import write_build_context
    from custom_image.builders import build as build_image
    from custom_image.builders import find_base
    from custom_image.dockerfile_context import write_dockerfile_context
    from custom_image.engines import open_engine
    from custom_image.scenarios import find_scenario
    from custom_image.wheelhouse import read_requirements

    find_scenario(scenario)
    if package:
        refuse_both(mnist, sample, epochs, runtime)
    _check_own(
        own,
        for_own={"--network": network, "--with-secrets": with_secrets},
        for_ours={
            "--package": package,
            "--relax": relax,
            "--requirements": requirements,
            "--python": python,
            "--batch": batch,
            "--strict": strict,
            "--mnist": mnist,
            "--sample": sample,
        },
    )
    own = own.resolve() if own else None
    dockerfile = dockerfile.resolve() if dockerfile else None
    mnist, ssh_config = absolute(mnist), absolute(ssh_config)
    more = requirements.resolve() if requirements else None
    package = package.resolve() if package else None
    enter_project()
    command.with_resource(in_turn(Path("build") / scenario))
    tag = tag or f"{scenario}:latest"
    if own:
        context = write_dockerfile_context(
            *(own, dockerfile),
            scenario=scenario,
            base_image=base_image,
            network=network,
            with_secrets=with_secrets,
        )
        _build_own(context, tag, server, ssh_config, builder, form)
        return
    if not package:
        from custom_image import training  # noqa: F401 - what it lacks is said before a base is made
    given = adopt(package, strict) if package else None

    def fetch(target: TargetPython) -> PackageWheels | None:
        if given is None:
            return None
        wheels = fetch_wheels(
            given,
            python=target,
            relax=relax,
            more=read_requirements(more) if more else (),
            command=f"custom-image build {scenario} --package {given.source}",
        )
        say(str(wheels))
        return wheels

    def write_context(
        base: str, target: TargetPython, wheels: PackageWheels | None
    ) -> BuildContext:
        return write_build_context(
            given or package_example(mnist, sample, epochs, seed, runtime)[1],
            scenario,
            base_image=base,
            batch=batch,
            python=target,
            more=None if wheels else more,
            wheels=wheels,
            dockerfile=dockerfile or "",
            folder=context_folder(scenario),
        )

    if server:
        from custom_image.ecs import add_libraries as add_there
        from custom_image.ecs import build as build_there
        from custom_image.ecs import find_base as find_there

        with build_server.connected(server, ssh_config) as there:
            base, target = find_there(base_image, batch=batch, python=python, on=there)
            if wheels := fetch(target):
                base = add_there(base, wheels.libraries, batch=batch, python=target, on=there)
            context = write_context(base, target, wheels)
            show_as(build_there(context, tag, on=there, builder=builder), form)
        return
    engine = open_engine("docker")
    base, target = find_base(base_image, batch=batch, python=python, engine=engine)
    show_as(build_image(write_context(base, target, fetch(target)), tag, engine=engine), form)


def _build_own(
    context: BuildContext, tag: str, server: str, ssh_config: str, builder: str, form: Format
) -> None:
    """Build the author's Dockerfile: on a server, here, or by ma-cli of a notebook instance."""
    from custom_image.builders import build as build_image
    from custom_image.ecs import build as build_there
    from custom_image.engines import open_engine

    say(str(context))
    if server:
        with build_server.connected(server, ssh_config) as there:
            show_as(build_there(context, tag, on=there, builder=builder), form)
    else:
        show_as(build_image(context, tag, engine=open_engine()), form)


def _check_own(
    context: Path | None, *, for_own: dict[str, object], for_ours: dict[str, object]
) -> None:
    """Refuse options that would change nothing."""
    wrong = [name for name, value in (for_ours if context else for_own).items() if value]
    if wrong and context:
        raise UsageError(
            f"{', '.join(wrong)}: --context builds your own Dockerfile, which says itself what it "
            "takes.\nLeave one or the other out."
        )
    if wrong:
        raise UsageError(f"{', '.join(wrong)}: expected with --context DIR, a folder of your own.")


def context_folder(scenario: str) -> Path:
    """Return where the context of a scenario is written."""
    return Path("build") / scenario / "context"
