"""A trained model as one ONNX file, and the proof that it answers like the original."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from custom_image.errors import ModelError
from custom_image.files import write_whole
from custom_image.mnist import Digits
from custom_image.training.loop import predict
from custom_image.training.model import TrainedModel

INPUT_NAME: Final = "images"
OUTPUT_NAME: Final = "logits"
# Read by every ONNX Runtime since 1.14 (2023), the last one for Python 3.7: preset images are old.
# Source: https://onnxruntime.ai/docs/reference/compatibility.html
OPSET: Final = 18
IR_VERSION: Final = 8
_BATCH_SIZE: Final = 1000
_CHATTY: Final = ("torch.onnx._internal.exporter._registration", "onnx_ir", "onnxscript")


@dataclass(frozen=True, repr=False)
class OnnxExport:
    """An ONNX file that was compared with the network it came from.

    Attributes:
        largest_difference: between any two logits of the two.
        disagreements: pictures on which they name different digits.
        compared: pictures.
    """

    path: Path
    largest_difference: float
    disagreements: int
    compared: int

    def __str__(self) -> str:
        size_kb = self.path.stat().st_size / 1000
        return (
            f"{self.path} ({size_kb:,.0f} kB): the same digit as torch on {self.compared:,} "
            f"pictures, largest difference of a logit {self.largest_difference:.1e}"
        )

    __repr__ = __str__


def export_onnx(model: TrainedModel, path: str | Path, digits: Digits) -> OnnxExport:
    """Write ``model`` as one ONNX file and compare the two on all test digits.

    The input ``images`` is (n, 1, 28, 28) float32 from 0 to 1 and the output ``logits`` (n, 10),
    for any n. The same weights give the same bytes.

    Raises:
        ModelError: the weights cannot be loaded, or the two disagree on a digit.
    """
    path = Path(path)
    network = model.load_network()
    content = _export(network, _properties(model))
    export = check_parity(network, content, path, digits)
    write_whole(path, content)
    return export


def check_parity(network: nn.Module, content: bytes, path: Path, digits: Digits) -> OnnxExport:
    """Compare the ONNX model in ``content`` with ``network``; ``path`` names it in messages.

    Raises:
        ModelError: they name different digits, or ``content`` answers something else than numbers.
    """
    expected = predict(network, digits.test_images)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    images = digits.test_images[:, np.newaxis].astype(np.float32) / 255
    parts = [
        session.run([OUTPUT_NAME], {INPUT_NAME: images[start : start + _BATCH_SIZE]})[0]
        for start in range(0, len(images), _BATCH_SIZE)
    ]
    found = np.concatenate(parts)
    differing = np.flatnonzero(expected.argmax(axis=1) != found.argmax(axis=1))
    difference = float(np.abs(expected - found).max())
    if len(differing) or not np.isfinite(difference):
        first = f"; the first is test picture {differing[0]}" if len(differing) else ""
        raise ModelError(
            f"{path}: expected the same digits from torch and from ONNX Runtime on all "
            f"{len(images):,} test pictures, found {len(differing):,} different{first}.\n"
            f"Largest difference of a logit: {difference:.2g}. Nothing was written; report this "
            "with the versions of torch, onnx and onnxruntime."
        )
    return OnnxExport(path, difference, len(differing), len(images))


def _properties(model: TrainedModel) -> dict[str, str]:
    return {"accuracy": str(model.metrics.accuracy), "weights_sha256": model.weights_sha256()}


def _export(network: nn.Module, properties: dict[str, str]) -> bytes:
    example = torch.zeros(2, 1, 28, 28)
    with _quiet():
        program = torch.onnx.export(
            network,
            (example,),
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            opset_version=OPSET,
            dynamic_shapes=({0: torch.export.Dim("n")},),
            external_data=False,
            verbose=False,
            dynamo=True,
        )
    assert program is not None
    return _without_traces(program.model_proto, properties)


def _without_traces(model: onnx.ModelProto, properties: dict[str, str]) -> bytes:
    """Drop what the exporter notes about this machine, such as paths of source files."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("value_info")
    # What later versions added, eight-bit floats and overloaded functions, is not in here.
    model.ir_version = IR_VERSION
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model)
    serialized: bytes = model.SerializeToString(deterministic=True)
    return serialized


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporter says of its own deprecations, steps, and missing torchvision."""
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
