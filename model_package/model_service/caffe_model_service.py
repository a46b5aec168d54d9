"""The platform's base class for Caffe, under the platform's import name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from model_service.engines import AbsentEngineService


class CaffeBaseService(AbsentEngineService):
    """Runs ``self.net``, made of the ``*.prototxt`` and the ``*.caffemodel`` of the package.

    Attributes:
        net: ``caffe.Net`` in its test phase; ``_preprocess`` fills its input, as on the platform.
    """

    engine, engine_module = "Caffe", "caffe"

    def __init__(self, model_name: str, model_path: str) -> None:
        super().__init__(model_name, model_path)
        import caffe  # type: ignore[import-not-found, import-untyped, unused-ignore]

        (network,) = sorted(Path(model_path).glob("*.prototxt"))
        (weights,) = sorted(Path(model_path).glob("*.caffemodel"))
        self.net: Any = caffe.Net(str(network), str(weights), caffe.TEST)

    def _inference(self, data: Any) -> Any:
        """Return output name -> array; the input lies in ``self.net.blobs`` already."""
        return self.net.forward()
