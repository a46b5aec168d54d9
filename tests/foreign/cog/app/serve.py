"""Cog. Source: https://github.com/replicate/cog/blob/main/docs/python.md"""

import os

from cog import BasePredictor, Path
from shared_handler import Classifier


class Digits(BasePredictor):
    def setup(self) -> None:
        if "BROKEN" in os.environ:
            raise FileNotFoundError("the weights are missing")
        self.classifier = Classifier()

    def predict(self, images: Path) -> int:
        return self.classifier.predict(images.read_bytes())
