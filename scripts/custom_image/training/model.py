"""The noun and its verb: a trained model, made by training or by loading."""

from __future__ import annotations

import json
import logging
import platform
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import nn

from custom_image import __version__
from custom_image.errors import ModelError, UsageError
from custom_image.mnist import Digits
from custom_image.mnist.digits import Pixels
from custom_image.training.loop import epochs_for, fit, predict
from custom_image.training.network import build_network, network_sha256
from custom_image.training.weights import (
    load_weights,
    read_metadata,
    refuse_pickles,
    weights_sha256,
    write_weights,
)

WEIGHTS_NAME: Final = "model.safetensors"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Metrics:
    """How well test digits are recognised, from 0 to 1; all but accuracy are macro averages."""

    accuracy: float
    precision: float
    recall: float
    f1: float

    @classmethod
    def measure(cls, labels: Pixels, predicted: Pixels) -> Metrics:
        """Compare what was predicted with the labels, both (n,)."""
        confusion = np.zeros((10, 10))
        np.add.at(confusion, (labels, predicted), 1)
        hits = confusion.diagonal()
        # A digit that never occurs, or is never predicted, counts as 0 rather than as undefined.
        precision = hits / np.maximum(confusion.sum(axis=0), 1)
        recall = hits / np.maximum(confusion.sum(axis=1), 1)
        f1 = 2 * hits / np.maximum(confusion.sum(axis=0) + confusion.sum(axis=1), 1)
        means = (hits.sum() / len(labels), precision.mean(), recall.mean(), f1.mean())
        return cls(*(round(float(mean), 6) for mean in means))


@dataclass(frozen=True, repr=False)
class TrainedModel:
    """Weights in a file, and how good they are.

    Attributes:
        weights_path: a safetensors file.
        metadata: what the file says about itself; empty for weights that came from elsewhere.
        metrics: measured on the test digits.
        history: mean losses in order of time; empty for weights that came from elsewhere.
        trained: whether this call trained them, rather than found them.
    """

    weights_path: Path
    metadata: dict[str, str]
    metrics: Metrics
    history: tuple[float, ...]
    trained: bool

    def load_network(self) -> nn.Module:
        """Return the network with these weights, on the CPU, ready to predict.

        Raises:
            ModelError: the file is gone, damaged, or of another network.
        """
        network = build_network()
        load_weights(self.weights_path, network)
        return network.eval()

    def weights_sha256(self) -> str:
        """Return the hash of the file.

        Raises:
            ModelError: it cannot be read.
        """
        return weights_sha256(self.weights_path)

    def _facts(self) -> list[tuple[str, str]]:
        facts = [(name, f"{100 * value:.2f} %") for name, value in asdict(self.metrics).items()]
        if self.metadata:
            epochs = int(self.metadata["epochs"])
            unit = "epoch" if epochs == 1 else "epochs"
            facts.append(("trained in", f"{epochs} {unit}, seed {self.metadata['seed']}"))
        size_kb = self.weights_path.stat().st_size / 1000
        facts.append(("weights", f"{self.weights_path} ({size_kb:,.0f} kB, safetensors)"))
        return facts

    def __str__(self) -> str:
        return "\n".join(f"{name:<11} {value}" for name, value in self._facts())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{name}</th>"
            f"<td style='text-align:left'>{escape(value)}</td></tr>"
            for name, value in self._facts()
        )
        return f"<table>{rows}</table>"


def train_or_load(
    digits: Digits,
    *,
    epochs: int = 0,
    seed: int = 7,
    folder: str | Path = Path("build/model"),
    retrain: bool = False,
    device: str = "auto",
) -> TrainedModel:
    """Train a model on the digits, or load the one in ``folder`` that was trained so already.

    Weights that something else wrote are used as they are, once their tensors fit the network.

    Args:
        digits: to train on and to be judged by.
        epochs: how often to see all digits; 0 for as often as a set of that size needs.
        seed: of the first weights and of the order of the digits.
        folder: where ``model.safetensors`` is or will be.
        retrain: train even so, and replace the weights in ``folder``.
        device: ``cpu``, ``cuda``, or ``auto`` for CUDA where there is any.

    Raises:
        ModelError: there are weights in ``folder`` that cannot be used.
        UsageError: ``device`` is not there, or ``epochs`` is negative.
    """
    if epochs < 0:
        raise UsageError(f"epochs: expected 0 or more, found {epochs}.\nUse 0 to have it chosen.")
    path = Path(folder) / WEIGHTS_NAME
    recipe = {
        "data_sha256": digits.sha256,
        "network_sha256": network_sha256(),
        "seed": str(seed),
        "epochs": str(epochs or epochs_for(len(digits.train_images))),
    }
    if not retrain and (model := _load(path, digits, recipe)):
        return model
    device = _device(device)
    network, losses = fit(digits, epochs=int(recipe["epochs"]), seed=seed, device=device)
    metrics = _judge(network, digits)
    metadata = {
        **recipe,
        **{name: str(value) for name, value in asdict(metrics).items()},
        "losses": json.dumps(losses),
        "device": device,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "custom_image": __version__,
    }
    write_weights(path, network, metadata)
    return TrainedModel(path, metadata, metrics, tuple(losses), trained=True)


def _load(path: Path, digits: Digits, recipe: dict[str, str]) -> TrainedModel | None:
    """Return the model in ``path``, or None where there is none or it is of another recipe."""
    if not path.exists():
        refuse_pickles(path.parent)
        return None
    metadata = read_metadata(path)
    if "custom_image" not in metadata:
        network = build_network()
        load_weights(path, network)
        _log.info("%s was not written by this project and is used as it is", path)
        return TrainedModel(path, {}, _judge(network, digits), (), trained=False)
    changed = [name for name, value in recipe.items() if metadata.get(name) != value]
    if changed:
        _log.info("%s is of another %s and is trained anew", path, ", ".join(changed))
        return None
    load_weights(path, build_network())
    try:
        metrics = Metrics(*(float(metadata[name]) for name in Metrics.__dataclass_fields__))
        losses = tuple(json.loads(metadata["losses"]))
    except (KeyError, ValueError, TypeError) as error:
        raise ModelError(
            f"{path}: expected what this project writes about its weights, found {error}.\n"
            "Pass retrain=True to train new ones."
        ) from error
    return TrainedModel(path, metadata, metrics, losses, trained=False)


def _judge(network: nn.Module, digits: Digits) -> Metrics:
    predicted = predict(network, digits.test_images).argmax(axis=1)
    return Metrics.measure(digits.test_labels, predicted.astype(np.uint8))


def _device(wanted: str) -> str:
    available = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    if wanted == "auto":
        return available[-1]
    if wanted not in available:
        raise UsageError(
            f"device: expected auto or {' or '.join(available)} on this machine, found {wanted}.\n"
            "Use auto, or install a GPU build of torch (TORCH_BUILD in scripts/install_torch.sh)."
        )
    return wanted
