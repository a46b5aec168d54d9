"""TensorFlow SavedModels are served by the platform's base class, on a TensorFlow of their own."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from environments import RUNTIME, need, pinned, run, virtual_environment
from runtime import MNIST_CONFIG, json_api, multipart, write_package

from custom_image.mnist import encode_jpeg

PLAIN = """
import os
from model_service.tfserving_model_service import TfServingBaseService

class Plain(TfServingBaseService):
    def _postprocess(self, data):
        digits = [row.index(max(row)) for row in data["logits"]]
        paths = [f"/proc/self/task/{task}/comm" for task in os.listdir("/proc/self/task")]
        names = [open(path).read().strip() for path in paths]
        return {"digits": digits, "threads": names.count("tf_Compute")}
"""

# The shape of the platform's own sample: TensorFlow at the top of the file, a constructor that
# calls no super() and loads in a thread, the signature by name, several pictures a part.
SAMPLE = """
import logging
import threading
import numpy as np
import tensorflow as tf
from PIL import Image
from model_service.tfserving_model_service import TfServingBaseService

logger = logging.getLogger(__name__)

class mnist_service(TfServingBaseService):
    def __init__(self, model_name, model_path):
        self.model_name = model_name
        self.model_path = model_path
        self.model = None
        self.predict = None
        thread = threading.Thread(target=self.load_model)
        thread.start()

    def load_model(self):
        self.model = tf.saved_model.load(self.model_path)
        names = list(self.model.signatures.keys())
        name = names[0] if len(names) == 1 else tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
        logger.warning("signature %s", name)
        self.predict = self.model.signatures[name]

    def _preprocess(self, data):
        images = []
        for k, v in data.items():
            for file_name, file_content in v.items():
                image = Image.open(file_content)
                image = np.array(image.convert("L"), dtype=np.float32) / 255
                image.resize((28, 28, 1))
                images.append(image)
        images = tf.convert_to_tensor(images, dtype=tf.dtypes.float32)
        return images

    def _inference(self, data):
        return self.predict(images=data)

    def _postprocess(self, data):
        return {"mnist_result": tf.argmax(data["logits"], axis=1)}
"""

SAVE = """
import sys
import numpy as np
import tensorflow as tf

weights = np.load(sys.argv[1]).astype("float32")

class Digits(tf.Module):
    def __init__(self):
        self.weights = tf.Variable(weights[:-1])
        self.bias = tf.Variable(weights[-1])

    @tf.function(input_signature=[tf.TensorSpec([None, 28, 28, 1], tf.float32, name="images")])
    def ask(self, images):
        return {"logits": tf.reshape(images, [-1, 784]) @ self.weights + self.bias}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="names")])
    def other(self, names):
        return {"length": tf.strings.length(names)}

digits = Digits()
signatures = {"a_first_of_another_kind": digits.other, "serving_default": digits.ask}
tf.saved_model.save(digits, sys.argv[2], signatures=signatures)
"""


@pytest.fixture(scope="module")
def python(request) -> Path:
    packages = ["tensorflow-cpu==2.21.0", *pinned(*RUNTIME)]
    folder = need("tensorflow", virtual_environment(*packages), request.config)
    return folder / "bin" / "python3"


@pytest.fixture(scope="module")
def saved(python, linear_weights, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tensorflow")
    np.save(folder / "weights.npy", linear_weights)
    run(python, "-c", SAVE, folder / "weights.npy", folder / "model")
    return folder / "model"


@pytest.fixture
def saved_model(saved, tmp_path) -> Path:
    """The linear model of the digits as TensorFlow saves it, beside a signature of another kind."""
    return shutil.copytree(saved, tmp_path / "package")


@pytest.fixture
def start_on_tensorflow(start, python):
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    return lambda package, **settings: start(package, WORKERS="1", PATH=path, **settings)


def test_the_base_class_alone_serves_a_saved_model_with_one_thread(
    start_on_tensorflow, saved_model, some_digits, profile
):
    config = {"model_type": "Image", "apis": [json_api(images={"type": "array"})]}
    package = write_package(saved_model, PLAIN, config)
    # Numbers as JSON has them: whole ones too, which the signature takes as float32.
    pictures = [(picture > 127).astype(int)[..., None].tolist() for picture in some_digits.values()]
    (package / "warm_up.json").write_text(json.dumps({"images": pictures[:1]}))
    runtime = start_on_tensorflow(package, MODEL_SERVER=profile).wait_until_ready(60)

    answer = runtime.post_json({"images": pictures}).json

    assert sum(digit == found for digit, found in enumerate(answer["digits"])) >= 9
    assert answer["threads"] == 1


def test_the_platforms_own_sample_is_served_unchanged(
    start_on_tensorflow, saved_model, some_digits, profile
):
    package = write_package(saved_model, SAMPLE, MNIST_CONFIG)
    runtime = start_on_tensorflow(package, MODEL_SERVER=profile).wait_until_ready(60)
    pictures = [
        ("images", f"{digit}.jpg", encode_jpeg(picture)) for digit, picture in some_digits.items()
    ]

    assert runtime.post(multipart(*pictures)).json == {"mnist_result": list(range(10))}
