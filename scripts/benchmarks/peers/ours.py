# /// script
# dependencies = ["--require-hashes", "--requirement", "{root}/docker/requirements/3.11/onnx.txt"]
#
# [tool.serving]
# title = "This project"
# command = ["sh", "run.sh"]
# predict = "/"
# health = "/health"
#
# [tool.serving.environment]
# DRAIN_SECONDS = "{drain_s}"
#
# [tool.serving.variants.uvicorn]
# versions_of = ["uvicorn", "uvloop"]
# environment = { MODEL_SERVER = "uvicorn" }
#
# [tool.serving.variants.gunicorn-gevent]
# versions_of = ["gunicorn", "gevent"]
# environment = { MODEL_SERVER = "gunicorn-gevent" }
#
# [tool.serving.files]
# "run.sh" = "{root}/docker/rootfs/home/run.sh"
# "ma-user/infer/run.sh" = "{root}/docker/rootfs/home/ma-user/infer/run.sh"
# "ma-user/infer/model_service" = "{root}/model_package/model_service"
# "ma-user/infer/model/1/config.json" = "{root}/model_package/model/config.json"
# "ma-user/infer/model/1/customize_service.py" = "{peers}/ours.py"
# ///
"""This project's runtime, laid out and started as an image has it, in both of its profiles.

The file is the package's customize_service.py: the platform's base class for a service with no
engine of its own, around the handler that all peers share, cut where that class cuts.
"""

from __future__ import annotations

from typing import IO

import numpy as np
from numpy.typing import NDArray
from shared_handler import Classifier, decode

from model_service.model_service import SingleNodeService


class DigitService(SingleNodeService):
    def __init__(self, model_name: str, model_path: str) -> None:
        super().__init__(model_name, model_path)
        self.classifier = Classifier()

    def _preprocess(self, data: dict[str, dict[str, IO[bytes]]]) -> NDArray[np.float32]:
        (upload,) = data["images"].values()
        return decode(upload.read())

    def _inference(self, data: NDArray[np.float32]) -> int:
        return self.classifier.predict_pixels(data)

    def _postprocess(self, data: int) -> dict[str, int]:
        return {"mnist_result": data}
