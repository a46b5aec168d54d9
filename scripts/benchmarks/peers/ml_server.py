# /// script
# dependencies = ["mlserver==1.7.1", "python-multipart"]
#
# [tool.serving]
# title = "MLServer"
# versions_of = ["mlserver"]
# command = ["mlserver", "start", "."]
# predict = "/"
# health = "/v2/health/ready"
#
# [tool.serving.environment]
# MLSERVER_MODEL_NAME = "mnist"
# MLSERVER_MODEL_IMPLEMENTATION = "ml_server.Digits"
# MLSERVER_HTTP_PORT = "{port}"
# MLSERVER_GRPC_PORT = "{grpc_port}"
# MLSERVER_METRICS_PORT = "{metrics_port}"
# MLSERVER_PARALLEL_WORKERS = "0"
# MLSERVER_DEBUG = "false"
# ///
"""MLServer: FastAPI on uvicorn, the model in the server's own process.

A pool of workers (``parallel_workers``) halves the throughput of a model as small as this one, and
needs uvloop before 0.22, so there is none. Debug is the default and logs every request; without it
the server is a tenth faster.

Source: https://mlserver.readthedocs.io/en/latest/user-guide/custom.html
"""

from __future__ import annotations

import json

from fastapi import Request, Response
from mlserver import MLModel
from mlserver.handlers import custom_handler
from shared_handler import Classifier


class Digits(MLModel):
    async def load(self) -> bool:
        self.classifier = Classifier()
        return True

    @custom_handler(rest_path="/")
    async def upload(self, request: Request) -> Response:
        form = await request.form()
        digit = self.classifier.predict_bytes(await form["images"].read())
        return Response(json.dumps({"mnist_result": digit}), media_type="application/json")
