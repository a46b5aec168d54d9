# /// script
# dependencies = ["bentoml==1.4.39"]
#
# [tool.serving]
# title = "BentoML"
# versions_of = ["bentoml"]
# command = ["bentoml", "serve", "bento_ml:Digits", "--port", "{port}"]
# predict = "/"
# health = "/readyz"
#
# [tool.serving.environment]
# DO_NOT_TRACK = "1"
# ///
"""BentoML: Starlette on uvicorn, uploads as temporary files.

Source: https://docs.bentoml.com/en/latest/build-with-bentoml/iotypes.html
"""

from __future__ import annotations

import os
from pathlib import Path

import bentoml
from shared_handler import Classifier


@bentoml.service(workers=int(os.environ["WORKERS"]))
class Digits:
    def __init__(self) -> None:
        self.classifier = Classifier()

    @bentoml.api(route="/")
    def predict(self, images: Path) -> dict[str, int]:
        return {"mnist_result": self.classifier.predict_bytes(images.read_bytes())}
