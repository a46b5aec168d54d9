# /// script
# dependencies = ["google-cloud-aiplatform[prediction]==2.7.0", "python-multipart"]
#
# [tool.serving]
# title = "Vertex CPR"
# versions_of = ["google-cloud-aiplatform"]
# command = ["python", "-m", "google.cloud.aiplatform.prediction.model_server"]
# predict = "/predict"
# health = "/health"
#
# [tool.serving.environment]
# HANDLER_MODULE = "vertex_cpr"
# HANDLER_CLASS = "DigitHandler"
# AIP_HTTP_PORT = "{port}"
# AIP_PREDICT_ROUTE = "/predict"
# AIP_HEALTH_ROUTE = "/health"
# VERTEX_CPR_WEB_CONCURRENCY = "{workers}"
# ///
"""Vertex AI Custom Prediction Routines: FastAPI on uvicorn, one model a worker.

The command is the entry point of the image that ``LocalModel.build_cpr_model`` writes. A handler of
one's own is its documented way to take anything but JSON.

Source: https://cloud.google.com/vertex-ai/docs/predictions/custom-prediction-routines
"""

from __future__ import annotations

import json

from fastapi import Request, Response
from google.cloud.aiplatform.prediction.handler import Handler
from shared_handler import Classifier


class DigitHandler(Handler):
    def __init__(self, artifacts_uri: str, predictor: object = None) -> None:
        self.classifier = Classifier()

    async def handle(self, request: Request) -> Response:
        form = await request.form()
        digit = self.classifier.predict_bytes(await form["images"].read())
        return Response(json.dumps({"mnist_result": digit}), media_type="application/json")
