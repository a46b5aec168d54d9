"""Training of the network, and its accuracy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from custom_image.mnist import Digits
from custom_image.mnist.digits import Pixels
from custom_image.progress import progress_bar
from custom_image.training.network import build_network

BATCH_SIZE = 64
PEAK_LEARNING_RATE = 0.003
PICTURES_TO_SEE = 30_000
LOSSES_KEPT = 50


def epochs_for(pictures: int) -> int:
    """Return how many epochs a set needs: one for all of MNIST, five for the sample."""
    return max(1, math.ceil(PICTURES_TO_SEE / pictures))


def fit(digits: Digits, *, epochs: int, seed: int, device: str) -> tuple[nn.Module, list[float]]:
    """Train a new network; return it on the CPU, with up to fifty mean losses in order of time.

    The same digits, epochs, seed and number of threads give the same weights on a CPU.
    """
    images = torch.tensor(digits.train_images).unsqueeze(1)
    labels = torch.tensor(digits.train_labels).long()
    steps = epochs * math.ceil(len(images) / BATCH_SIZE)
    losses = []
    with _seeded(seed):
        # channels_last halves the time of the convolutions on a CPU.
        network = build_network().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK_LEARNING_RATE)
        # One cycle up and down reaches in one epoch what a constant rate needs several for:
        # https://arxiv.org/abs/1708.07120
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, PEAK_LEARNING_RATE, total_steps=steps, pct_start=0.2
        )
        network.train()
        with progress_bar(steps, "training", "batch") as bar:
            for _ in range(epochs):
                for batch in torch.split(torch.randperm(len(images)), BATCH_SIZE):
                    pictures = _prepare(images[batch], device)
                    loss = nn.functional.cross_entropy(network(pictures), labels[batch].to(device))
                    optimizer.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]
                    optimizer.step()
                    schedule.step()
                    losses.append(loss.detach())
                    bar.update(1)
    network.to("cpu", memory_format=torch.contiguous_format)
    return network.eval(), _means(losses)


def predict(network: nn.Module, images: Pixels) -> npt.NDArray[np.float32]:
    """Return the logits (n, 10) of uint8 pictures (n, 28, 28)."""
    network.eval()
    batches = torch.split(torch.tensor(images).unsqueeze(1), 1000)
    with torch.inference_mode():
        logits = torch.cat([network(_prepare(batch, "cpu")) for batch in batches])
    array: npt.NDArray[np.float32] = logits.numpy()
    return array


def _prepare(pictures: Tensor, device: str) -> Tensor:
    pictures = pictures.to(device).float() / 255
    return pictures.to(memory_format=torch.channels_last)


def _means(losses: list[Tensor]) -> list[float]:
    if not losses:
        return []
    parts = torch.stack(losses).cpu().tensor_split(min(LOSSES_KEPT, len(losses)))
    return [round(float(part.mean()), 4) for part in parts]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw from ``seed`` inside the block and leave the caller's generators as they were."""
    with torch.random.fork_rng(), torch.backends.cudnn.flags(enabled=True, deterministic=True):
        torch.manual_seed(seed)
        yield
