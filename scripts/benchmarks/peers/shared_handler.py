"""The handler that every peer serves: picture bytes in, digit out.

It runs in the peer's own environment and imports nothing of this project, so that all rows of the
table differ in the server alone. The platform's recipe replaces ONNX Runtime by torch (see
platform_recipe.py) and keeps the rest.
"""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_slow_file = os.environ.get("SLOW_FILE", "")
SLOW_PICTURE = Path(_slow_file).read_bytes() if _slow_file else None
SLOW_SECONDS = 3.0


def decode(data: bytes) -> NDArray[np.float32]:
    """Return the picture as (1, 1, 28, 28) float32 in [0, 1]."""
    if data == SLOW_PICTURE:
        # One mechanism for every server: this picture, and no header or path, is what takes long.
        Path(f"{_slow_file}.started.{os.environ['PORT']}").touch()
        time.sleep(SLOW_SECONDS)
    with Image.open(io.BytesIO(data)) as picture:
        small = picture.convert("L").resize((28, 28))
    return (np.asarray(small, dtype=np.float32) / 255.0)[None, None]


class Classifier:
    """The ONNX file named by MODEL_FILE, one thread a process, as every peer loads it at start.

    INTRA_OP_THREADS is for the comparison of this project's own settings alone.
    """

    def __init__(self) -> None:
        # torch is all that the platform's recipe needs: nobody pays for an engine it does not use.
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("INTRA_OP_THREADS", "1"))
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            os.environ["MODEL_FILE"], options, providers=["CPUExecutionProvider"]
        )
        self.input = self.session.get_inputs()[0].name

    def predict_bytes(self, data: bytes) -> int:
        """Return the digit on a picture.

        Raises:
            PIL.UnidentifiedImageError: the bytes are not a picture; what the client is then told is
                the server's own business, and part of the comparison.
        """
        return self.predict_pixels(decode(data))

    def predict_pixels(self, pixels: NDArray[np.float32]) -> int:
        """Return the digit on a decoded picture."""
        (scores,) = self.session.run(None, {self.input: pixels})
        return int(scores.argmax())
