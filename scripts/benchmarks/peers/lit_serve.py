# /// script
# dependencies = ["litserve==0.2.19", "python-multipart"]
#
# [tool.serving]
# title = "LitServe"
# versions_of = ["litserve"]
# command = ["python", "{peers}/lit_serve.py", "{port}", "{workers}"]
# predict = "/"
# health = "/health"
# ///
"""LitServe: FastAPI in front of worker processes, as many as there are cores.

Source: https://lightning.ai/docs/litserve
"""

# No postponed annotations: LitServe compares the annotation of `request` with fastapi.Request to
# tell a form from a JSON body.
import sys

import litserve
from fastapi import Request
from shared_handler import Classifier


class Digits(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.classifier = Classifier()

    def decode_request(self, request: Request) -> bytes:
        return request["images"].file.read()

    def predict(self, data: bytes) -> int:
        return self.classifier.predict_bytes(data)

    def encode_response(self, digit: int) -> dict[str, int]:
        return {"mnist_result": digit}


if __name__ == "__main__":
    port, workers = map(int, sys.argv[1:])
    server = litserve.LitServer(Digits(api_path="/"), accelerator="cpu", workers_per_device=workers)
    server.run(port=port, generate_client_file=False)
