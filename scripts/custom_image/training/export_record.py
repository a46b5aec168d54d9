"""A record of an ONNX file's origin, so that it is exported and compared only once."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

from custom_image.mnist import Digits
from custom_image.training.export import OnnxExport
from custom_image.training.model import TrainedModel
from custom_image.training.network import NETWORK_FILE

# Another version of one of these may write, or compute, something else.
_PACKAGES: Final = ("torch", "onnx", "onnxscript", "onnx-ir", "onnxruntime", "numpy")
_FIGURES: Final = ("largest_difference", "disagreements", "compared")


@dataclass(frozen=True)
class ExportRecord:
    """All that an export and its comparison depend on.

    Attributes:
        weights_sha256: of the weights' file.
        accuracy: which the ONNX file repeats.
        digits_sha256: of the digits it was compared on.
        exporter_sha256: of the code that exports, the network's source, and the versions of the
            packages they use.
    """

    weights_sha256: str
    accuracy: float
    digits_sha256: str
    exporter_sha256: str

    @classmethod
    def of(cls, model: TrainedModel, digits: Digits) -> Self:
        """Tell what an export of ``model``, compared on ``digits``, would depend on.

        Raises:
            ModelError: the weights cannot be read.
        """
        exporter = hashlib.sha256(Path(__file__).with_name("export.py").read_bytes())
        exporter.update(NETWORK_FILE.read_bytes())
        for name in _PACKAGES:
            exporter.update(f"{name} {importlib.metadata.version(name)}\n".encode())
        return cls(
            model.weights_sha256(), model.metrics.accuracy, digits.sha256, exporter.hexdigest()
        )

    def write(self, export: OnnxExport, path: Path) -> None:
        """Note at ``path`` what ``export`` came from, the bytes it has, and how it compared."""
        figures = {name: getattr(export, name) for name in _FIGURES}
        record = {**asdict(self), "onnx_sha256": _sha256(export.path), **figures}
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")

    def find(self, onnx_path: Path, path: Path) -> OnnxExport | None:
        """Return the export at ``onnx_path`` where ``path`` notes that it came from the same.

        None where anything differs, the bytes of the file included.
        """
        try:
            noted: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            wanted = {**asdict(self), "onnx_sha256": _sha256(onnx_path)}
            figures = {name: noted.pop(name) for name in _FIGURES}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None  # gone, or no such record: export again
        return OnnxExport(onnx_path, **figures) if noted == wanted else None


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
