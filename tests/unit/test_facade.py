"""`import custom_image` hands out what notebooks need, and loads it on first use only."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import custom_image

HEAVY = ("torch", "docker", "matplotlib", "numpy", "huaweicloudsdkcore", "requests", "pydantic")
NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("name", [n for n in custom_image.__all__ if not n.startswith("_")])
def test_each_name_is_there_and_says_what_it_does(name):
    found = getattr(custom_image, name)

    assert callable(found)
    assert found.__doc__
    assert name in dir(custom_image)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'no_verb'"):
        _ = custom_image.no_verb


@pytest.mark.parametrize("module", ["custom_image", "custom_image.cli"])
def test_nothing_heavy_is_imported_before_it_is_used(module):
    code = f"import sys, {module}; print(*(m for m in {HEAVY} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == ""


def test_judging_a_folder_imports_no_engine_and_no_resolution(tmp_path):
    (tmp_path / "config.json").write_text("[]")
    heavy = (*HEAVY[:-1], "urllib3", "packaging", "custom_image.adoption.wheels")
    code = f"""
import sys
from custom_image.cli import main
sys.argv = ["custom-image", "verify", {str(tmp_path)!r}, "--level", "static"]
try:
    main()
finally:
    print("imported:", *(m for m in {heavy} if m in sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1, done.stderr  # the rules that hold of config.json fail
    assert done.stdout.splitlines()[-1] == "imported:"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_import_from_the_facade_alone(path):
    code = "\n".join(
        cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"
    )
    modules = set(re.findall(r"^(?:from|import) (\S+)", code, re.MULTILINE))

    assert modules == {"custom_image"}
