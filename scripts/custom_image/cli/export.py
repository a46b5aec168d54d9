"""The command that writes an image down for another platform: export kubernetes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from custom_image.cli.options import write
from custom_image.errors import UsageError
from custom_image.progress import say
from custom_image.specification import PORT, SIGTERM_DRAIN

app = typer.Typer(
    name="export", no_args_is_help=True, help="Write an image down as other systems read it."
)


@app.callback()
def export() -> None:
    """Write an image down as other systems read it."""


@app.command()
def kubernetes(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="An image of the Docker engine.")],
    config: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="config.json, where the image holds none."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="What `verify IMAGE --format json` wrote: its measurements decide.",
        ),
    ] = None,
    kserve: Annotated[
        bool, typer.Option("--kserve", help="An InferenceService in place of these objects.")
    ] = False,
    cce_npu: Annotated[
        bool, typer.Option("--cce-npu", help="For Ascend NPUs on CCE, scheduled by volcano.")
    ] = False,
    npus: Annotated[int, typer.Option(min=1, max=16, help="Of --cce-npu: NPUs of a pod.")] = 1,
    name: Annotated[str, typer.Option(help="Of the objects; the image's own if empty.")] = "",
    namespace: Annotated[str, typer.Option(help="Of the objects; kubectl's own if empty.")] = "",
    replicas: Annotated[int, typer.Option(min=1, help="How many pods.")] = 2,
    port: Annotated[int, typer.Option(help="The container port.")] = PORT.value,
    cpus: Annotated[float, typer.Option(min=0.001, help="CPUs of a pod.")] = 2,
    memory: Annotated[
        str, typer.Option(help="Memory of a pod, such as 4g; what was measured if empty.")
    ] = "",
    stop_command: Annotated[
        str, typer.Option(metavar='"WORDS"', help="Run in the container before SIGTERM.")
    ] = "",
    stop_seconds: Annotated[
        int, typer.Option(min=0, help="How long that takes at most; it is added to the grace.")
    ] = SIGTERM_DRAIN.value,
    output: Annotated[
        Path | None, typer.Option(dir_okay=False, help="The file; standard output without it.")
    ] = None,
) -> None:
    """Write Kubernetes objects for an image.

    Deployment, Service, PodDisruptionBudget, and a NetworkPolicy that opens the one port.
    Probes come from config.json; grace, stop command, memory and the read-only root from what a
    verification measured; the user from the image. The head of the file says which is which.

    \b
    Examples:
      custom-image export kubernetes mnist:1 > mnist.yaml
      custom-image verify mnist:1 --level full --format json --output report.json
      custom-image export kubernetes mnist:1 --report report.json | kubectl apply -f -
      custom-image export kubernetes mnist:1 --kserve --namespace models
      custom-image export kubernetes llm:3 --cce-npu --npus 8
    """
    from custom_image.cli.ship import config_of
    from custom_image.engines.docker.engine import DockerEngine
    from custom_image.engines.options import parse_options
    from custom_image.image_reference import ImageReference
    from custom_image.kubernetes.manifests import deployment, inference_service, to_yaml
    from custom_image.kubernetes.measurements import Measurements
    from custom_image.kubernetes.pod import Pod, PodOptions
    from custom_image.model_config import read_model_config
    from custom_image.rules.static.accounts import ACCOUNTS_FILE, account_of, parse_accounts

    if "\n" in stop_command:
        raise UsageError("--stop-command: expected one line.")
    engine = DockerEngine.connect()
    facts = engine.inspect(image)
    known = parse_accounts(engine.read_file(image, ACCOUNTS_FILE) or b"")
    pod = Pod(
        image=image,
        config=read_model_config(config) if config else config_of(image),
        user=account_of(facts.user, known),
        measured=Measurements.read(report) if report else Measurements(),
        options=PodOptions(
            port=port,
            stop_command=stop_command,
            stop_s=stop_seconds,
            cpus=cpus,
            memory_bytes=parse_options(memory=memory).memory_bytes if memory else 0,
        ),
    )
    if cce_npu:
        pod.options = replace(pod.options, npus=npus)
    wanted = name or ImageReference.parse(image).name.replace("_", "-").replace(".", "-")
    make = inference_service if kserve else deployment
    text = to_yaml(make(pod, wanted, namespace=namespace, replicas=replicas), pod.reasons)
    if output:
        write(output, text)
        say(f"written to {output}")
    else:
        typer.echo(text, nl=False)
