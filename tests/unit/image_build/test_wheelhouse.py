"""The wheelhouse with wheels made here: a folder stands in for the author's index."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from wheels import write_wheel

from custom_image.errors import BuildFailed, UsageError
from custom_image.target_python import TargetPython
from custom_image.wheelhouse import fill_wheelhouse, torch_pin

INTEL = TargetPython(machine="x86_64")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks, told to it by its own configuration."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def _fill(tmp_path: Path, lock: str, python: TargetPython = INTEL, torch: str = "") -> list[str]:
    path = tmp_path / "lock.txt"
    path.write_text(lock)
    folder = fill_wheelhouse([path], torch=torch, python=python, cache_dir=tmp_path / "cache")
    return sorted(wheel.name for wheel in folder.iterdir())


def test_wheels_come_from_where_the_authors_pip_looks(tmp_path: Path, index: Path) -> None:
    lock = write_wheel(index, "alpha") + write_wheel(
        index, "beta", "cp311-cp311-manylinux_2_28_x86_64"
    )

    assert _fill(tmp_path, lock) == [
        "alpha-1.0-py3-none-any.whl",
        "beta-1.0-cp311-cp311-manylinux_2_28_x86_64.whl",
    ]


@pytest.mark.parametrize(
    "tag",
    [
        "cp311-abi3-manylinux_2_5_x86_64",
        "cp39-abi3-manylinux_2_36_x86_64",
        "cp311-cp311-manylinux1_x86_64",
        "cp311-cp311-manylinux2010_x86_64",
        "cp311-cp311-manylinux2014_x86_64",
        "py3-none-manylinux_2_17_x86_64",
    ],
)
def test_every_wheel_that_runs_on_the_base_is_taken(tag: str, tmp_path: Path, index: Path) -> None:
    assert _fill(tmp_path, write_wheel(index, "alpha", tag)) == [f"alpha-1.0-{tag}.whl"]


@pytest.mark.parametrize(
    "tag",
    [
        "cp312-cp312-manylinux_2_28_x86_64",
        "cp311-cp311-manylinux_2_39_x86_64",
        "cp311-cp311-manylinux_2_28_aarch64",
        "cp311-cp311-win_amd64",
    ],
)
def test_a_wheel_that_would_not_run_there_counts_as_missing(
    tag: str, tmp_path: Path, index: Path
) -> None:
    with pytest.raises(BuildFailed, match=r"no wheel of alpha==1\.0 for Python 3\.11 on Linux"):
        _fill(tmp_path, write_wheel(index, "alpha", tag))


def test_another_machine_gets_its_own_wheels(tmp_path: Path, index: Path) -> None:
    lock = write_wheel(index, "alpha", "cp311-cp311-manylinux_2_28_aarch64")

    assert _fill(tmp_path, lock, TargetPython(machine="arm64")) == [
        "alpha-1.0-cp311-cp311-manylinux_2_28_aarch64.whl"
    ]


@pytest.mark.parametrize(
    ("version", "tag"),
    [
        ("3.7.16", "cp37-cp37m-manylinux_2_28_x86_64"),
        ("3.8.18", "cp38-cp38-manylinux2014_x86_64"),
        ("3.13.0", "cp313-cp313-manylinux_2_34_x86_64"),
        ("3.14.0", "cp39-abi3-manylinux_2_28_x86_64"),
    ],
)
def test_every_python_gets_its_own_wheels(
    version: str, tag: str, tmp_path: Path, index: Path
) -> None:
    lock = write_wheel(index, "alpha", tag)

    assert _fill(tmp_path, lock, TargetPython(version, "x86_64")) == [f"alpha-1.0-{tag}.whl"]
    with pytest.raises(BuildFailed, match=r"no wheel of alpha==1\.0 for Python 3\.12 on"):
        _fill(tmp_path, lock.replace("abi3", "none"), TargetPython("3.12", "aarch64"))


def test_a_base_with_an_old_glibc_gets_wheels_that_run_there(tmp_path: Path, index: Path) -> None:
    lock = write_wheel(index, "alpha", "cp311-cp311-manylinux_2_28_x86_64")
    lock = (
        lock.strip()
        + " "
        + write_wheel(index, "alpha", "cp311-cp311-manylinux_2_17_x86_64").partition(" ")[2]
    )

    assert _fill(tmp_path, lock, TargetPython(machine="x86_64", glibc=27)) == [
        "alpha-1.0-cp311-cp311-manylinux_2_17_x86_64.whl"
    ]
    assert _fill(tmp_path, lock, INTEL) == ["alpha-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"]


def test_a_missing_wheel_is_named_and_leaves_nothing_behind(tmp_path: Path, index: Path) -> None:
    lock = write_wheel(index, "alpha") + "gamma==2.0 --hash=sha256:" + "0" * 64 + "\n"

    with pytest.raises(BuildFailed) as caught:
        _fill(tmp_path, lock)

    assert "no wheel of gamma==2.0" in str(caught.value)
    assert "PIP_FIND_LINKS" in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_another_file_than_was_locked_is_refused(tmp_path: Path, index: Path) -> None:
    lock = write_wheel(index, "alpha")
    write_wheel(index, "alpha", body="print('changed')")

    with pytest.raises(BuildFailed, match=r"alpha==1\.0 was found with another hash"):
        _fill(tmp_path, lock)


def test_a_full_wheelhouse_asks_no_index_again(tmp_path: Path, index: Path) -> None:
    lock = write_wheel(index, "alpha")
    first = _fill(tmp_path, lock)
    (index / first[0]).unlink()

    assert _fill(tmp_path, lock) == first


def test_a_changed_lock_never_meets_an_oldwrite_wheel(tmp_path: Path, index: Path) -> None:
    alpha = write_wheel(index, "alpha")
    _fill(tmp_path, alpha + write_wheel(index, "beta"))

    assert _fill(tmp_path, alpha) == ["alpha-1.0-py3-none-any.whl"]


def test_a_lock_that_is_not_there_says_what_writes_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no lock .*missing\.txt; `make lock`"):
        fill_wheelhouse([tmp_path / "missing.txt"], cache_dir=tmp_path)


# --- what a package of one's own imports beyond the locks -----------------------------------------


def _more(
    tmp_path: Path, lock: str, requirements: str, python: TargetPython = INTEL
) -> tuple[list[str], str]:
    """Return the wheels, and the lock of those that came beyond the lock."""
    files = tmp_path / "lock.txt", tmp_path / "requirements.txt"
    for file, text in zip(files, (lock, requirements), strict=True):
        file.write_text(text)
    cache_dir = tmp_path / "cache"
    folder = fill_wheelhouse([files[0]], more=files[1], python=python, cache_dir=cache_dir)
    return sorted(p.name for p in folder.glob("*.whl")), (folder / "more.txt").read_text()


def test_what_it_depends_on_comes_along_in_the_versions_of_the_lock(
    tmp_path: Path, index: Path
) -> None:
    lock = write_wheel(index, "alpha")
    write_wheel(index, "alpha", version="2.0")
    beta, forest = write_wheel(index, "beta"), write_wheel(index, "forest", needs="alpha")
    write_wheel(index, "beta", version="2.0")

    wheels, locked = _more(tmp_path, lock, "# why\nforest\n\nbeta<2  # loads it\n")

    assert wheels == [f"{name}-1.0-py3-none-any.whl" for name in ("alpha", "beta", "forest")]
    assert locked == beta + forest


@pytest.mark.parametrize(("version", "comes"), [("3.7.16", True), ("3.13.0", False)])
def test_markers_of_dependencies_are_read_for_the_python_of_the_image(
    version: str, comes: bool, tmp_path: Path, index: Path
) -> None:
    lock = write_wheel(index, "alpha")
    write_wheel(index, "beta")
    write_wheel(index, "forest", needs="beta; python_version < '3.8'")

    wheels, _ = _more(tmp_path, lock, "forest\n", TargetPython(version))

    assert ("beta-1.0-py3-none-any.whl" in wheels) == comes


def test_what_is_locked_already_is_not_locked_twice(tmp_path: Path, index: Path) -> None:
    assert _more(tmp_path, write_wheel(index, "alpha"), "Alpha>=1\n") == (
        ["alpha-1.0-py3-none-any.whl"],
        "",
    )


def test_other_requirements_never_meet_an_oldwrite_wheel(tmp_path: Path, index: Path) -> None:
    lock, beta = write_wheel(index, "alpha"), write_wheel(index, "beta")
    _more(tmp_path, lock, "beta\n")
    gamma = write_wheel(index, "gamma")

    assert _more(tmp_path, lock, "gamma\n")[1] == gamma
    (index / "beta-1.0-py3-none-any.whl").unlink()
    assert _more(tmp_path, lock, "# a remark changes nothing\nbeta\n")[1] == beta


def test_a_requirement_that_contradicts_the_lock_is_named(tmp_path: Path, index: Path) -> None:
    lock = write_wheel(index, "alpha")
    write_wheel(index, "alpha", version="2.0")
    write_wheel(index, "forest", needs="alpha>=2")

    with pytest.raises(BuildFailed, match=r"forest.* cannot be installed beside what serves"):
        _more(tmp_path, lock, "forest\n")

    assert [p for p in (tmp_path / "cache").iterdir() if p.name.startswith(".")] == []


@pytest.mark.parametrize(
    "line", ["-r other.txt", "--index-url https://example.com", "beta=1", "beta==1 --hash=sha256:0"]
)
def test_a_line_that_is_no_requirement_is_refused(line: str, tmp_path: Path, index: Path) -> None:
    with pytest.raises(UsageError) as refused:
        _more(tmp_path, write_wheel(index, "alpha"), f"# first\n{line}\n")

    assert "requirements.txt, line 2: expected a requirement such as" in str(refused.value)
    assert f"found {line!r}" in str(refused.value)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"], ids=["missing", "not UTF-8"])
def test_requirements_that_cannot_be_read_are_named(
    content: bytes | None, tmp_path: Path, index: Path
) -> None:
    lock, more = tmp_path / "lock.txt", tmp_path / "requirements.txt"
    lock.write_text(write_wheel(index, "alpha"))
    if content is not None:
        more.write_bytes(content)

    with pytest.raises(UsageError, match=r"requirements\.txt cannot be read"):
        fill_wheelhouse([lock], more=more, cache_dir=tmp_path / "cache")


def test_torch_is_the_cpu_build_of_the_pinned_version() -> None:
    pyproject = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    extras = pyproject["project"]["optional-dependencies"]

    assert torch_pin().removesuffix("+cpu") in extras["author"]
    assert torch_pin().startswith("torch==")
    assert torch_pin().endswith("+cpu")


def test_torch_comes_without_a_hash_and_has_one_from_then_on(tmp_path: Path, index: Path) -> None:
    lock = write_wheel(index, "alpha")
    tag = "cp311-cp311-manylinux_2_28_x86_64"
    write_wheel(index, "torch", tag, body="cuda", version="2.0")
    line = write_wheel(index, "torch", tag, body="cpu", version="2.0+cpu")

    names = _fill(tmp_path, lock, torch="torch==2.0+cpu")

    assert names == ["alpha-1.0-py3-none-any.whl", f"torch-2.0+cpu-{tag}.whl", "torch.txt"]
    (folder,) = (tmp_path / "cache").iterdir()
    assert (folder / "torch.txt").read_text() == line
    assert _fill(tmp_path, lock) == names[:1]  # the same lock without torch is another folder


def test_a_cpu_build_that_is_nowhere_says_what_the_authors_pip_said(
    tmp_path: Path, index: Path
) -> None:
    write_wheel(index, "torch", "cp311-cp311-manylinux_2_28_x86_64", version="2.0")

    with pytest.raises(
        BuildFailed, match=r"no wheel of torch==2\.0\+cpu for Python 3\.11"
    ) as caught:
        _fill(tmp_path, write_wheel(index, "alpha"), torch="torch==2.0+cpu")

    assert "PIP_FIND_LINKS" in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []
