# /// script
# dependencies = [
#   "torch==2.13.0", "safetensors==0.8.0", "flask==3.1.3", "gunicorn==27.0.1", "gevent==26.9.0",
# ]
#
# [tool.serving]
# title = "The platform's recipe"
# versions_of = ["gunicorn", "gevent", "torch"]
# command = ["sh", "{peers}/platform_recipe.sh"]
# predict = "/"
# health = "/health"
#
# [tool.serving.environment]
# DRAIN_SECONDS = "{drain_s}"
#
# [tool.serving.variants.as-written]
#
# [tool.serving.variants.one-thread]
# environment = { OMP_NUM_THREADS = "1" }
#
# [tool.serving.files]
# "network.py" = "{root}/model_package/model/network.py"
# ///
"""What the specification page tells an author to do: Flask, gunicorn, gevent, torch, one worker.

The weights are those of the ONNX file. The page does not set torch's threads, which get into each
other's way; the second row sets them, to show how much of the distance that is.

Source: https://support.huaweicloud.com/docker-modelarts/modelarts_23_0219.html
"""

from __future__ import annotations

import os

import torch
from flask import Flask, Response, jsonify, request
from network import DigitNetwork
from safetensors.torch import load_file
from shared_handler import decode

network = DigitNetwork().eval()
network.load_state_dict(load_file(os.environ["WEIGHTS_FILE"]))
app = Flask(__name__)


@app.post("/")
def predict() -> Response:
    pixels = torch.from_numpy(decode(request.files["images"].read()))
    with torch.no_grad():
        return jsonify(mnist_result=int(network(pixels).argmax()))


@app.get("/health")
def health() -> Response:
    return jsonify(health="true")
