"""An ONNX model of one layer, for tests that need a model and no training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_linear_model(path: Path, weights: np.ndarray) -> None:
    """Write an ONNX model ``images`` (n, 1, 28, 28) -> ``logits`` (n, 10), or whatever fits."""
    size, classes = weights.shape[0] - 1, weights.shape[1]
    side = int(size**0.5)
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["images"], ["pixels"]),
            helper.make_node("Gemm", ["pixels", "weights", "bias"], ["logits"]),
        ],
        "linear",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 1, side, side])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", classes])],
        [
            numpy_helper.from_array(weights[:-1].astype(np.float32), "weights"),
            numpy_helper.from_array(weights[-1].astype(np.float32), "bias"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
