"""The wheel holds what is read in a clone, and judges without what only an extra brings."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import io
import json
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.metadata import Metadata
from packaging.utils import canonicalize_name

import custom_image

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "tests/corpus/thread-bound/package"
NAME = "modelarts-custom-image"
DATA = "custom_image/data/project/"
# Modules of the extras; an environment without them refuses to import them.
FOREIGN = [
    *("PIL", "cryptography", "distributed", "gevent", "gunicorn", "huaweicloudsdkcore", "jinja2"),
    *("huaweicloudsdkmodelarts", "huaweicloudsdkswr", "jwt", "matplotlib", "nbformat", "numpy"),
    *("onnx", "onnxruntime", "papermill", "safetensors", "starlette", "torch", "trustme"),
    "uvicorn",
]
BARE = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {FOREIGN}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
import importlib.metadata
true_version = importlib.metadata.version
def version(name):
    if name.partition("-")[0] in {FOREIGN}:
        raise importlib.metadata.PackageNotFoundError(name)
    return true_version(name)
importlib.metadata.version = version
"""


def tracked(*folders: str) -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", *folders], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [name for name in listed.stdout.split("\0") if (ROOT / name).is_file()]


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory) -> Path:
    """The wheel as pip lays it down."""
    folder = tmp_path_factory.mktemp("site")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


@pytest.fixture
def bare(site, tmp_path, monkeypatch):
    """Run Python on the wheel, in an empty folder, without what only an extra brings."""
    monkeypatch.setenv("PYTHONPATH", str(site))

    def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", BARE + code, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    return run


COMMAND = "from custom_image.cli import main; main()"


def test_what_is_read_in_a_clone_is_in_the_wheel_byte_for_byte(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        wanted = tracked("docker", "model_package", "notebooks")
        differing = [n for n in wanted if DATA + n not in names or _differs(archive, n)]
        data = {n.removeprefix(DATA) for n in names if n.startswith(DATA)}

    assert len(wanted) > 100
    assert differing == []
    assert data == {*wanted, *(n for n in tracked("scripts") if re.match(r"scripts/\w+\.sh$", n))}


def _differs(archive: zipfile.ZipFile, name: str) -> bool:
    return archive.read(DATA + name) != (ROOT / name).read_bytes()


def test_the_wheel_has_every_module_and_no_package_that_would_hide_another(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        tops = {name.partition("/")[0] for name in names}
    modules = tracked("scripts/custom_image", "scripts/local_modelarts")
    wanted = {name.removeprefix("scripts/") for name in modules if name.endswith(".py")}

    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "custom_image",
        "local_modelarts",
    }
    assert wanted <= names


def test_its_metadata_is_valid_and_its_record_true(archives):
    sdist, wheel = archives
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (info,) = {n.partition("/")[0] for n in names if ".dist-info/" in n}
        metadata = Metadata.from_email(archive.read(f"{info}/METADATA"), validate=True)
        record = csv.reader(io.StringIO(archive.read(f"{info}/RECORD").decode()))
        wrong = [row[0] for row in record if row[1] and row[1] != _hash(archive.read(row[0]))]
    with tarfile.open(sdist) as archive:
        (pkg_info,) = (n for n in archive.getnames() if re.fullmatch(r"[^/]+/PKG-INFO", n))
        source = archive.extractfile(pkg_info)
        assert source
        of_sdist = Metadata.from_email(source.read(), validate=True)

    assert str(metadata.version) == str(of_sdist.version) == custom_image.__version__
    assert metadata.description_content_type == "text/markdown"
    assert metadata.requires_python is not None
    assert wrong == []
    assert f"## {custom_image.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def _hash(content: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    return f"sha256={digest}"


def test_it_judges_a_folder_outside_of_any_checkout(bare, site, tmp_path):
    done = bare(COMMAND, "verify", str(PACKAGE), "--level", "static", "--format", "json")

    report = json.loads(done.stdout)
    assert report["counts"]["PASSED"] > 5
    assert done.returncode == (1 if report["counts"]["FAILED"] else 0), done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [["rules"], ["doctor"], ["audit", "."]], ids=" ".join)
def test_the_core_needs_no_extra(arguments, bare, tmp_path):
    done = bare(COMMAND, *arguments)

    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["train", "--sample"], "author"),
        (["notebooks", "run"], "author"),
        (["build", "dockerfile_build"], "author"),
        (["publish", "my-org/mnist:1"], "cloud"),
    ],
)
def test_what_an_extra_lacks_is_one_sentence_with_the_command(arguments, extra, bare):
    done = bare(COMMAND, *arguments)

    assert done.returncode == 2
    assert re.fullmatch(
        rf"Error: \S+ is not installed here: pip install '{NAME}\[{extra}\]'\n", done.stderr
    )


def test_a_name_of_the_facade_says_it_too(bare):
    done = bare("from custom_image import train_or_load")

    assert "ExtraMissing" in done.stderr
    assert f"pip install '{NAME}[author]'" in done.stderr


def test_files_of_an_image_are_found_in_the_wheel(bare, tmp_path):
    code = (
        "from custom_image.build_context import write_rootfs; import sys; from pathlib import Path;"
        "from custom_image.builders.base import own_base_image; print(own_base_image());"
        "write_rootfs(Path(sys.argv[1]), Path('rootfs'))"
    )
    done = bare(code, str(PACKAGE))

    from custom_image.builders.base import own_base_image

    assert done.stdout.strip() == own_base_image(), done.stderr
    service = tmp_path / "rootfs/home/ma-user/infer/model_service"
    assert {p.name for p in service.glob("*.py")} == {
        p.name for p in (ROOT / "model_package/model_service").glob("*.py")
    }
    assert (tmp_path / "rootfs/home/run.sh").is_file()


def test_the_notebooks_are_laid_into_a_folder(bare, tmp_path):
    done = bare(COMMAND, "notebooks", "copy", "mine")

    assert done.returncode == 0, done.stderr
    names = [n.removeprefix("notebooks/") for n in tracked("notebooks")]
    copied = [p.relative_to(tmp_path / "mine") for p in (tmp_path / "mine").rglob("*.*")]
    assert sorted(map(str, copied)) == sorted(names)

    again = bare(COMMAND, "notebooks", "copy", "mine")
    assert again.returncode == 2
    assert "mine/01_image_saving.ipynb is there" in again.stderr


def test_everything_that_is_imported_is_asked_for():
    """Each distribution that an extra names is one of the lock, and of `all`."""
    requires = importlib.metadata.requires(NAME) or []
    extras = set(importlib.metadata.metadata(NAME).get_all("Provides-Extra") or [])
    lock = (ROOT / "requirements.lock").read_text()
    locked = {canonicalize_name(n) for n in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}
    named = {canonicalize_name(re.match(r"[\w.-]+", line)[0]) for line in requires}

    assert {"cloud", "build", "author", "platform", "fleet", "all", "dev"} == extras
    assert named - locked == {"torch", NAME}
