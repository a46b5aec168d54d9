"""A model package holds what the platform expects, and promises what the code keeps."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small_digits import small_digits

from custom_image import specification
from custom_image.errors import ModelError, PackageError, UsageError
from custom_image.mnist import Digits
from custom_image.model_config import read_model_config
from custom_image.model_package import (
    SERVICE_FILE,
    ModelPackage,
    generate_config,
    package_model,
    read_package,
)
from custom_image.training import ExportRecord, Metrics, TrainedModel, train_or_load


@pytest.fixture(scope="module")
def digits() -> Digits:
    return small_digits()


@pytest.fixture(scope="module")
def trained(digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> TrainedModel:
    """A weak model, made in a second."""
    return train_or_load(digits, epochs=1, folder=tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def package(
    trained: TrainedModel, digits: Digits, tmp_path_factory: pytest.TempPathFactory
) -> ModelPackage:
    return package_model(trained, digits, folder=tmp_path_factory.mktemp("package"))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_package_is_a_folder_called_model_that_others_may_read(package: ModelPackage):
    assert package.folder.name == "model"
    assert sorted(content(package.folder)) == ["config.json", "customize_service.py", "mnist.onnx"]
    assert stat.S_IMODE(package.folder.stat().st_mode) == 0o755
    assert {stat.S_IMODE(path.stat().st_mode) for path in package.folder.iterdir()} == {0o644}
    assert {path.name for path in package.folder.parent.iterdir()} == {"model", "export.json"}


def test_the_code_of_a_package_is_the_code_of_this_repository(package: ModelPackage):
    assert content(package.folder)["customize_service.py"] == SERVICE_FILE.read_bytes()


def test_a_package_that_is_there_is_taken_as_it_is(package: ModelPackage):
    found = read_package(package.folder)

    assert (found.folder, found.config, found.export) == (package.folder, package.config, None)
    assert "customize_service.py" in str(found)


def test_a_folder_that_is_no_package_says_what_one_is(package: ModelPackage, tmp_path: Path):
    with pytest.raises(PackageError, match=r"found no config\.json.\nA model package holds"):
        read_package(tmp_path / "nowhere")
    with pytest.raises(PackageError, match=r"model has one: name that folder"):
        read_package(package.folder.parent)


def test_a_config_carries_the_measured_metrics(package: ModelPackage, trained: TrainedModel):
    assert package.config == read_model_config(package.folder / "config.json")
    assert package.config.metrics is not None
    assert package.config.metrics.accuracy == trained.metrics.accuracy
    assert package.config.remarks == ()


def test_packaging_again_changes_nothing(
    package: ModelPackage, trained: TrainedModel, digits: Digits
):
    before = {path: path.stat().st_mtime_ns for path in package.folder.iterdir()}

    again = package_model(trained, digits, folder=package.folder.parent)

    assert again == package
    assert {path: path.stat().st_mtime_ns for path in again.folder.iterdir()} == before


def never(*_: object) -> None:
    raise AssertionError("exported again")


def test_unchanged_weights_are_not_exported_again_and_keep_their_figures(
    package: ModelPackage,
    trained: TrainedModel,
    digits: Digits,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("custom_image.training.export_onnx", never)

    again = package_model(trained, digits, folder=package.folder.parent)

    assert again.export == package.export
    assert again.export is not None
    assert (again.export.compared, again.export.disagreements) == (len(digits.test_images), 0)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


CHANGES: dict[str, Callable[[Path], object]] = {
    "the onnx file": lambda folder: flip(folder / "model" / "mnist.onnx"),
    "the onnx file is gone": lambda folder: (folder / "model" / "mnist.onnx").unlink(),
    "the record is gone": lambda folder: (folder / "export.json").unlink(),
    "the record is damaged": lambda folder: (folder / "export.json").write_text("[]"),
    "the record is cut": lambda folder: (folder / "export.json").write_text('{"compared"'),
    "the weights": lambda folder: rewrite(folder, "weights_sha256"),
    "the test digits": lambda folder: rewrite(folder, "digits_sha256"),
    "the exporter": lambda folder: rewrite(folder, "exporter_sha256"),
    "the accuracy": lambda folder: rewrite(folder, "accuracy"),
}


def rewrite(folder: Path, name: str) -> None:
    record = json.loads((folder / "export.json").read_text())
    assert name in record
    (folder / "export.json").write_text(json.dumps({**record, name: "another"}))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_an_export_that_came_from_anything_else_is_made_again(
    package: ModelPackage,
    trained: TrainedModel,
    digits: Digits,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], object],
):
    shutil.copytree(package.folder.parent, tmp_path, dirs_exist_ok=True)
    change(tmp_path)
    monkeypatch.setattr("custom_image.training.export_onnx", never)

    with pytest.raises(AssertionError, match="exported again"):
        package_model(trained, digits, folder=tmp_path)


def test_other_weights_digits_and_packages_are_another_export(
    trained: TrainedModel, digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    first = ExportRecord.of(trained, digits)
    weights_path = tmp_path / "model.safetensors"
    weights_path.write_bytes(trained.weights_path.read_bytes() + b" ")
    others = [
        ExportRecord.of(replace(trained, weights_path=weights_path), digits),
        ExportRecord.of(trained, small_digits(320, 100)),
    ]
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"{name} of tomorrow")
    others.append(ExportRecord.of(trained, digits))

    changed = [
        {name for name, value in asdict(other).items() if value != getattr(first, name)}
        for other in others
    ]
    assert changed == [{"weights_sha256"}, {"digits_sha256"}, {"exporter_sha256"}]


def test_a_package_for_torch_has_the_network_and_its_weights(
    trained: TrainedModel, digits: Digits, tmp_path: Path
):
    package = package_model(trained, digits, runtime="torch", folder=tmp_path)

    files = content(package.folder)
    assert sorted(files) == [
        "config.json",
        "customize_service.py",
        "model.safetensors",
        "network.py",
    ]
    assert files["model.safetensors"] == trained.weights_path.read_bytes()
    assert files["network.py"] == SERVICE_FILE.with_name("network.py").read_bytes()
    assert package.export is None
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_engine_changes_neither_the_code_nor_what_is_promised(
    package: ModelPackage, trained: TrainedModel, digits: Digits, tmp_path: Path
):
    other = package_model(trained, digits, runtime="torch", folder=tmp_path)

    assert other.config == package.config
    assert content(other.folder)["customize_service.py"] == SERVICE_FILE.read_bytes()


def test_weights_of_another_network_do_not_ship_for_torch_either(
    trained: TrainedModel, digits: Digits, tmp_path: Path
):
    path = tmp_path / "model.safetensors"
    save_file({"other": torch.zeros(1)}, path)

    with pytest.raises(ModelError, match="another network"):
        package_model(replace(trained, weights_path=path), digits, runtime="torch", folder=tmp_path)


def test_an_older_package_is_replaced_as_a_whole(
    package: ModelPackage, trained: TrainedModel, digits: Digits, tmp_path: Path
):
    (tmp_path / "model" / "__pycache__").mkdir(parents=True)
    (tmp_path / "model" / "old.onnx").write_bytes(b"old")

    replaced = package_model(trained, digits, folder=tmp_path)

    assert content(replaced.folder) == content(package.folder)
    assert {path.name for path in tmp_path.iterdir()} == {"model", "export.json"}


def test_a_package_that_cannot_be_made_leaves_the_old_one(
    trained: TrainedModel, digits: Digits, tmp_path: Path
):
    old = tmp_path / "package" / "model" / "config.json"
    old.parent.mkdir(parents=True)
    old.write_text("{}", encoding="utf-8")
    gone = TrainedModel(tmp_path / "gone.safetensors", {}, trained.metrics, (), trained=False)

    with pytest.raises(ModelError, match=r"gone.safetensors: the weights cannot be read"):
        package_model(gone, digits, folder=tmp_path / "package")

    assert [path.name for path in (tmp_path / "package").iterdir()] == ["model"]
    assert old.read_text(encoding="utf-8") == "{}"


def test_a_runtime_that_is_not_offered_is_refused(trained: TrainedModel, digits: Digits):
    with pytest.raises(UsageError, match="runtime: expected onnx or torch, found mxnet"):
        package_model(trained, digits, runtime="mxnet")


def test_a_package_shows_its_files_with_sizes_and_reasons(package: ModelPackage):
    lines = str(package).splitlines()

    assert lines[0] == f"{package.folder}/"
    assert [line.split()[:2] for line in lines[1:]] == [
        ["├──", "config.json"],
        ["├──", "customize_service.py"],
        ["└──", "mnist.onnx"],
    ]
    assert " kB  beside the code" in lines[3]
    assert "beside the code" in package._repr_html_()


def test_the_committed_config_is_the_generated_one_but_for_its_metrics():
    committed_path = SERVICE_FILE.with_name("config.json")
    committed = json.loads(committed_path.read_text(encoding="utf-8"))

    generated = json.loads(generate_config(SERVICE_FILE).to_json())

    metrics = committed.pop("metrics")
    assert committed == generated
    assert metrics["accuracy"] >= 0.985
    assert committed_path.read_text(encoding="utf-8") == read_model_config(committed_path).to_json()


SERVICE = """
from model_service.onnx_model_service import OnnxServingBaseService
INPUT_NAME = "photo"
OUTPUT_NAME = "label"
class Service(OnnxServingBaseService):
    def _postprocess(self, data):
        return {OUTPUT_NAME: int(data["logits"].argmax())}
"""


def generate(tmp_path: Path, code: str) -> dict[str, object]:
    path = tmp_path / "customize_service.py"
    path.write_text(code, encoding="utf-8")
    config = generate_config(path, Metrics(0.5, 0.5, 0.5, 0.5))
    (api,) = config.apis
    assert api.request is not None
    assert api.response is not None
    assert api.request.data is not None
    assert api.response.data is not None
    return {**api.request.data["properties"], **api.response.data["properties"]}


@pytest.mark.parametrize(
    ("answer", "schema"),
    [
        ("int(x)", {"type": "integer"}),
        ("float(x)", {"type": "number"}),
        ("str(x)", {"type": "string"}),
        ("x.tolist()", {}),
    ],
)
def test_a_config_is_read_off_the_code(tmp_path: Path, answer: str, schema: dict[str, str]):
    code = SERVICE.replace('int(data["logits"].argmax())', answer)

    assert generate(tmp_path, code) == {"photo": {"type": "file"}, "label": schema}


def test_the_base_class_may_be_named_by_its_module(tmp_path: Path):
    code = SERVICE.replace("(OnnxServing", "(model_service.model_service.PTServing")

    assert "photo" in generate(tmp_path, code)


def test_the_base_may_be_one_of_the_files_own_chosen_by_what_is_there(tmp_path: Path):
    code = SERVICE.replace(
        "from model_service.onnx_model_service import OnnxServingBaseService",
        "try:\n"
        "    from model_service.onnx_model_service import OnnxServingBaseService as Engine\n"
        "except ImportError:\n"
        "    from model_service.model_service import SingleNodeService\n"
        "    class Engine(SingleNodeService): pass",
    ).replace("(OnnxServingBaseService)", "(Engine)")

    assert "photo" in generate(tmp_path, code)


def test_of_a_class_and_its_base_the_class_is_meant(tmp_path: Path):
    code = SERVICE.replace("class Service(OnnxServingBaseService)", "class Service(Base)").replace(
        "class Service", "class Base(OnnxServingBaseService): pass\nclass Service"
    )

    assert "photo" in generate(tmp_path, code)


def test_code_is_read_and_never_run(tmp_path: Path):
    assert "photo" in generate(tmp_path, SERVICE + "\nraise SystemExit('ran')\n")


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("(OnnxServingBaseService)", "", "expected one class .*found none"),
        (
            "class Service",
            "class Other(OnnxServingBaseService): pass\nclass Service",
            "Other, Serv",
        ),
        ("INPUT_NAME =", "INPUT =", "expected a constant INPUT_NAME"),
        ('OUTPUT_NAME = "label"', "OUTPUT_NAME = 7", "expected a constant OUTPUT_NAME"),
        ("def _post", "def :", "line 6: is not Python"),
        ("def _post", "\0", "is not Python"),
    ],
)
def test_code_that_leaves_its_api_open_is_refused(
    tmp_path: Path, before: str, after: str, expected: str
):
    with pytest.raises(PackageError, match=expected) as caught:
        generate(tmp_path, SERVICE.replace(before, after))

    assert str(caught.value).startswith(str(tmp_path / "customize_service.py"))


def test_code_that_is_not_there_is_refused(tmp_path: Path):
    with pytest.raises(PackageError, match="the inference code cannot be read"):
        generate_config(tmp_path / "customize_service.py")


def test_the_health_check_has_the_defaults_of_the_console():
    health = generate_config(SERVICE_FILE).health

    assert health is not None
    assert (health.check_method, health.url) == ("HTTP", specification.HEALTH_URL.value)
    assert json.loads(generate_config(SERVICE_FILE).to_json())["health"] == {
        "check_method": "HTTP",
        "protocol": "http",
        "url": "/health",
        "initial_delay_seconds": "12",
        "period_seconds": "5",
        "failure_threshold": "12",
    }
