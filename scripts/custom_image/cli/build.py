"""Commands of the chain, in its order: train, package, build; demo is all of them."""

from __future__ import annotations

from enum import StrEnum
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
    in_turn,
    keep_last,
    show,
    show_as,
)
from custom_image.errors import UsageError
from custom_image.progress import say
from custom_image.settings import enter_project

if TYPE_CHECKING:
    from custom_image.adoption import AdoptedPackage
    from custom_image.adoption.wheels import PackageWheels
    from custom_image.build_context import BuildContext
    from custom_image.mnist import Digits
    from custom_image.model_package import ModelPackage
    from custom_image.target_python import TargetPython


class Engine(StrEnum):
    """What asks the network in the image."""

    ONNX = "onnx"
    TORCH = "torch"


Runtime = Annotated[
    Engine,
    typer.Option(
        "--runtime", help="What asks the network in the image; torch makes it three times as large."
    ),
]
Batch = Annotated[
    bool, typer.Option("--batch", help="Add what batch services need: a headless JRE and zip.")
]


def train(
    mnist: Mnist = "",
    sample: Sample = False,
    epochs: Epochs = 0,
    seed: Seed = 7,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train again although build/model holds a model.")
    ] = False,
    device: Annotated[
        str, typer.Option(help="cpu, cuda, or auto: CUDA where there is one.")
    ] = "auto",
) -> None:
    """Train the example model, or load it.

    Learns MNIST. The weights go to build/model as safetensors, with their accuracy, the hash of the
    data and the seed; they are loaded where they are there already.

    \b
    Examples:
      custom-image train
      custom-image train --sample --epochs 3 --retrain
    """
    from custom_image.mnist import load_mnist
    from custom_image.training import train_or_load

    enter_project()
    digits = load_mnist(_absolute(mnist), sample=sample)
    show(train_or_load(digits, epochs=epochs, seed=seed, retrain=retrain, device=device))


Strict = Annotated[
    bool,
    typer.Option("--strict", help="Take nothing but a package with a valid config.json."),
]


def package(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FOLDER]",
            help="A package of your own: customize_service.py, as it ran on a preset engine, and "
            "what it needs. It is read, never run, and stays as it is.",
        ),
    ] = None,
    strict: Strict = False,
    form: FormatOption = Format.TABLE,
    mnist: Mnist = "",
    sample: Sample = False,
    epochs: Epochs = 0,
    seed: Seed = 7,
    runtime: Runtime = Engine.ONNX,
) -> None:
    """Make a model package for a custom image below build/.

    Of FOLDER, which ran on a preset engine: config.json is read in whatever state it is, its
    dependencies become requirements, and a table says what was changed, guessed or left out, and
    why. What cannot be served is refused, with file, line and what to do.

    Without FOLDER, of the example: its model is exported to ONNX and compared with the trained one
    over the whole test set. Trains first where build/model holds no model of this data, number of
    epochs and seed.

    \b
    Examples:
      custom-image package my/model
      custom-image package my/model --format json
      custom-image package my/model --strict
      custom-image package
      custom-image package --epochs 3
      custom-image package --runtime torch
    """
    if folder is not None:
        _refuse_both(mnist, sample, epochs, runtime)
        folder = folder.resolve()
        enter_project()
        from custom_image.adoption import package_folder

        show_as(package_folder(folder, strict=strict), form)
        return
    mnist = _absolute(mnist)
    enter_project()
    _, package = _package(mnist, sample, epochs, seed, runtime)
    show(package)


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
        _refuse_both(mnist, sample, epochs, runtime)
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
    mnist, ssh_config = _absolute(mnist), _absolute(ssh_config)
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
    given = _adopt(package, strict) if package else None

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
            given or _package(mnist, sample, epochs, seed, runtime)[1],
            scenario,
            base_image=base,
            batch=batch,
            python=target,
            more=None if wheels else more,
            wheels=wheels,
            dockerfile=dockerfile or "",
            folder=_context_folder(scenario),
        )

    if server:
        from custom_image.ecs import add_libraries as add_there
        from custom_image.ecs import build as build_there
        from custom_image.ecs import find_base as find_there

        with build_server.connected(server, ssh_config) as connection:
            base, target = find_there(connection, base_image, batch=batch, python=python)
            if wheels := fetch(target):
                base = add_there(connection, base, wheels.libraries, batch=batch, python=target)
            context = write_context(base, target, wheels)
            show_as(build_there(context, tag, connection=connection, builder=builder), form)
        return
    engine = open_engine("docker")
    base, target = find_base(base_image, batch=batch, python=python, engine=engine)
    show_as(build_image(write_context(base, target, fetch(target)), tag, engine=engine), form)


def demo(
    command: typer.Context, mnist: Mnist = "", sample: Sample = False, base_image: BaseImage = ""
) -> None:
    """Go the whole chain once, digits to a service that answers.

    Prints what the image answers to a seven, then the verdicts at level quick: short waits, so
    rules about a duration drill their mechanism and say NOT CHECKED. Then it deploys the image on
    the local ModelArts, asks through its gateway, and ends with a table of the chain. Without a
    Docker engine the boot file runs as a process, and what needs an image says NOT CHECKED. Leaves
    nothing running.

    \b
    Examples:
      custom-image demo
      custom-image demo --sample
    """
    from custom_image.build_context import write_build_context
    from custom_image.builders import build as build_image
    from custom_image.builders import find_base
    from custom_image.deployment import ship
    from custom_image.engines import open_engine
    from custom_image.engines.client import predict as ask
    from custom_image.engines.readiness import wait_until_ready
    from custom_image.mnist import encode_jpeg
    from custom_image.report import Verdict
    from custom_image.specification import HEALTH_URL
    from custom_image.verification import verify

    scenario = "dockerfile_build"
    mnist = _absolute(mnist)
    enter_project()
    command.with_resource(in_turn(Path("build") / scenario))
    engine = open_engine()
    base, python = find_base(base_image, engine=engine)
    digits, package = _package(mnist, sample)
    context = write_build_context(
        package, scenario, base_image=base, python=python, folder=_context_folder(scenario)
    )
    image = build_image(context, f"{scenario}:latest", engine=engine)
    with engine.start(image.reference) as service:
        wait_until_ready(service, HEALTH_URL.value, timeout_s=120)
        answer = ask(service.url, encode_jpeg(digits.example(7)), filename="seven.jpg")
    typer.echo(answer.text.rstrip("\n"))
    say("judging at level quick: short waits, nothing about a duration is proved; see --level full")
    report = verify(image.reference, level="quick", engine=engine)
    keep_last(report)
    show(report)
    if not answer.ok or report.verdict is Verdict.FAILED:
        raise typer.Exit(1)
    deployment = ship(image, package.config)
    try:
        through_gateway = deployment.predict(encode_jpeg(digits.example(7)), filename="seven.jpg")
    finally:
        taken_down = deployment.delete()
    chain = {
        "digits": digits,
        "package": package,
        "context": context,
        "image": image,
        "verdicts": report.summary,
        **deployment.steps(),
        "prediction": through_gateway,
        "taken down": taken_down,
    }
    typer.echo()
    for step, became in chain.items():
        typer.echo(f"{step:<11} {str(became).splitlines()[0]}")


def _refuse_both(mnist: str, sample: bool, epochs: int, runtime: Engine) -> None:
    if mnist or sample or epochs or runtime is not Engine.ONNX:
        raise UsageError(
            "the package is one that is there; --mnist, --sample, --epochs and --runtime are of "
            "the example.\nLeave one or the other out. The engine follows from the package."
        )


def _build_own(
    context: BuildContext, tag: str, server: str, ssh_config: str, builder: str, form: Format
) -> None:
    """Build the author's Dockerfile: on a server, here, or by ma-cli of a notebook instance."""
    from custom_image.builders import build as build_image
    from custom_image.ecs import build as build_there
    from custom_image.engines import open_engine

    say(str(context))
    if server:
        with build_server.connected(server, ssh_config) as connection:
            show_as(build_there(context, tag, connection=connection, builder=builder), form)
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


def _absolute(folder: str) -> str:
    """Return a path the user typed as it was meant, before the project is entered."""
    return str(Path(folder).resolve()) if folder else ""


def _adopt(folder: Path, strict: bool) -> AdoptedPackage:
    from custom_image.adoption import package_folder

    adopted = package_folder(folder, strict=strict)
    say(str(adopted))
    return adopted


def _context_folder(scenario: str) -> Path:
    return Path("build") / scenario / "context"


def _package(
    mnist: str, sample: bool, epochs: int = 0, seed: int = 7, runtime: str = Engine.ONNX
) -> tuple[Digits, ModelPackage]:
    from custom_image.mnist import load_mnist
    from custom_image.model_package import package_model
    from custom_image.training import train_or_load

    digits = load_mnist(mnist, sample=sample)
    say(str(digits))
    model = train_or_load(digits, epochs=epochs, seed=seed)
    say(str(model))
    return digits, package_model(model, digits, runtime=runtime)
