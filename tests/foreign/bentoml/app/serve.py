"""BentoML. Source: https://docs.bentoml.com/en/latest/build-with-bentoml/iotypes.html"""

from __future__ import annotations

from pathlib import Path

import bentoml
from shared_handler import Classifier


@bentoml.service(workers=2)
class Digits:
    def __init__(self) -> None:
        self.classifier = Classifier()

    @bentoml.api(route="/")
    def predict(self, images: Path) -> dict[str, int]:
        return {"mnist_result": self.classifier.predict(images.read_bytes())}
