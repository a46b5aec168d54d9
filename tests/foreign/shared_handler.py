"""What every foreign server is given to serve: picture bytes in, digit out, by ONNX Runtime."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image


class Classifier:
    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        path = Path(__file__).with_name("mnist.onnx")
        self.session = onnxruntime.InferenceSession(str(path), options)

    def predict(self, data: bytes) -> int:
        with Image.open(io.BytesIO(data)) as picture:
            small = np.asarray(picture.convert("L").resize((28, 28)), dtype=np.float32) / 255
        (logits,) = self.session.run(None, {"images": small[None, None]})
        return int(logits.argmax())
