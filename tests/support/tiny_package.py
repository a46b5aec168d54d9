"""A whole model package in no time: the example's own code on a model of one layer."""

from __future__ import annotations

import shutil
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from linear_model import write_linear_model
from small_digits import small_digits

from custom_image.model_package import SERVICE_FILE, generate_config
from custom_image.training import Metrics

MEASURED = Metrics(accuracy=0.8, precision=0.8, recall=0.8, f1=0.8)


def write_tiny_package(folder: Path, seed: int | None = None) -> SimpleNamespace:
    """Write the package to ``folder``: weights that know most digits, or a seed's random ones."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(SERVICE_FILE, folder / SERVICE_FILE.name)
    config = generate_config(SERVICE_FILE, MEASURED)
    (folder / "config.json").write_text(config.to_json())
    random = np.random.default_rng(seed).normal(size=(785, 10))
    write_linear_model(folder / "mnist.onnx", _fitted() if seed is None else random)
    return SimpleNamespace(folder=folder, config=config)


@cache
def _fitted() -> np.ndarray:
    """Return weights (785, 10), the last row the bias, by ridge regression on real digits."""
    digits = small_digits(train=6000)
    pixels = digits.train_images.reshape(-1, 784) / 255.0
    inputs = np.hstack([pixels, np.ones((len(pixels), 1))])
    targets = np.eye(10)[digits.train_labels]
    return np.linalg.solve(inputs.T @ inputs + 10 * np.eye(785), inputs.T @ targets)
