"""Commands train and package: the example model, and a model package, of it or of your own."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from custom_image.cli.options import (
    Epochs,
    Format,
    FormatOption,
    Mnist,
    Sample,
    Seed,
    absolute,
    show,
    show_as,
)
from custom_image.errors import UsageError
from custom_image.progress import say
from custom_image.settings import enter_project

if TYPE_CHECKING:
    from custom_image.adoption.package import AdoptedPackage
    from custom_image.mnist import Digits
    from custom_image.model_package import ModelPackage


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
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Take nothing but a package with a valid config.json."),
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
    digits = load_mnist(absolute(mnist), sample=sample)
    show(train_or_load(digits, epochs=epochs, seed=seed, retrain=retrain, device=device))


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
        refuse_both(mnist, sample, epochs, runtime)
        folder = folder.resolve()
        enter_project()
        from custom_image.adoption.package import package_folder

        show_as(package_folder(folder, strict=strict), form)
        return
    mnist = absolute(mnist)
    enter_project()
    _, package = package_example(mnist, sample, epochs, seed, runtime)
    show(package)


def refuse_both(mnist: str, sample: bool, epochs: int, runtime: Engine) -> None:
    """Refuse options of the example beside a package that is there."""
    if mnist or sample or epochs or runtime is not Engine.ONNX:
        raise UsageError(
            "the package is one that is there; --mnist, --sample, --epochs and --runtime are of "
            "the example.\nLeave one or the other out. The engine follows from the package."
        )


def adopt(folder: Path, strict: bool) -> AdoptedPackage:
    """Return a package of one's own, made fit for an image, and say what was changed."""
    from custom_image.adoption.package import package_folder

    adopted = package_folder(folder, strict=strict)
    say(str(adopted))
    return adopted


def package_example(
    mnist: str, sample: bool, epochs: int = 0, seed: int = 7, runtime: str = Engine.ONNX
) -> tuple[Digits, ModelPackage]:
    """Return the digits and the package of the example, trained where it is not yet."""
    from custom_image.mnist import load_mnist
    from custom_image.model_package import package_model
    from custom_image.training import train_or_load

    digits = load_mnist(mnist, sample=sample)
    say(str(digits))
    model = train_or_load(digits, epochs=epochs, seed=seed)
    say(str(model))
    return digits, package_model(model, digits, runtime=runtime)
