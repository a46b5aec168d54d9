"""The base for ONNX models: an engine the platform lacks, which is what custom images are for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from model_service.model_service import SingleNodeService


class OnnxServingBaseService(SingleNodeService):
    """Runs the one ``*.onnx`` file of the package on ONNX Runtime.

    Attributes:
        model_path: the file.
        session: ``onnxruntime.InferenceSession``, one thread.
    """

    def __init__(self, model_name: str, model_path: str) -> None:
        super().__init__(model_name, model_path)
        self.session = open_session(model_path)
        self._inputs = [node.name for node in self.session.get_inputs()]
        self._outputs = [node.name for node in self.session.get_outputs()]

    @classmethod
    def locate(cls, folder: Path, named: str = "") -> str:
        """Return the only ``*.onnx`` file of the folder.

        Raises:
            FileNotFoundError: there is none, or more than one.
        """
        files = sorted(folder.glob("*.onnx"))
        if len(files) != 1:
            found = ", ".join(file.name for file in files) or "none"
            raise FileNotFoundError(f"expected one *.onnx file in {folder}, found {found}")
        return str(files[0])

    def _inference(self, data: Any) -> dict[str, Any]:
        """Run the model on one array, or on input name -> array; return output name -> array."""
        feeds = data if isinstance(data, Mapping) else {self._inputs[0]: data}
        return dict(zip(self._outputs, self.session.run(self._outputs, feeds)))


def open_session(path: str) -> Any:
    """Return an ``onnxruntime.InferenceSession`` that uses one thread, or OMP_NUM_THREADS.

    ONNX Runtime counts the machine's cores, not the cgroup's quota, and ignores OMP_NUM_THREADS:
    https://onnxruntime.ai/docs/performance/tune-performance/threading.html. Workers are the
    parallelism here, so that each gets one thread; a model process has OMP_NUM_THREADS set.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ.get("OMP_NUM_THREADS") or 1)
    options.inter_op_num_threads = 1
    providers = [p for p in onnxruntime.get_available_providers() if not p.startswith("Azure")]
    return onnxruntime.InferenceSession(path, options, providers=providers)
