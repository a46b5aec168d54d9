"""A trained model to a ModelArts model package: weights, inference code, and config.json.

config.json is derived from the inference code and from what was measured, so that it cannot
promise an api the code does not have. The code is read, never imported: that would need its engine.
"""

from __future__ import annotations

import ast
import shutil
import tempfile
from dataclasses import asdict, dataclass, replace
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from custom_image import specification
from custom_image.errors import PackageError, UsageError
from custom_image.model_config import (
    Api,
    Body,
    Health,
    Metrics,
    ModelConfig,
    parse_model_config,
    read_model_config,
)
from custom_image.python_source import parse_source
from custom_image.settings import project_files

if TYPE_CHECKING:
    from custom_image.mnist import Digits
    from custom_image.training import Metrics as Measured
    from custom_image.training import OnnxExport, TrainedModel

MODEL_ALGORITHM: Final = "image_classification"
MODEL_FOLDER: Final = project_files() / "model_package" / "model"
SERVICE_FILE: Final = MODEL_FOLDER / "customize_service.py"
RUNTIMES: Final = ("onnx", "torch")
ONNX_NAME: Final = "mnist.onnx"
NETWORK_NAME: Final = "network.py"
WEIGHTS_NAME: Final = "model.safetensors"
# What is known of the ONNX file beside the package; it does not ship.
EXPORT_RECORD: Final = "export.json"
# The classes an inference service may derive from, in the package model_service.
BASE_CLASSES: Final = (
    "OnnxServingBaseService",
    "PTServingBaseService",
    "TfServingBaseService",
    "SingleNodeService",
)
_JSON_TYPES: Final = {"int": "integer", "float": "number", "str": "string", "bool": "boolean"}
_WHY: Final = {
    "config.json": "exactly one, of this name: the apis and the health check of the model",
    "customize_service.py": "must have this name: the code before and after the network",
    ONNX_NAME: "beside the code: the network with its weights, for ONNX Runtime",
    NETWORK_NAME: "beside the code: the network without its weights, for torch",
    WEIGHTS_NAME: "beside the code: the weights, never a pickle",
}


@dataclass(frozen=True, repr=False)
class ModelPackage:
    """A folder in the layout of a ModelArts model package.

    Attributes:
        folder: named ``model``, as the platform asks.
        export: how the ONNX file compares with the network it came from; None for torch, which
            runs that network itself.
    """

    folder: Path
    config: ModelConfig
    export: OnnxExport | None

    def files(self) -> list[tuple[Path, int, str]]:
        """Return each file with its size in bytes and the reason why it is there."""
        paths = sorted(path for path in self.folder.iterdir() if path.is_file())
        return [(path, path.stat().st_size, _WHY.get(path.name, "")) for path in paths]

    def __str__(self) -> str:
        files = self.files()
        width = max(len(path.name) for path, _, _ in files)
        lines = [f"{self.folder}/"]
        for path, size_bytes, why in files:
            branch = "└──" if path == files[-1][0] else "├──"
            size = f"{size_bytes / 1000:,.1f} kB"
            lines.append(f"{branch} {path.name:<{width}}  {size:>10}  {why}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        left = "style='text-align:left'"
        rows = "".join(
            f"<tr><td {left}><code>{escape(path.name)}</code></td><td>{size / 1000:,.1f} kB</td>"
            f"<td {left}>{escape(why)}</td></tr>"
            for path, size, why in self.files()
        )
        return f"<p><code>{escape(str(self.folder))}/</code></p><table>{rows}</table>"


def package_model(
    model: TrainedModel,
    digits: Digits,
    *,
    runtime: str = "onnx",
    folder: str | Path = Path("build/model_package"),
) -> ModelPackage:
    """Write ``folder/model``, whole or not at all; equal inputs give equal bytes.

    An ONNX file that is there already is kept, with the figures of its comparison, where weights,
    test digits and exporter are those it came from.

    Args:
        model: the weights.
        digits: the test digits among them are what the ONNX file is compared on.
        runtime: what serves it: ``onnx``, or ``torch`` for an image three times as large.
        folder: gets the package as its folder ``model``.

    Raises:
        ModelError: the model cannot be exported, or the export answers differently.
        PackageError: the inference code does not say what its api is.
        UsageError: there is no such runtime.
    """
    if runtime not in RUNTIMES:
        raise UsageError(
            f"runtime: expected {' or '.join(RUNTIMES)}, found {runtime}.\n"
            "ONNX Runtime serves this model without torch in the image, so it is the default."
        )
    target = Path(folder) / "model"
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".model-", dir=target.parent))
    try:
        export = None
        if runtime == "onnx":
            export = _add_onnx(model, digits, scratch, target)
        else:
            model.load_network()  # refuses weights of another network before they ship
            shutil.copyfile(model.weights_path, scratch / WEIGHTS_NAME)
            shutil.copyfile(MODEL_FOLDER / NETWORK_NAME, scratch / NETWORK_NAME)
        shutil.copyfile(SERVICE_FILE, scratch / SERVICE_FILE.name)
        config = generate_config(SERVICE_FILE, model.metrics)
        (scratch / "config.json").write_text(config.to_json(), encoding="utf-8", newline="\n")
        _put_in_place(scratch, target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return ModelPackage(target, read_model_config(target / "config.json"), export)


def read_package(folder: str | Path) -> ModelPackage:
    """Take a model package that is there, written against the platform's base classes.

    Raises:
        PackageError: there is no such folder, or its config.json is none.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file():
        inner = folder / "model"
        hint = (
            f"{inner} has one: name that folder."
            if (inner / "config.json").is_file()
            else (
                "A model package holds config.json, customize_service.py and the weights; "
                "model_package/README.md tells more."
            )
        )
        raise PackageError(f"{folder}: expected a model package, found no config.json.\n{hint}")
    return ModelPackage(folder, read_model_config(folder / "config.json"), None)


def _add_onnx(model: TrainedModel, digits: Digits, scratch: Path, target: Path) -> OnnxExport:
    from custom_image.training import ExportRecord, export_onnx  # torch: only to package

    record = ExportRecord.of(model, digits)
    record_path = target.parent / EXPORT_RECORD
    kept = record.find(target / ONNX_NAME, record_path)
    if kept:
        shutil.copyfile(kept.path, scratch / ONNX_NAME)
        return kept
    export = export_onnx(model, scratch / ONNX_NAME, digits)
    record.write(export, record_path)
    return replace(export, path=target / ONNX_NAME)


def generate_config(service_path: str | Path, metrics: Measured | None = None) -> ModelConfig:
    """Derive config.json from the inference code.

    The code says it by two constants, the multipart part it reads (``INPUT_NAME``) and the member
    it answers (``OUTPUT_NAME``), and by the type that ``_postprocess`` gives that member.

    Raises:
        PackageError: the file is no inference code, or leaves one of these open.
    """
    path = Path(service_path)
    module = _parse(path)
    service = _service_class(module, path)
    input_name, output_name = (_constant(module, n, path) for n in ("INPUT_NAME", "OUTPUT_NAME"))
    json_type, multipart = specification.CONTENT_TYPES
    http, _ = specification.HEALTH_METHODS
    config = ModelConfig(
        model_algorithm=MODEL_ALGORITHM,
        model_type=specification.MODEL_TYPE.value,
        metrics=Metrics(**asdict(metrics)) if metrics else None,
        apis=[
            Api(
                url=specification.INFERENCE_URL.value,
                method="post",
                request=Body(content_type=multipart, data=_object({input_name: {"type": "file"}})),
                response=Body(
                    content_type=json_type,
                    data=_object({output_name: _answer_type(service, output_name)}),
                ),
            )
        ],
        health=Health(
            check_method=http,
            protocol="http",
            url=specification.HEALTH_URL.value,
            initial_delay_seconds=specification.HEALTH_INITIAL_DELAY.value,
            period_seconds=specification.HEALTH_PERIOD.value,
            failure_threshold=specification.HEALTH_FAILURES.value,
        ),
    )
    return parse_model_config(config.to_json())


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": sorted(properties), "properties": properties}


def _parse(path: Path) -> ast.Module:
    try:
        return parse_source(path.read_bytes(), path.name)
    except OSError as error:
        raise PackageError(
            f"{path}: the inference code cannot be read ({error.strerror}).\n"
            "A model package has a customize_service.py beside its weights."
        ) from error
    except (SyntaxError, ValueError, RecursionError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise PackageError(f"{path}{line}: is not Python ({error}).") from error


def _service_class(module: ast.Module, path: Path) -> ast.ClassDef:
    """Return the class to serve, as the runtime finds it: of a class and its base, the class."""
    nodes = list(ast.walk(module))
    aliases = [a for node in nodes if isinstance(node, ast.ImportFrom) for a in node.names]
    known = {a.asname or a.name for a in aliases if a.name in BASE_CLASSES} | {*BASE_CLASSES}
    bases = {n.name: {_name(b) for b in n.bases} for n in nodes if isinstance(n, ast.ClassDef)}
    for _ in bases:  # a base may stand below, as a class in an `else`
        known |= {name for name, of in bases.items() if of & known}
    used = set().union(*bases.values())
    classes = [node for node in module.body if isinstance(node, ast.ClassDef)]
    found = [c for c in classes if c.name in known and c.name not in used]
    if len(found) != 1:
        names = ", ".join(c.name for c in found) or "none"
        raise PackageError(
            f"{path}: expected one class that derives from a base class of model_service, "
            f"found {names}.\n"
            f"Derive the service from one of {', '.join(BASE_CLASSES)}."
        )
    return found[0]


def _name(node: ast.expr) -> str:
    return ast.unparse(node).rpartition(".")[2]


def _constant(module: ast.Module, name: str, path: Path) -> str:
    for node in module.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = node.value if isinstance(node, ast.Assign) else None
            if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value:
                return value.value
    raise PackageError(
        f'{path}: expected a constant {name} = "...", found none.\n'
        "config.json is derived from it: INPUT_NAME is the part of the request that holds the "
        "file, OUTPUT_NAME the member of the answer."
    )


def _answer_type(service: ast.ClassDef, output_name: str) -> dict[str, Any]:
    """Return the schema of ``OUTPUT_NAME`` in what ``_postprocess`` returns; ``{}`` if unclear."""
    for node in ast.walk(service):
        if not (isinstance(node, ast.FunctionDef) and node.name == "_postprocess"):
            continue
        for answer in ast.walk(node):
            if not isinstance(answer, ast.Dict):
                continue
            for key, value in zip(answer.keys, answer.values, strict=True):
                named = key is not None and ast.unparse(key) in ("OUTPUT_NAME", repr(output_name))
                if named and isinstance(value, ast.Call) and _name(value.func) in _JSON_TYPES:
                    return {"type": _JSON_TYPES[_name(value.func)]}
    return {}


def _put_in_place(scratch: Path, target: Path) -> None:
    """Make ``scratch`` the new ``target``; a target that is equal already stays as it is."""
    # A temporary folder is private; in an image, another user has to read these files.
    scratch.chmod(0o755)
    for path in scratch.iterdir():
        path.chmod(0o644)
    if _content(scratch) == _content(target):
        return
    old = scratch.with_suffix(".old")
    if target.exists():
        target.rename(old)
    scratch.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _content(folder: Path) -> dict[str, bytes | None]:
    if not folder.is_dir():
        return {}
    return {p.name: p.read_bytes() if p.is_file() else None for p in folder.iterdir()}
