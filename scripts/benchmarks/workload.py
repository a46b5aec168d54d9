"""The workload: a model file, a digit, a slow picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from urllib3.filepost import encode_multipart_formdata

from benchmarks.peer import ROOT_DIR
from custom_image.mnist import encode_jpeg, load_mnist
from custom_image.training import export_onnx, train_or_load

BOUNDARY = "----digit"
DIGIT = 7


@dataclass(frozen=True)
class Workload:
    """The files of a run, all below one folder.

    Attributes:
        model_path: the ONNX file that every peer serves.
        weights_path: the same weights for torch, as safetensors.
        picture_path: a JPEG of the digit.
        body_path: the multipart body that holds it.
        slow_path: the picture that the shared handler takes three seconds for.
        expected: the digit on the picture, which every peer must answer.
    """

    model_path: Path
    weights_path: Path
    picture_path: Path
    body_path: Path
    slow_path: Path
    expected: int = DIGIT
    content_type: str = f"multipart/form-data; boundary={BOUNDARY}"

    @property
    def body(self) -> bytes:
        """The upload of the digit."""
        return self.body_path.read_bytes()

    @property
    def slow_body(self) -> bytes:
        """The upload of the slow picture."""
        return multipart(self.slow_path.read_bytes(), "slow.jpg")


def multipart(data: bytes, filename: str) -> bytes:
    """Return ``data`` as the one part ``images`` of a multipart/form-data body."""
    return encode_multipart_formdata({"images": (filename, data, "image/jpeg")}, BOUNDARY)[0]


def prepare_workload(folder: Path) -> Workload:
    """Train or load the example's model, export it, and write the pictures into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    digits = load_mnist(cache_dir=ROOT_DIR / "build" / "mnist")
    model = train_or_load(digits, folder=ROOT_DIR / "build" / "model")
    workload = Workload(
        model_path=export_onnx(model, folder / "mnist.onnx", digits).path,
        weights_path=model.weights_path,
        picture_path=folder / "seven.jpg",
        body_path=folder / "seven.multipart",
        slow_path=folder / "slow.jpg",
    )
    workload.picture_path.write_bytes(encode_jpeg(digits.example(DIGIT)))
    workload.body_path.write_bytes(multipart(workload.picture_path.read_bytes(), "seven.jpg"))
    workload.slow_path.write_bytes(encode_jpeg(digits.example(DIGIT, 1)))
    return workload
