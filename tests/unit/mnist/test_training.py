"""Training is repeatable; weights are loaded where they fit, and refused in words where not."""

from __future__ import annotations

import json
import logging
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_digits import small_digits

from custom_image.errors import ModelError, UsageError
from custom_image.mnist import Digits, load_mnist
from custom_image.training import Metrics, OnnxExport, TrainedModel, export_onnx, train_or_load
from custom_image.training.export import check_parity
from custom_image.training.loop import epochs_for
from custom_image.training.network import build_network

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def digits() -> Digits:
    return small_digits()


@pytest.fixture(scope="module")
def trained(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    """A weak model, made in a second."""
    return train_or_load(digits, epochs=2, folder=tmp_path_factory.mktemp("trained"))


@pytest.fixture
def folder(trained: TrainedModel, tmp_path: Path) -> Path:
    """A folder with a copy of the trained weights."""
    return shutil.copytree(trained.weights_path.parent, tmp_path / "model")


def test_the_sample_alone_trains_a_model_of_at_least_96_percent(tmp_path: Path):
    model = train_or_load(load_mnist(sample=True), folder=tmp_path)

    assert model.trained
    assert model.metrics.accuracy >= 0.96
    assert model.metadata["epochs"] == "5"


@pytest.mark.parametrize(("pictures", "epochs"), [(60_000, 1), (6_000, 5), (640, 47)])
def test_a_smaller_set_is_seen_more_often(pictures: int, epochs: int):
    assert epochs_for(pictures) == epochs


def test_the_same_seed_gives_the_same_file(digits: Digits, trained: TrainedModel, tmp_path: Path):
    again = train_or_load(digits, epochs=2, folder=tmp_path)

    assert again.weights_path.read_bytes() == trained.weights_path.read_bytes()
    assert again.history == trained.history


def test_another_seed_gives_other_weights_and_disturbs_no_other_random_numbers(
    digits: Digits, trained: TrainedModel, tmp_path: Path
):
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)

    other = train_or_load(digits, epochs=2, seed=8, folder=tmp_path)

    assert torch.equal(torch.rand(1), expected)
    name = "classifier.2.weight"
    assert not torch.equal(
        load_file(other.weights_path)[name], load_file(trained.weights_path)[name]
    )


def test_the_weights_say_what_they_are(digits: Digits, trained: TrainedModel):
    known = trained.metadata

    assert known["data_sha256"] == digits.sha256
    assert (known["seed"], known["epochs"], known["device"]) == ("7", "2", "cpu")
    assert known["torch"] == torch.__version__
    assert float(known["accuracy"]) == trained.metrics.accuracy
    assert json.loads(known["losses"]) == list(trained.history)
    assert trained.history[-1] < trained.history[0]


def test_weights_that_are_there_already_are_loaded(
    digits: Digits, trained: TrainedModel, folder: Path
):
    loaded = train_or_load(digits, epochs=2, folder=folder)

    assert not loaded.trained
    assert replace(loaded, weights_path=trained.weights_path, trained=True) == trained


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"seed": 9}, "seed"),
        ({"epochs": 1}, "epochs"),
        ({"digits": small_digits(320, 200)}, "data_sha256"),
    ],
)
def test_weights_of_another_recipe_are_trained_anew(
    digits: Digits,
    folder: Path,
    change: dict[str, Any],
    reason: str,
    caplog: pytest.LogCaptureFixture,
):
    recipe = {"digits": digits, "epochs": 2} | change

    with caplog.at_level(logging.INFO, "custom_image"):
        model = train_or_load(**recipe, folder=folder)

    assert model.trained
    assert f"of another {reason} and is trained anew" in caplog.text


def test_retrain_replaces_weights_that_would_be_loaded(digits: Digits, folder: Path):
    assert train_or_load(digits, epochs=2, folder=folder, retrain=True).trained


def foreign(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Write weights as somebody else would: the tensors alone."""
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def test_weights_from_elsewhere_are_used_as_they_are(
    digits: Digits, trained: TrainedModel, folder: Path
):
    foreign(folder, lambda tensors: None)
    before = (folder / WEIGHTS).read_bytes()

    model = train_or_load(digits, seed=99, folder=folder)

    assert not model.trained
    assert model.metadata == {}
    assert model.metrics == trained.metrics
    assert (folder / WEIGHTS).read_bytes() == before
    assert "accuracy" in str(model)


def shrink(name: str) -> Callable[[dict[str, torch.Tensor]], object]:
    return lambda tensors: tensors.update({name: tensors[name][:-1].clone()})


FOREIGN = {
    "a wrong shape": (
        shrink("classifier.4.weight"),
        r"classifier.4.weight: expected \(10, 128\) float32, found \(9, 128\) float32",
    ),
    "a missing tensor": (
        lambda tensors: tensors.pop("features.0.bias"),
        r"expected 18 tensors of these names, found 17; missing: features.0.bias",
    ),
    "an unexpected tensor": (
        lambda tensors: tensors.update({"extra": torch.zeros(1)}),
        r"found 19; unexpected: extra",
    ),
    "another network": (
        lambda tensors: [tensors.pop(name) for name in list(tensors)[:12]],
        r"missing: .*, \.\.\.",
    ),
    "double precision": (
        lambda tensors: tensors.update({"features.0.bias": torch.zeros(32).double()}),
        r"expected \(32,\) float32, found \(32,\) float64",
    ),
    "not a number": (
        lambda tensors: tensors.update({"features.0.bias": torch.full((32,), torch.nan)}),
        r"expected finite numbers, found NaN",
    ),
}


@pytest.mark.parametrize(("change", "expected"), FOREIGN.values(), ids=FOREIGN)
def test_weights_of_another_network_are_refused_with_the_difference(
    digits: Digits,
    folder: Path,
    change: Callable[[dict[str, torch.Tensor]], object],
    expected: str,
):
    foreign(folder, change)

    with pytest.raises(ModelError, match=expected) as caught:
        train_or_load(digits, folder=folder)

    assert str(caught.value).startswith(str(folder / WEIGHTS))
    assert len(str(caught.value).splitlines()) <= 3


class Malicious:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (os.fspath(self.path),)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", [WEIGHTS, "model.pt", "model.pth", "weights.pkl"])
def test_a_pickle_is_refused_and_never_run(
    digits: Digits, tmp_path: Path, name: str, protocol: int
):
    trace = tmp_path / "trace"
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / name).write_bytes(pickle.dumps(Malicious(trace), protocol))

    with pytest.raises(ModelError, match=rf"{name}: expected weights as safetensors, found a pick"):
        train_or_load(digits, folder=folder)

    assert not trace.exists()


@pytest.mark.parametrize("name", [WEIGHTS, "model.pth"])
def test_what_torch_saves_is_refused_as_a_pickle(digits: Digits, tmp_path: Path, name: str):
    torch.save(build_network().state_dict(), tmp_path / name)

    with pytest.raises(ModelError, match=r"found a pickle.\n.*save_file|found a pickle"):
        train_or_load(digits, folder=tmp_path)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[:-1000],
    "cut in the header": lambda content: content[:100],
    "empty": lambda content: b"",
    "text": lambda content: b"version https://git-lfs.github.com/spec/v1\n",
    "a header of exabytes": lambda content: b"\xff" * 7 + b"\x00" + content,
    "without its numbers": lambda content: content.replace(b'"accuracy"', b'"accuracx"'),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_weights_are_refused_in_words(
    digits: Digits, folder: Path, damage: Callable[[bytes], bytes]
):
    path = folder / WEIGHTS
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(ModelError, match="retrain=True") as caught:
        train_or_load(digits, epochs=2, folder=folder)

    assert str(caught.value).startswith(f"{path}: expected ")


def test_a_folder_in_the_place_of_the_weights_is_refused(digits: Digits, tmp_path: Path):
    (tmp_path / WEIGHTS).mkdir()

    with pytest.raises(ModelError, match="cannot be read"):
        train_or_load(digits, folder=tmp_path)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({"device": "tpu"}, "device: expected auto or cpu"), ({"epochs": -1}, "epochs: expected 0")],
)
def test_settings_that_cannot_be_used_are_refused(
    digits: Digits, tmp_path: Path, settings: dict[str, Any], expected: str
):
    with pytest.raises(UsageError, match=expected):
        train_or_load(digits, folder=tmp_path, **settings)


def test_metrics_are_those_of_the_definition():
    labels = np.array([0, 0, 1, 1, *range(2, 10)], np.uint8)
    predicted = np.array([0, 1, 1, 1, *range(2, 10)], np.uint8)

    metrics = Metrics.measure(labels, predicted)

    assert metrics == Metrics(
        accuracy=round(11 / 12, 6),
        precision=round((1 + 2 / 3 + 8) / 10, 6),
        recall=round((1 / 2 + 1 + 8) / 10, 6),
        f1=round((2 / 3 + 4 / 5 + 8) / 10, 6),
    )


def test_a_model_shows_its_metrics_as_text_and_as_a_table(trained: TrainedModel):
    percent = f"{100 * trained.metrics.accuracy:.2f} %"

    assert f"accuracy    {percent}" in str(trained)
    assert "2 epochs, seed 7" in str(trained)
    assert percent in trained._repr_html_()


@pytest.fixture(scope="module")
def exported(
    trained: TrainedModel, digits: Digits, tmp_path_factory: pytest.TempPathFactory
) -> OnnxExport:
    return export_onnx(trained, tmp_path_factory.mktemp("onnx") / "mnist.onnx", digits)


def test_the_onnx_model_names_the_same_digits(exported: OnnxExport, digits: Digits):
    assert (exported.disagreements, exported.compared) == (0, len(digits.test_images))
    assert 0 < exported.largest_difference < 1e-3
    assert "largest difference" in str(exported)


@pytest.mark.parametrize("pictures", [1, 7])
def test_the_onnx_model_takes_any_number_of_pictures(
    exported: OnnxExport, digits: Digits, pictures: int
):
    session = onnxruntime.InferenceSession(exported.path)
    (given,), (answer,) = session.get_inputs(), session.get_outputs()
    images = digits.test_images[:pictures, np.newaxis].astype(np.float32) / 255

    (logits,) = session.run(["logits"], {"images": images})

    assert (given.name, given.type, given.shape[1:]) == ("images", "tensor(float)", [1, 28, 28])
    assert (answer.name, answer.shape[1:]) == ("logits", [10])
    assert logits.shape == (pictures, 10)


def test_the_onnx_model_is_one_file_that_names_nothing_of_this_machine(exported: OnnxExport):
    content = exported.path.read_bytes()

    assert [path.name for path in exported.path.parent.iterdir()] == ["mnist.onnx"]
    assert b"site-packages" not in content
    assert os.fspath(Path(__file__).parents[3]).encode() not in content
    properties = {entry.key for entry in onnx.load(exported.path).metadata_props}
    assert properties == {"accuracy", "weights_sha256"}


def test_the_last_onnx_runtime_for_python_3_7_reads_the_onnx_model(exported: OnnxExport):
    """Source: https://onnxruntime.ai/docs/reference/compatibility.html (1.14: opset 18, IR 8)."""
    model = onnx.load(exported.path)

    assert model.ir_version <= 8
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]


def test_another_process_exports_the_same_bytes(
    trained: TrainedModel, exported: OnnxExport, tmp_path: Path
):
    path = tmp_path / "again.onnx"
    code = (
        "import sys; from small_digits import small_digits; from custom_image.training import *\n"
        "model = train_or_load(small_digits(), epochs=2, folder=sys.argv[1])\n"
        "assert not model.trained; export_onnx(model, sys.argv[2], small_digits())"
    )

    run = subprocess.run(
        [sys.executable, "-c", code, trained.weights_path.parent, path],
        env={**os.environ, "PYTHONPATH": os.fspath(Path(__file__).parents[2] / "support")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert path.read_bytes() == exported.path.read_bytes()


def test_an_onnx_model_that_answers_otherwise_is_refused(exported: OnnxExport, digits: Digits):
    torch.manual_seed(3)
    other = build_network().eval()

    with pytest.raises(ModelError, match=r"mnist.onnx: expected the same digits.* all 200 test"):
        check_parity(other, exported.path.read_bytes(), exported.path, digits)
