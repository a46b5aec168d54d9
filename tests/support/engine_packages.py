"""Small packages for engines that no preset image has, each of which adds up weighted numbers.

They are written as they ran on a preset engine: config.json names the engine and what pip installs.
"""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import numpy as np
import torch

WEIGHTS = np.array([[1.0], [10.0], [100.0]], dtype=np.float32)
BODY = {"numbers": [[3, 2, 1], [0, 0, 5]]}
ANSWER = [123.0, 500.0]

_SERVICE = """\
import os

{imports}
import numpy as np

{base}

WEIGHTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "model.npy")


class Service(Base):
    def __init__(self, model_name, model_path):
        super().__init__(model_name, model_path)
{load}

    def _preprocess(self, data):
        return np.array(data["numbers"], dtype=np.float32)

    def _inference(self, data):
{ask}

    def _postprocess(self, data):
        return {{"sums": np.asarray(data).reshape(-1).tolist(), "engine": ENGINE.__version__}}
"""


def tensorflow_1(folder: Path) -> Path:
    """TensorFlow 1 style: a graph and a session that belong to the thread that made them."""
    return _write(
        *(folder, "TensorFlow", "python3.7"),
        {"tensorflow": "1.15.5", "protobuf": "3.20.3"},
        "import tensorflow as ENGINE",
        """
        weights = np.load(WEIGHTS)
        self.graph = ENGINE.Graph()
        with self.graph.as_default():
            self.input = ENGINE.placeholder(ENGINE.float32, [None, len(weights)])
            self.output = ENGINE.matmul(self.input, ENGINE.constant(weights))
        self.session = ENGINE.Session(graph=self.graph)
        """,
        "return self.session.run(self.output, {self.input: data})",
    )


def torch_1(folder: Path) -> Path:
    """A state dict, read by a torch of 2021."""
    package = _write(
        *(folder, "PyTorch", "python3.8"),
        {"torch": "1.8.1", "numpy": "1.24.4"},
        "import torch as ENGINE",
        """
        self.model = ENGINE.nn.Linear(3, 1, bias=False)
        self.model.load_state_dict(ENGINE.load(model_path))
        self.model.eval()
        """,
        """
        with ENGINE.no_grad():
            return self.model(ENGINE.from_numpy(data)).numpy()
        """,
        "from model_service.pytorch_model_service import PTServingBaseService as Base",
    )
    (package / "model.npy").unlink()
    torch.save({"weight": torch.from_numpy(WEIGHTS.T.copy())}, package / "model.pth")
    return package


def mindspore_2(folder: Path) -> Path:
    """A network of MindSpore on the CPU."""
    return _write(
        *(folder, "MindSpore", "python3.11"),
        {"mindspore": "2.10.0"},
        "import mindspore as ENGINE",
        """
        ENGINE.set_context(mode=ENGINE.PYNATIVE_MODE, device_target="CPU")
        self.model = ENGINE.nn.Dense(3, 1, has_bias=False)
        self.model.weight.set_data(ENGINE.Tensor(np.load(WEIGHTS).T.copy()))
        """,
        "return self.model(ENGINE.Tensor(data)).asnumpy()",
    )


def _write(
    folder: Path,
    engine: str,
    runtime: str,
    pins: dict[str, str],
    imports: str,
    load: str,
    ask: str,
    base: str = "from model_service.model_service import SingleNodeService as Base",
) -> Path:
    folder.mkdir()
    code = _SERVICE.format(imports=imports, base=base, load=_indented(load), ask=_indented(ask))
    (folder / "customize_service.py").write_text(code)
    np.save(folder / "model.npy", WEIGHTS)
    packages = [
        {"package_name": name, "package_version": version, "restraint": "EXACT"}
        for name, version in pins.items()
    ]
    numbers = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}
    config = {
        "model_algorithm": "sums",
        "model_type": engine,
        "runtime": runtime,
        "metrics": {},
        "apis": [
            {
                "protocol": "http",
                "url": "/",
                "method": "post",
                "request": {
                    "Content-type": "application/json",
                    "data": {"type": "object", "properties": {"numbers": numbers}},
                },
                "response": {
                    "Content-type": "application/json",
                    "data": {"type": "object", "properties": {"sums": {"type": "array"}}},
                },
            }
        ],
        "dependencies": [{"installer": "pip", "packages": packages}],
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    return folder


def _indented(code: str) -> str:
    lines = dedent(code).strip().splitlines()
    return "\n".join(f"        {line}" for line in lines)
