"""MLServer. Source: https://mlserver.readthedocs.io/en/latest/user-guide/custom.html"""

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
        digit = self.classifier.predict(await form["images"].read())
        return Response(json.dumps({"mnist_result": digit}), media_type="application/json")
