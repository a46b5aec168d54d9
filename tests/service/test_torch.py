"""torch packages are served by the platform's base class, by the torch of this environment."""

from __future__ import annotations

import io

import torch
from PIL import Image
from runtime import EXAMPLE_SERVICE, MNIST_CONFIG, json_api, multipart, upload, write_package
from safetensors.torch import save_file

from custom_image.mnist import encode_jpeg
from custom_image.training.network import NETWORK_FILE, build_network

# The shape of the platform's own PyTorch sample: weights beside the code, several pictures a part,
# one batch of them, and labels by number.
PICTURES_BY_TORCH = """
import numpy as np
import torch
from PIL import Image
from model_service.pytorch_model_service import PTServingBaseService

class Vision(PTServingBaseService):
    def __init__(self, model_name, model_path):
        super(Vision, self).__init__(model_name, model_path)
        self.model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
        self.model.load_state_dict(torch.load(model_path, weights_only=True))
        self.model.eval()
        self.label = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]

    def _preprocess(self, data):
        preprocessed_data = {}
        for k, v in data.items():
            batch = []
            for file_name, file_content in v.items():
                with Image.open(file_content) as image:
                    gray = np.asarray(image.convert("L"), dtype="float32") / 255
                batch.append(torch.from_numpy(gray))
            preprocessed_data[k] = torch.stack(batch, dim=0)
        return preprocessed_data

    def _postprocess(self, data):
        return {k: [self.label[row.argmax()] for row in v] for k, v in data.items()}
"""

THREADS = """
import os
import torch
from model_service.pytorch_model_service import PTServingBaseService

class Threads(PTServingBaseService):
    def __init__(self, model_name, model_path):
        super().__init__(model_name, model_path)
        self.model = torch.nn.Linear(512, 512)

    def _preprocess(self, data):
        return {"x": torch.ones(256, 512)}

    def _postprocess(self, data):
        assert data["x"].is_inference()
        before = len(os.listdir("/proc/self/task"))
        for _ in range(20):
            self.model(torch.ones(256, 512))
        grown = len(os.listdir("/proc/self/task")) - before
        return {"threads": torch.get_num_threads(), "grown": grown}
"""

CONFIG = {"model_type": "Image", "apis": [json_api()]}


def test_torch_asks_a_batch_of_pictures_as_the_platforms_sample_does(
    start, tmp_path, linear_weights, some_digits, profile
):
    package = write_package(tmp_path / "package", PICTURES_BY_TORCH, MNIST_CONFIG)
    weights = torch.from_numpy(linear_weights).float()
    state = {"1.weight": weights[:-1].T.contiguous(), "1.bias": weights[-1]}
    torch.save(state, package / "model.pth")
    runtime = start(package, MODEL_SERVER=profile, WORKERS="1").wait_until_ready(60)
    pictures = [
        ("images", f"{digit}.jpg", encode_jpeg(picture)) for digit, picture in some_digits.items()
    ]

    assert runtime.post(multipart(*pictures)).json == {"images": list(range(10))}


def test_torch_uses_one_thread_a_worker_whatever_the_machine_has(start, tmp_path):
    package = write_package(tmp_path / "package", THREADS, CONFIG)

    runtime = start(package, WORKERS="1").wait_until_ready(60)

    assert runtime.post_json({}).json == {"threads": 1, "grown": 0}


def test_whoever_sets_the_threads_gets_them(start, tmp_path):
    package = write_package(tmp_path / "package", THREADS, CONFIG)

    runtime = start(package, WORKERS="1", OMP_NUM_THREADS="2").wait_until_ready(60)

    assert runtime.post_json({}).json["threads"] == 2


def test_the_example_packaged_for_torch_answers_as_its_network(
    start, tmp_path, some_digits, profile
):
    package = write_package(tmp_path / "package", EXAMPLE_SERVICE.read_text(), MNIST_CONFIG)
    (package / "network.py").write_bytes(NETWORK_FILE.read_bytes())
    torch.manual_seed(0)
    network = build_network().eval()
    save_file(network.state_dict(), package / "model.safetensors")
    runtime = start(package, MODEL_SERVER=profile, WORKERS="1").wait_until_ready(60)

    for picture in some_digits.values():
        png = io.BytesIO()
        Image.fromarray(picture).save(png, "PNG")
        answer = runtime.post(upload(png.getvalue()))
        with torch.no_grad():
            logits = network(torch.from_numpy(picture / 255.0).float().reshape(1, 1, 28, 28))
        assert answer.json == {"mnist_result": int(logits.argmax())}
