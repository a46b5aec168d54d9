"""LitServe's stream, as its page shows it. Source: https://lightning.ai/docs/litserve/features/streaming"""

import os
import time

import litserve


class Words(litserve.LitAPI):
    def setup(self, device):
        self.words = ["once", "upon", "a", "time", "there", "was", "an", "end"]

    def decode_request(self, request):
        return request["prompt"]

    def predict(self, prompt):
        for word in self.words:
            time.sleep(0.1)
            yield f"{prompt} {word}"

    def encode_response(self, outputs):
        for text in outputs:
            yield {"text": text}


if __name__ == "__main__":
    api = Words(api_path="/v1/words", stream=True)
    server = litserve.LitServer(api, accelerator="cpu")
    server.run(port=int(os.environ["PORT"]), generate_client_file=False)
