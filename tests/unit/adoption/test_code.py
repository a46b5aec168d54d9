"""The code of a package: read by ast from customize_service.py on, and never run."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from custom_image.adoption.package import AdoptedPackage, package_folder
from custom_image.adoption.service_code.modules import PLATFORM_MODULES
from custom_image.build_context.files import list_files
from custom_image.errors import PackageError

HEAD = "from model_service.pytorch_model_service import PTServingBaseService\n"
CLASS = (
    "class Service(PTServingBaseService):\n    def _inference(self, data):\n        return data\n"
)
PRESET_MODULES = Path(__file__).parents[3] / "model_package/model_service/preset_modules"


def _adopt(folder: Path, code: str = "", **files: str | bytes) -> AdoptedPackage:
    brought = folder / "brought"
    for name, content in {"customize_service.py": HEAD + code + CLASS, **files}.items():
        path = brought / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return package_folder(brought, folder=folder / "adopted")


def _imports(package: AdoptedPackage) -> list[str]:
    return [line.text for line in package.imports]


def test_nothing_of_it_is_run(tmp_path: Path):
    trap = tmp_path / "trap"

    _adopt(tmp_path, f"open({str(trap)!r}, 'w')\nraise SystemExit\n")

    assert not trap.exists()


@pytest.mark.parametrize(
    ("code", "added"),
    [
        ("import numpy as np\nfrom PIL import Image\nimport yaml\n", ["numpy", "Pillow", "PyYAML"]),
        ("import cv2\n", ["opencv-python-headless"]),
        ("import cv2\ncv2.imshow('a', 1)\n", ["opencv-python"]),
        ("def f():\n    import torch\n", ["torch"]),
        ("import importlib\nimportlib.import_module('pandas')\n", ["pandas"]),
        ("try:\n    import torch\nexcept ImportError:\n    torch = None\n", []),
        ("try:\n    import torch\nexcept ImportError:\n    raise\n", ["torch"]),
        ("if __name__ == '__main__':\n    import matplotlib\n", []),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pandas\n", []),
        ("import os, json, log\nfrom metric.metrics_manager import MetricsManager\n", []),
    ],
)
def test_imports_that_nothing_declares_are_added_from_the_table(
    code: str, added: list[str], tmp_path: Path
):
    package = _adopt(tmp_path, code)

    assert _imports(package) == added
    assert all("nothing declares it" in m for m in package.messages if "is imported" in m)


@pytest.mark.parametrize(
    ("base", "body", "files", "added"),
    [
        ("OnnxServingBaseService", "", {"net.onnx": b""}, ["onnxruntime"]),
        ("TfServingBaseService", "", {}, ["tensorflow"]),
        ("TfServingBaseService", "    def _inference(self, data): pass\n", {}, []),
        ("PTServingBaseService", "", {}, []),
    ],
)
def test_the_engine_follows_from_what_the_package_needs(
    base: str, body: str, files: dict[str, bytes], added: list[str], tmp_path: Path
):
    code = f"from model_service.x import {base}\nclass S({base}):\n    pass\n{body}"

    assert _imports(_adopt(tmp_path, **{"customize_service.py": code, **files})) == added


def test_the_other_engine_of_a_package_for_two_stays_out(tmp_path: Path):
    code = "import os\nif os.path.isfile('w.pth'):\n    import torch\n"

    assert _imports(_adopt(tmp_path, code, **{"net.onnx": b""})) == []
    assert _imports(_adopt(tmp_path / "again", code, **{"w.pth": b""})) == ["torch"]


def test_an_unknown_name_is_said_and_never_added(tmp_path: Path):
    package = _adopt(tmp_path, "import my_company_tools\n")

    assert _imports(package) == []
    assert [found.module for found in package.unknown] == ["my_company_tools"]
    assert "customize_service.py, line 2" in package.warnings[0].where


@pytest.mark.parametrize(
    ("imports", "name"),
    [
        ("import helper", "helper.py"),
        ("from model.helper import x", "helper.py"),
        ("from . import helper", "helper.py"),
        ("from models import *", "models/__init__.py"),
        ("from models import net", "models/net.py"),
        ("import utils.misc", "utils/misc.py"),
        ("def f():\n    from parts.deep import x", "parts/deep.py"),
    ],
)
def test_what_it_imports_of_its_own_must_be_python(imports: str, name: str, tmp_path: Path):
    with pytest.raises(PackageError) as refusal:
        _adopt(tmp_path, f"{imports}\n", **{name: "x = 1\nprint 'two'\n"})

    assert str(refusal.value).startswith(f"{name}, line 2: is Python 2")


def test_what_nothing_imports_may_be_anything(tmp_path: Path):
    package = _adopt(
        tmp_path,
        **{
            "train.py": "print 'two'",
            "notes.py": b"\x00\xff",
            "._customize_service.py": b"\x00\x05\x16\x07",
            "old/customize_service.py": "<<<<<<< HEAD",
        },
    )

    assert package.code is not None
    assert [module.name for module in package.code.modules] == ["customize_service.py"]
    assert not (package.folder / "._customize_service.py").exists()


def test_a_module_in_a_folder_that_the_code_adds_to_its_path_is_its_own(tmp_path: Path):
    package = _adopt(tmp_path, "import thing\n", **{"lib/thing.py": "import numpy\n"})

    assert package.unknown == ()
    assert _imports(package) == ["numpy"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x = '\xc4\xe3'\n", "Save the file in UTF-8"),
        (b"x\x00\n", "Save the file as text"),
        ("x = 1\u00a0+ 2\n".encode(), "pasted from a document"),
        (b"if 1:\n\tx = 1\n        y = 2\n", "blanks alone"),
        (b"<<<<<<< HEAD\nx = 1\n", "merge"),
        (b"def f(:\n", "Correct that line"),
    ],
)
def test_a_file_that_is_no_python_says_what_to_do(content: bytes, said: str, tmp_path: Path):
    with pytest.raises(PackageError) as refusal:
        _adopt(tmp_path, "import helper\n", **{"helper.py": content})

    assert said in str(refusal.value)
    assert str(refusal.value).startswith("helper.py, line ")


@pytest.mark.parametrize(
    "base", ["SparkServingBaseService", "CaffeBaseService", "MXNetBaseService", "HiaiBaseService"]
)
def test_an_engine_that_no_image_has_is_refused_by_name(base: str, tmp_path: Path):
    with pytest.raises(PackageError, match=rf"line 1: derives from {base}"):
        _adopt(tmp_path, **{"customize_service.py": f"from model_service.x import {base}\n"})


def test_two_classes_to_serve_are_refused_with_their_lines(tmp_path: Path):
    with pytest.raises(PackageError, match=r"Other \(line 2\), Service \(line 4\)"):
        _adopt(tmp_path, "class Other(PTServingBaseService):\n    pass\n")


@pytest.mark.parametrize(
    "files",
    [
        {"customize_service.py": "from impl import Service\n", "impl.py": HEAD + CLASS},
        {"customize_service.py": "from model_service.pytorch_model_service import *\n" + CLASS},
        {"customize_service.py": HEAD + "class Base(PTServingBaseService): pass\n"
         + CLASS.replace("PTServing", "").replace("BaseService)", "Base)")},
        {"customize_service.py": HEAD.replace("Service\n", "Service as B\n")
         + CLASS.replace("PTServingBaseService", "B")},
        {"customize_service.py": f"try:\n    {HEAD}except:\n    pass\n{CLASS}"},
    ],
)  # fmt: skip
def test_the_class_may_stand_where_it_likes(files: dict[str, str], tmp_path: Path):
    assert _adopt(tmp_path, **files).config.model_type == "Image"


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"customize_service.py": "class Service: pass\n"}, "no class on a base class"),
        ({"customize_service.py": "", "inference.py": "x = 1\n"}, "no class on a base class"),
    ],
)
def test_no_class_to_serve_is_refused(files: dict[str, str], said: str, tmp_path: Path):
    with pytest.raises(PackageError, match=said):
        _adopt(tmp_path, **files)


def test_a_folder_without_the_service_names_what_may_be_it(tmp_path: Path):
    (tmp_path / "customize_service_v2.py").write_text("")

    with pytest.raises(PackageError, match=r"customize_service_v2\.py may be it"):
        package_folder(tmp_path, folder=tmp_path / "adopted")


def test_the_folder_above_the_package_will_do(tmp_path: Path):
    (tmp_path / "ocr/model").mkdir(parents=True)
    (tmp_path / "ocr/model/customize_service.py").write_text(HEAD + CLASS)

    package = package_folder(tmp_path / "ocr", folder=tmp_path / "adopted")

    assert package.source == tmp_path / "ocr/model"


@pytest.mark.skipif(sys.platform == "win32", reason="has no FIFO")
@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_what_is_no_plain_file_is_refused(kind: str, tmp_path: Path):
    (tmp_path / "brought").mkdir()
    odd = tmp_path / "brought/odd"
    odd.symlink_to("/etc/hostname") if kind == "link" else os.mkfifo(odd)

    with pytest.raises(PackageError, match="an image gets plain files only"):
        _adopt(tmp_path)


def test_a_virtual_environment_beside_the_code_stays_behind(tmp_path: Path):
    environment = tmp_path / "brought/venv"
    (environment / "bin").mkdir(parents=True)
    (environment / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (environment / "bin/python").symlink_to("/usr/bin/python3")

    assert list_files(_adopt(tmp_path).folder) == ["config.json", "customize_service.py"]


def test_the_modules_of_the_platform_are_those_that_the_runtime_brings():
    brought = {path.stem for path in PRESET_MODULES.glob("*") if path.stem != "__pycache__"}

    assert brought | {"model_service"} == PLATFORM_MODULES


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import pickle\ndef _preprocess(data):\n    pickle.load(data)\n", ["line 4", "pickle"]),
        ("import requests\nrequests.get('https://x.invalid/w')\n", ["line 3", "x.invalid"]),
        ("import timm\ntimm.create_model('a', pretrained=True)\n", ["line 3", "fetched"]),
        (
            "from transformers import AutoModel as A\nA.from_pretrained('b')\n",
            ["line 3", "fetched"],
        ),
    ],
)
def test_what_may_go_wrong_later_is_said_now(code: str, words: list[str], tmp_path: Path):
    messages = [str(warning) for warning in _adopt(tmp_path, code).warnings]

    assert any(all(word in message for word in words) for message in messages), messages


@pytest.mark.parametrize(
    "command",
    [
        "os.system('pip install -i https://index.invalid/simple toolz==0.12.0')",
        "subprocess.check_call([sys.executable, '-m', 'pip', 'install', 'toolz==0.12.0'])",
    ],
)
def test_what_the_code_installs_itself_is_in_the_image(command: str, tmp_path: Path):
    package = _adopt(tmp_path, f"import os, subprocess, sys\n{command}\nimport toolz\n")

    assert [line.text for line in package.requirements] == ["toolz==0.12.0"]


@pytest.mark.parametrize(
    ("code", "bound", "certain"),
    [
        ("import numpy as np\nX = np.float(1)\n", "numpy<1.24", True),
        ("import numpy\ndef f():\n    numpy.int(1)\n", "numpy<1.24", False),
        ("from PIL import Image as I\nI.ANTIALIAS\n", "Pillow<10", True),
        ("from PIL import ImageDraw\ndef f(d):\n    d.textsize('a')\n", "Pillow<10", False),
        ("import yaml\nX = yaml.load(open('a'))\n", "PyYAML<6", True),
        ("import tensorflow as tf\nS = tf.Session()\n", "tensorflow<2", True),
        ("from sklearn.externals import joblib\n", "scikit-learn<0.23", True),
    ],
)
def test_names_that_are_gone_bound_their_package(
    code: str, bound: str, certain: bool, tmp_path: Path
):
    found = [(b.text, b.certain) for b in _adopt(tmp_path, code).bounds]

    assert (bound, certain) in found


def test_names_that_are_still_there_bound_nothing(tmp_path: Path):
    code = "import yaml, os.path\nimport tensorflow.compat.v1 as tf\nS = tf.Session()\n"
    code += "yaml.load('a', Loader=yaml.Loader)\nyaml.load('a', yaml.Loader)\n"
    code += "from PIL import ImageFont\nos.path.getsize('a')\n"

    assert _adopt(tmp_path, code).bounds == ()


def test_one_adopted_already_may_be_named_again(tmp_path: Path):
    first = _adopt(tmp_path)

    assert package_folder(first.folder, folder=tmp_path / "adopted").folder == first.folder


def test_a_folder_that_is_no_adopted_package_is_not_replaced(tmp_path: Path):
    (tmp_path / "adopted/model").mkdir(parents=True)
    (tmp_path / "adopted/model/mine.txt").write_text("mine")

    with pytest.raises(PackageError, match="would be replaced"):
        _adopt(tmp_path)

    assert (tmp_path / "adopted/model/mine.txt").exists()
