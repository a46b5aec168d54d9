"""Command demo: the whole chain once."""

from __future__ import annotations

from pathlib import Path

import typer

from custom_image.cli.build import context_folder
from custom_image.cli.options import BaseImage, Mnist, Sample, absolute, in_turn, keep_last, show
from custom_image.cli.package import package_example
from custom_image.progress import say
from custom_image.settings import enter_project


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
    mnist = absolute(mnist)
    enter_project()
    command.with_resource(in_turn(Path("build") / scenario))
    engine = open_engine()
    base, python = find_base(base_image, engine=engine)
    digits, package = package_example(mnist, sample)
    context = write_build_context(
        package, scenario, base_image=base, python=python, folder=context_folder(scenario)
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
