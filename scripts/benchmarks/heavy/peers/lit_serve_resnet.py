"""The network of gpu.py by LitServe in batches: `lit_serve_resnet.py PORT PACKAGE BATCH_SIZE`."""

# No postponed annotations: LitServe tells a form from a JSON body by that of `request`.
import sys

import litserve
from fastapi import Request


class Pictures(litserve.LitAPI):
    """The three steps of the same package."""

    def setup(self, device):
        import torch

        sys.path.insert(0, sys.argv[2])
        from customize_service import ResNet

        self.join = torch.cat
        self.service = ResNet("model", sys.argv[2])

    def decode_request(self, request: Request):
        return self.service._preprocess({"images": {"a.jpg": request["images"].file}})

    def batch(self, inputs):
        return self.join(inputs)

    def predict(self, pictures):
        return self.service._inference(pictures)

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        return self.service._postprocess([output])


if __name__ == "__main__":
    api = Pictures(api_path="/", max_batch_size=int(sys.argv[3]), batch_timeout=0.005)
    server = litserve.LitServer(api, accelerator="auto", workers_per_device=1)
    server.run(port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
