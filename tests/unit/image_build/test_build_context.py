"""The build context of a package with empty weights and an empty wheelhouse: names and bytes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custom_image.build_context import BuildContext, write_build_context
from custom_image.build_context.archive import Stream
from custom_image.errors import PackageError, UsageError

MODEL = "rootfs/home/ma-user/infer/model/1"


@pytest.fixture(autouse=True)
def wheelhouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One wheel, without pip: test_wheelhouse.py is about how they are fetched."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    (folder / "alpha-1.0-py3-none-any.whl").write_bytes(b"wheel")

    def fill(locks: list[Path], *, torch: str, more: Path | None, python: object) -> Path:
        (folder / "torch.txt").unlink(missing_ok=True)
        if torch:
            (folder / "torch.txt").write_text(f"{torch} --hash=sha256:0\n")
        if more:
            (folder / "more.txt").write_text(f"{more.read_text().strip()} --hash=sha256:1\n")
        return folder

    monkeypatch.setattr("custom_image.build_context.fill_wheelhouse", fill)
    return folder


@pytest.fixture
def package(tmp_path: Path) -> SimpleNamespace:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"apis": [{"url": "/", "method": "post"}]}))
    (folder / "customize_service.py").write_text("class Service: ...\n")
    (folder / "mnist.onnx").write_bytes(b"weights")
    return SimpleNamespace(folder=folder)


def test_what_the_package_imports_beyond_its_engine_is_locked_as_well(
    package: SimpleNamespace, tmp_path: Path
) -> None:
    more = tmp_path / "mine.txt"
    more.write_text("forest==1.0\n")

    plain = _write(package, tmp_path / "plain").read("requirements.txt")
    context = write_build_context(package, more=more, folder=tmp_path / "context")

    added = str(context.read("requirements.txt")).removeprefix(str(plain))
    assert added == "forest==1.0 --hash=sha256:1\n"


def _write(package: SimpleNamespace, folder: Path) -> BuildContext:
    return write_build_context(package, folder=folder)


def _members(context: BuildContext) -> dict[str, tarfile.TarInfo]:
    with context.tar() as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
        return {member.name: member for member in archive}


def test_the_context_holds_what_the_image_is_made_of(
    package: SimpleNamespace, tmp_path: Path
) -> None:
    names = _members(_write(package, tmp_path / "context"))

    assert {
        "Dockerfile",
        "requirements.txt",
        "trim.py",
        "wheelhouse/alpha-1.0-py3-none-any.whl",
        "rootfs/home/run.sh",
        "rootfs/home/ma-user/infer/run.sh",
        "rootfs/home/ma-user/infer/model_service/__main__.py",
        f"{MODEL}/config.json",
        f"{MODEL}/customize_service.py",
        "weights/mnist.onnx",
    } <= names.keys()


def test_weights_travel_once_and_apart(package: SimpleNamespace, tmp_path: Path) -> None:
    (package.folder / "variables").mkdir()
    (package.folder / "variables/data").write_bytes(b"more")
    context = _write(package, tmp_path / "context")

    names = _members(context)

    assert {"weights/mnist.onnx", "weights/variables/data"} <= names.keys()
    assert f"{MODEL}/mnist.onnx" not in names
    assert f"{MODEL}/variables/data" not in names
    # ... and the docker command, which reads the folder itself, is told the same.
    assert context.read(".dockerignore") == f"{MODEL}/mnist.onnx\n{MODEL}/variables/data\n"


@pytest.mark.parametrize(
    ("weights", "engine"),
    [
        (["mnist.onnx"], "onnx"),
        (["model.pth"], "torch"),
        (["nested/Model.PT"], "torch"),
        (["model.safetensors"], "torch"),
        (["mnist.onnx", "tokens.pt"], "onnx"),
        (["saved_model.pb"], "onnx"),
        ([], "onnx"),
    ],
    ids=str,
)
def test_the_packages_are_those_of_the_engine_that_the_weights_are_of(
    weights: list[str], engine: str, package: SimpleNamespace, tmp_path: Path
) -> None:
    (package.folder / "mnist.onnx").unlink()
    for name in weights:
        (package.folder / name).parent.mkdir(exist_ok=True)
        (package.folder / name).write_bytes(b"")
    context = _write(package, tmp_path / "context")

    lines = context.read("requirements.txt").splitlines()

    assert any(line.startswith("onnxruntime==") for line in lines) == (engine == "onnx")
    assert any(line.startswith("safetensors==") for line in lines) == (engine == "torch")
    pins = [line for line in lines if line.startswith("torch==")]
    assert len(pins) == (engine == "torch")
    assert all("+cpu --hash=sha256:" in pin for pin in pins)
    assert "wheelhouse/torch.txt" not in _members(context)


def test_rootfs_is_whole_so_that_a_process_can_run_it(
    package: SimpleNamespace, tmp_path: Path
) -> None:
    context = _write(package, tmp_path / "context")

    assert (context.folder / MODEL / "mnist.onnx").read_bytes() == b"weights"


def test_the_same_package_gives_the_same_bytes_wherever_and_whenever(
    package: SimpleNamespace, tmp_path: Path
) -> None:
    first = _write(package, tmp_path / "one")
    for path in package.folder.iterdir():
        os.utime(path, (1, 1))
        path.chmod(0o600)
    umask = os.umask(0o077)
    try:
        second = _write(package, tmp_path / "two/three")
    finally:
        os.umask(umask)

    with first.tar() as one, second.tar() as other:
        content = one.read()
        assert content == other.read()
    assert first.digest == second.digest == hashlib.sha256(content).hexdigest()


def test_nothing_of_this_machine_is_in_the_tar(package: SimpleNamespace, tmp_path: Path) -> None:
    for member in _members(_write(package, tmp_path / "context")).values():
        assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
        assert member.mtime == 0
        assert member.mode in (0o644, 0o755)
        assert (member.mode == 0o755) == (member.isdir() or member.name.endswith(".sh"))


@pytest.mark.parametrize("name", ["config.json", "customize_service.py", "mnist.onnx"])
def test_any_change_changes_the_digest(name: str, package: SimpleNamespace, tmp_path: Path) -> None:
    before = _write(package, tmp_path / "context").digest
    path = package.folder / name
    path.write_bytes(path.read_bytes() + b" ")

    assert _write(package, tmp_path / "context").digest != before


def test_apis_become_a_build_argument(package: SimpleNamespace, tmp_path: Path) -> None:
    context = _write(package, tmp_path / "context")

    assert json.loads(context.arguments["APIS"]) == [{"url": "/", "method": "post"}]


def test_what_editors_and_notebooks_leave_behind_stays_out(
    package: SimpleNamespace, tmp_path: Path
) -> None:
    for name in ("__pycache__", ".ipynb_checkpoints", ".git"):
        (package.folder / name).mkdir()
        (package.folder / name / "file.py").write_text("")
    (package.folder / "old.pyc").write_bytes(b"")
    (package.folder / ".DS_Store").write_bytes(b"")
    (package.folder / "labels").mkdir()
    (package.folder / "labels/names.json").write_text("[]")

    names = [n for n in _members(_write(package, tmp_path / "c")) if n.startswith(f"{MODEL}/")]

    assert names == [
        f"{MODEL}/config.json",
        f"{MODEL}/customize_service.py",
        f"{MODEL}/labels",
        f"{MODEL}/labels/names.json",
    ]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (b"two\nlines.py", "'\\n' in its name"),
        (b"back\\slash.py", "'\\\\' in its name"),
        (b"bell\x07.py", "'\\x07' in its name"),
        (b"right-to-left\xe2\x80\xae.py", "'\\u202e' in its name"),
        (b"star*.onnx", "'*' in its name"),
        (b" leading.py", "a blank at an end"),
        (b"latin-\xe9.py", "not UTF-8"),
    ],
)
def test_a_hostile_name_is_refused_and_shown_harmlessly(
    name: bytes, why: str, package: SimpleNamespace, tmp_path: Path
) -> None:
    Path(os.fsdecode(os.fsencode(package.folder) + b"/" + name)).write_bytes(b"")

    with pytest.raises(PackageError) as caught:
        _write(package, tmp_path / "context")

    assert why in str(caught.value)
    assert str(caught.value).isascii()


def test_ordinary_foreign_names_are_welcome(package: SimpleNamespace, tmp_path: Path) -> None:
    (package.folder / "手写数字 2.onnx").write_bytes(b"")

    assert "weights/手写数字 2.onnx" in _members(_write(package, tmp_path / "context"))


def test_a_link_is_refused_because_its_target_would_not_travel(
    package: SimpleNamespace, tmp_path: Path
) -> None:
    (package.folder / "secret").symlink_to("/etc/shadow")

    with pytest.raises(PackageError, match=r"secret is a link; an image gets plain files only"):
        _write(package, tmp_path / "context")


def test_a_pipe_is_refused_rather_than_read_for_ever(
    package: SimpleNamespace, tmp_path: Path
) -> None:
    os.mkfifo(package.folder / "pipe.onnx")

    with pytest.raises(PackageError, match="is no regular file"):
        _write(package, tmp_path / "context")


@pytest.mark.parametrize("name", ["config.json", "customize_service.py"])
def test_a_package_without_its_fixed_files_is_refused(
    name: str, package: SimpleNamespace, tmp_path: Path
) -> None:
    (package.folder / name).unlink()

    with pytest.raises(PackageError, match=f"has no {name}"):
        _write(package, tmp_path / "context")


def test_a_folder_of_the_users_own_is_never_replaced(
    package: SimpleNamespace, tmp_path: Path
) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/chapter.tex").write_text("years of work")

    with pytest.raises(UsageError, match="is no build context"):
        _write(package, tmp_path / "thesis")

    assert (tmp_path / "thesis/chapter.tex").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "thesis", "wheels"]


def test_an_old_context_leaves_nothing_behind(package: SimpleNamespace, tmp_path: Path) -> None:
    (package.folder / "old.onnx").write_bytes(b"")
    _write(package, tmp_path / "context")
    (package.folder / "old.onnx").unlink()

    assert "weights/old.onnx" not in _members(_write(package, tmp_path / "context"))


def test_a_dockerfile_of_ones_own_takes_the_same_files(
    package: SimpleNamespace, tmp_path: Path
) -> None:
    own = tmp_path / "Dockerfile.mine"
    own.write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nCOPY weights/ /w/\n")

    context = write_build_context(package, dockerfile=own, folder=tmp_path / "own")

    assert context.read("Dockerfile") == own.read_text()
    assert "weights/mnist.onnx" in context.names()
    with pytest.raises(UsageError, match="there is no such Dockerfile"):
        write_build_context(package, dockerfile="nowhere", folder=tmp_path / "own")


def test_an_unknown_scenario_and_an_unknown_lock_are_named(
    package: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match=r"no scenario 'nothing'.*dockerfile_build"):
        write_build_context(package, "nothing", folder=tmp_path / "context")
    monkeypatch.undo()  # the true wheelhouse, which looks for the lock
    with pytest.raises(UsageError, match=r"no lock .*tensorflow\.txt"):
        write_build_context(package, requirements="tensorflow", folder=tmp_path / "context")


def test_a_context_shows_itself_as_a_tree(package: SimpleNamespace, tmp_path: Path) -> None:
    context = _write(package, tmp_path / "context")

    text, html = str(context), context._repr_html_()

    assert context.digest[:12] in text
    for shown in ("wheelhouse/  1 files", "the boot file: CMD names it", "customize_service.py"):
        assert shown in text
        assert shown in html
    assert "alpha-1.0" not in text
    assert text.count("mnist.onnx") == 1


def test_a_file_of_the_context_can_be_read_and_shows_itself_highlighted(
    package: SimpleNamespace, tmp_path: Path
) -> None:
    context = _write(package, tmp_path / "context")

    dockerfile = context.read("Dockerfile")

    assert dockerfile.startswith("# Scenario dockerfile_build")
    assert "<span style=" in dockerfile._repr_html_()
    with pytest.raises(UsageError, match=r"no Makefile in .*there are: .*Dockerfile"):
        context.read("Makefile")


def test_a_file_that_changes_while_it_is_sent_is_an_error_not_a_broken_tar(
    package: SimpleNamespace, tmp_path: Path
) -> None:
    context = _write(package, tmp_path / "context")
    (context.folder / "weights/mnist.onnx").write_bytes(b"w")
    stream = context.tar()
    real_size = Path.stat

    with pytest.MonkeyPatch.context() as patch:

        def grown(path: Path, **options: bool) -> os.stat_result:
            found = real_size(path, **options)
            if path.name != "mnist.onnx":
                return found
            return os.stat_result((*found[:6], found.st_size + 10, *found[7:]))

        patch.setattr(Path, "stat", grown)
        with pytest.raises(UsageError, match=r"mnist\.onnx changed while it was read"):
            stream.read()


@given(chunks=st.lists(st.binary(max_size=50)), size=st.integers(1, 70))
def test_a_stream_of_chunks_reads_as_one_file(chunks: list[bytes], size: int) -> None:
    stream = io.BufferedReader(Stream(iter(chunks)), buffer_size=16)

    read = b"".join(iter(lambda: stream.read(size), b""))

    assert read == b"".join(chunks)
