"""LitServe, as its page shows it. Source: https://lightning.ai/docs/litserve"""

# No postponed annotations: LitServe compares the annotation of `request` with fastapi.Request.
import litserve
from fastapi import Request
from shared_handler import Classifier


class Digits(litserve.LitAPI):
    def setup(self, device):
        self.classifier = Classifier()

    def decode_request(self, request: Request):
        return request["images"].file.read()

    def predict(self, data):
        return self.classifier.predict(data)

    def encode_response(self, digit):
        return {"mnist_result": digit}


if __name__ == "__main__":
    server = litserve.LitServer(Digits(api_path="/"), accelerator="cpu", workers_per_device=2)
    server.run(port=8080, generate_client_file=False)
