"""The files below docker/ and what they share with the library: read and compared."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from custom_image.builders.base import DEFAULT_BASE_IMAGE
from custom_image.specification import (
    BOOT_COMMAND,
    GROUP_ID,
    MODEL_DIR,
    PORT,
    USER_HOME,
    USER_ID,
    USER_NAME,
)
from custom_image.target_python import DEFAULT, SUPPORTED

DOCKER = Path(__file__).parents[3] / "docker"
LOCKS = sorted((DOCKER / "requirements").glob("*/*.txt"))


@pytest.fixture
def dockerfile() -> str:
    return (DOCKER / "dockerfile_build/Dockerfile").read_text()


def test_the_default_base_is_the_one_that_the_library_looks_for(dockerfile: str) -> None:
    assert f"ARG BASE_IMAGE={DEFAULT_BASE_IMAGE}\n" in dockerfile


def test_the_dockerfile_says_the_numbers_of_the_platform(dockerfile: str) -> None:
    program, boot_file = BOOT_COMMAND.value.split()
    user = f"{USER_ID}:{GROUP_ID}"

    assert f'CMD ["{program}", "{boot_file}"]' in dockerfile
    assert f"EXPOSE {PORT}\n" in dockerfile
    assert f"USER {user}\n" in dockerfile
    assert f"{USER_NAME}:x:{user}::{USER_HOME}:" in dockerfile
    assert f"weights/ {MODEL_DIR}/\n" in dockerfile
    assert set(re.findall(r"--chown=(\S+)", dockerfile)) == {user}


def test_layers_are_ordered_from_seldom_to_often_changed(dockerfile: str) -> None:
    final = dockerfile.rpartition("\nFROM ")[2]
    order = ["/opt/serving /opt/serving", "model_service\n", "weights/", "infer/model/ "]

    assert sorted(order, key=final.index) == order


def test_nothing_in_the_final_stage_runs_below_the_files_that_change(dockerfile: str) -> None:
    final = dockerfile.rpartition("\nFROM ")[2]

    assert "RUN " not in final[final.index("COPY ") :]


def test_only_what_the_classic_builder_understands_is_used(dockerfile: str) -> None:
    assert not re.search(r"--mount|--link|<<|^# syntax=", dockerfile, re.MULTILINE)


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_locks_pin_every_package_with_hashes_and_name_no_index(path: Path) -> None:
    text = path.read_text()
    pins = re.findall(
        r"^([\w.-]+)==([^\s;\\]+)(.*(?:\n    --hash=sha256:[0-9a-f]{64}.*)+)", text, re.M
    )
    names = re.findall(r"^[A-Za-z][^\s#]*", text, re.MULTILINE)

    assert len(pins) == len(names) > 0
    assert not re.search(r"https?://|--index|--extra|--find-links|--trusted", text)


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_locks_hold_what_their_input_asks_for(path: Path) -> None:
    lines = (path.parents[1] / f"{path.stem}.in").read_text().splitlines()
    lines = [line for line in lines if "; python_version" not in line]
    wanted = {name for line in lines for name in re.findall(r"^[\w.-]+", line) if name[0] != "-"}
    locked = set(re.findall(r"^([\w.-]+)==", path.read_text(), re.MULTILINE))

    assert wanted <= locked


def test_every_python_has_its_locks() -> None:
    names = {path.stem for path in (DOCKER / "requirements").glob("*.in")}

    for minor in SUPPORTED:
        own = names if minor == DEFAULT else names - {"preset"}
        assert {path.stem for path in LOCKS if path.parent.name == minor} == own


@pytest.mark.parametrize("minor", SUPPORTED)
def test_both_engines_are_served_by_the_same_versions(minor: str) -> None:
    onnx, torch_ = (
        dict(re.findall(r"^([\w.-]+)==(\S+)", path.read_text(), re.MULTILINE))
        for path in (DOCKER / "requirements" / minor / f"{name}.txt" for name in ("onnx", "torch"))
    )

    shared = onnx.keys() & torch_.keys()
    assert {"numpy", "pillow", "uvicorn", "gunicorn", "gevent"} <= shared
    assert {name: onnx[name] for name in shared} == {name: torch_[name] for name in shared}


def load_trim():
    spec = importlib.util.spec_from_file_location("trim", DOCKER / "requirements/trim.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_trimming_leaves_out_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    left_out = [
        "torch/test/a.py",
        "torch/include/a/b.h",
        "torch/bin/protoc",
        "sympy/core/tests/t.py",
    ]
    left_out += [
        "numpy/_core/tests/data/x.csv",
        "gevent/tests/a.py",
        "numpy/core.pyi",
        "torch/a/b.h",
    ]
    left_out += ["onnxruntime/tools/a.py", "onnxruntime/capi/libonnxruntime.so.1.32.0"]
    kept = ["torch/bin/torch_shm_manager", "torch/testing/__init__.py", "torch/lib/libgomp.so.1"]
    kept += ["sympy/core/testing.py", "gevent/core.so", "onnxruntime/capi/state.so", "tests/a.py"]
    kept += ["numpy/f2py/__init__.py", "skimage/__init__.pyi", "forest/tree.h"]
    for name in left_out + kept:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"content")

    load_trim().main(tmp_path)

    files = {
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    }
    assert files == set(kept)


LIBTORCH = Path(torch.__file__).parent / "lib"


def test_a_library_without_its_symbol_table_is_smaller_and_loads(tmp_path: Path) -> None:
    path = shutil.copyfile(LIBTORCH / "libc10.so", tmp_path / "libc10.so")
    before = path.stat().st_size

    load_trim().drop_symbols(path)

    assert path.stat().st_size < before
    # Loading maps and relocates all of it. That torch works so is proved in its image.
    code = f"import ctypes; ctypes.CDLL({str(path)!r})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("content", [b"", b"text", b"\x7fELF\x01\x01" + bytes(100)])
def test_what_is_no_library_of_64_bits_is_left_alone(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "libtorch_cpu.so"
    path.write_bytes(content)

    load_trim().drop_symbols(path)

    assert path.read_bytes() == content


def test_trimming_a_library_twice_changes_nothing_more(tmp_path: Path) -> None:
    path = shutil.copyfile(LIBTORCH / "libc10.so", tmp_path / "libc10.so")
    load_trim().drop_symbols(path)
    once = path.read_bytes()

    load_trim().drop_symbols(path)

    assert path.read_bytes() == once
