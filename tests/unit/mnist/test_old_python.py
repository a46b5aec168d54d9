"""The model package keeps to what preset images can run: they bring a Python of 2018."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from environments import make_pypy, need, run, virtual_environment
from PIL import Image
from small_digits import small_digits

from custom_image.mnist import encode_jpeg
from custom_image.mnist.digits import Pixels
from custom_image.training import train_or_load
from custom_image.training.export import export_onnx

MODEL = Path(__file__).parents[3] / "model_package" / "model"
FILES = sorted(MODEL.glob("*.py"))
OLDEST = (3, 7)

# The platform's own model_service, as far as its specification tells it, and what comes of a
# picture by the package's code, from the constructor's import on.
ASK = """
import io, json, sys, types

base = types.ModuleType("model_service.model_service")

class SingleNodeService:
    def __init__(self, model_name, model_path):
        self.model_name, self.model_path = model_name, model_path

base.SingleNodeService = SingleNodeService
sys.modules["model_service"] = types.ModuleType("model_service")
sys.modules["model_service.model_service"] = base
sys.path.insert(0, sys.argv[1])

from customize_service import MnistService

service = MnistService.__new__(MnistService)  # without ONNX Runtime, which PyPy does not have
results = []
for name in sys.argv[2:]:
    with open(name, "rb") as file:
        data = service._preprocess({"images": {"picture": io.BytesIO(file.read())}})
    results.append([data.shape, str(data.dtype), data.ravel().tolist()])
answer = service._postprocess({"logits": [[0.0, 0.5, 3.0]]})
print(json.dumps({"version": sys.version_info[:2], "results": results, "answer": answer}))
"""


def vermin(path: Path) -> subprocess.CompletedProcess[str]:
    """Ask for the oldest Python that has all of a file's syntax, modules, members and options."""
    command = [Path(sys.executable).with_name("vermin"), "--no-tips", "--violations", "-t=3.7-"]
    return subprocess.run([*command, path], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_ships_in_the_package_has_the_syntax_and_the_library_of_python_3_7(path: Path):
    ast.parse(path.read_text(), feature_version=OLDEST)
    found = vermin(path)

    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize(
    "line",
    [
        "if (n := 1): pass",
        "def f(a, /): pass",
        "print(f'{1=}')",
        "import functools; functools.cached_property",
        "from importlib import metadata",
        "import math; math.prod([1])",
    ],
)
def test_what_came_later_is_found(line: str, tmp_path: Path):
    path = tmp_path / "customize_service.py"
    path.write_text((MODEL / "customize_service.py").read_text() + f"\n{line}\n")

    assert vermin(path).returncode == 1


def pictures(folder: Path) -> list[str]:
    """Write one picture of each kind that the code treats otherwise; return their names."""
    digits = small_digits()
    (folder / "small.jpg").write_bytes(encode_jpeg(digits.example(7)))
    on_paper = Image.new("L", (300, 200), 235)
    on_paper.paste(Image.fromarray(255 - digits.example(3)).resize((120, 120)), (150, 30))
    on_paper.convert("RGB").save(folder / "photo.jpg")
    on_paper.convert("P").save(folder / "palette.png")
    Image.fromarray(np.asarray(on_paper).astype(np.uint16) * 257).save(folder / "deep.png")
    Image.merge("LA", [Image.new("L", (28, 28)), Image.fromarray(digits.example(5))]).save(
        folder / "clear.png"
    )
    return sorted(os.fspath(path) for path in folder.iterdir())


def asked(*command: str | Path, folder: Path, **options: object) -> tuple[list[int], list[Pixels]]:
    """Return the version that ran the package's code, and what it made of the pictures."""
    found = json.loads(run(*command, "-c", ASK, MODEL, *pictures(folder), **options))
    assert found["answer"] == {"mnist_result": 2}
    assert {(tuple(shape), dtype) for shape, dtype, _ in found["results"]} == {
        ((1, 1, 28, 28), "float32")
    }
    return found["version"], [np.array(values) for *_, values in found["results"]]


def test_the_oldest_python_that_can_be_had_runs_it_alike(
    tmp_path: Path, request: pytest.FixtureRequest
):
    """Debian's PyPy is a Python 3.9; nothing older is in a registry that this project uses."""
    folder = need("pypy", make_pypy, request.config)
    (library,) = folder.rglob("libpypy3*.so")
    environment = {"LD_LIBRARY_PATH": f"{library.parent}", "PYTHONPATH": f"{folder / 'site'}"}

    _, expected = asked(sys.executable, folder=tmp_path)
    version, found = asked(folder / "usr/bin/pypy3", folder=tmp_path, env=environment)

    assert version == [3, 9]
    # Another Pillow may decode a JPEG, or scale it, to a value of 255 more or less.
    assert max(np.abs(a - b).max() for a, b in zip(expected, found, strict=True)) < 3 / 255


def test_an_onnx_runtime_of_2023_gives_the_same_logits(
    tmp_path: Path, request: pytest.FixtureRequest
):
    """1.15 is the oldest for this Python, one after the last for Python 3.7."""
    packages = ["onnxruntime==1.15.0", "numpy<2"]
    folder = need("onnxruntime-1.15", virtual_environment(*packages), request.config)
    digits = small_digits()
    model = train_or_load(digits, epochs=1, folder=tmp_path)
    export = export_onnx(model, tmp_path / "mnist.onnx", digits)
    images = digits.test_images[:, np.newaxis].astype(np.float32) / 255
    np.save(tmp_path / "images.npy", images)
    code = (
        "import sys, numpy, onnxruntime\n"
        "session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])\n"
        "logits = session.run(['logits'], {'images': numpy.load(sys.argv[2])})[0]\n"
        "print(onnxruntime.__version__, *logits.argmax(axis=1))"
    )

    answer = run(folder / "bin/python", "-c", code, export.path, tmp_path / "images.npy")

    version, *found = answer.split()
    session = onnxruntime.InferenceSession(export.path)
    (logits,) = session.run(["logits"], {"images": images})
    assert version == "1.15.0"
    assert [int(digit) for digit in found] == logits.argmax(axis=1).tolist()
