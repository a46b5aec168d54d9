"""The network of the example: two convolutions and two dense layers, for digits of 28 x 28 pixels.

It stands beside the weights because they mean nothing without it. A package for ONNX Runtime
carries the network inside ``mnist.onnx`` instead, and its image needs no torch.
"""

from torch import Tensor, nn


class DigitNetwork(nn.Module):
    """From pictures (n, 1, 28, 28), float32 from 0 to 1, light on dark, to logits (n, 10)."""

    def __init__(self) -> None:
        super().__init__()
        # Pooling comes first in each block: the rest then works on a quarter of the values.
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, kernel_size=3),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, kernel_size=3),
            nn.MaxPool2d(2),
            nn.BatchNorm2d(64),
            nn.ReLU(),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Dropout(0.25),
            nn.Linear(64 * 5 * 5, 128),
            nn.ReLU(),
            nn.Linear(128, 10),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return one logit for each digit."""
        logits: Tensor = self.classifier(self.features(images))
        return logits
