"""Wheels of a package's own pins, from a folder that stands in for the author's index."""

from __future__ import annotations

import shutil
import struct
import zipfile
from pathlib import Path

import pytest
from wheels import write_wheel

from custom_image.adoption.changes import ChangeLog
from custom_image.adoption.package import package_folder
from custom_image.adoption.wheels import PackageWheels, PinsWithoutWheels, fetch_wheels, resolution
from custom_image.adoption.wheels import index as index_module
from custom_image.adoption.wheels.shared_objects import missing_objects, read_needs
from custom_image.errors import BuildFailed, PackageError
from custom_image.target_python import TargetPython
from custom_image.wheelhouse import fill_wheelhouse

SERVICE = """
from model_service.model_service import SingleNodeService
{imports}

class Service(SingleNodeService):
    def _inference(self, data):
        return data
"""
PYTHON = TargetPython(machine="x86_64")
LINUX = "manylinux_2_17_x86_64"


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index with pip and a runtime of two packages, their locks, and pip's wheel fetched."""
    folder = tmp_path_factory.mktemp("runtime")
    index, locks = folder / "index", folder / "docker/requirements/3.11"
    index.mkdir()
    locks.mkdir(parents=True)
    (locks / "installer.txt").write_text(write_wheel(index, "pip"))
    (locks / "server.txt").write_text(write_wheel(index, "server") + write_wheel(index, "shared"))
    write_wheel(index, "shared", version="2.0")
    with pytest.MonkeyPatch.context() as environment:
        _ask_only(index, environment)
        fill_wheelhouse([locks / "installer.txt"], python=PYTHON, cache_dir=folder / "cache")
    return folder


@pytest.fixture
def index(runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place where pip looks."""
    shutil.copytree(runtime, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr("custom_image.wheelhouse.locks.project_files", lambda: tmp_path)
    index_module._ask.cache_clear()
    _ask_only(tmp_path / "index", monkeypatch)
    return tmp_path / "index"


def _ask_only(index: Path, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("PIP_CONFIG_FILE", "/dev/null")
    environment.setenv("PIP_NO_INDEX", "1")
    environment.setenv("PIP_FIND_LINKS", str(index))


def _fetch(
    tmp_path: Path, requirements: str, *, imports: str = "", relax: bool = False, **more: object
) -> PackageWheels:
    brought = tmp_path / "brought"
    brought.mkdir(exist_ok=True)
    (brought / "customize_service.py").write_text(SERVICE.format(imports=imports))
    (brought / "requirements.txt").write_text(requirements)
    package = package_folder(brought, folder=tmp_path / "adopted")
    return fetch_wheels(package, python=PYTHON, relax=relax, cache_dir=tmp_path / "cache", **more)


def _versions(wheels: PackageWheels) -> dict[str, str]:
    return dict(line.split(" ")[0].split("==") for line in wheels.lock.splitlines())


def test_what_the_package_asks_for_comes_beside_what_serves_it(tmp_path: Path, index: Path):
    write_wheel(index, "alpha")

    wheels = _fetch(tmp_path, "alpha")

    assert _versions(wheels) == {"alpha": "1.0", "server": "1.0", "shared": "1.0"}
    assert (wheels.folder / "pip-1.0-py3-none-any.whl").is_file(), "what installs them"
    assert "sha256:" in wheels.lock
    assert wheels.table == ""


def test_the_runtimes_own_versions_give_way(tmp_path: Path, index: Path):
    wheels = _fetch(tmp_path, "shared==2.0")

    assert _versions(wheels) == {"server": "1.0", "shared": "2.0"}


def test_they_give_way_to_what_a_package_depends_on_too(tmp_path: Path, index: Path):
    write_wheel(index, "alpha", needs="shared>=2")

    assert _versions(_fetch(tmp_path, "alpha"))["shared"] == "2.0"


def test_a_pin_without_a_wheel_stops_at_the_table_with_the_ways_on(tmp_path: Path, index: Path):
    write_wheel(index, "alpha", f"cp37-cp37m-{LINUX}", version="1.0")
    write_wheel(index, "alpha", f"cp311-cp311-{LINUX}", version="1.2")
    write_wheel(index, "alpha", f"cp311-cp311-{LINUX}", version="3.0")
    write_wheel(index, "beta")

    with pytest.raises(PinsWithoutWheels) as stop:
        _fetch(tmp_path, "alpha==1.0\nbeta==1.0", command="custom-image build x --package y")

    message = str(stop.value)
    assert stop.value.exit_code == 2
    assert [(p.dependency.text, p.pythons, p.nearest) for p in stop.value.table.missing] == [
        ("alpha==1.0", ("3.7",), "1.2")
    ]
    assert "custom-image build x --package y --python 3.7" in message
    assert "custom-image build x --package y --relax" in message
    assert not list((tmp_path / "cache").glob("adopted-*"))


def test_relaxed_the_nearest_version_comes_not_the_newest(tmp_path: Path, index: Path):
    for version, tag in (("1.0", "cp37-cp37m"), ("1.2", "cp311-cp311"), ("3.0", "cp311-cp311")):
        write_wheel(index, "alpha", f"{tag}-{LINUX}", version=version)

    wheels = _fetch(tmp_path, "alpha==1.0", relax=True)
    again = _fetch(tmp_path, "alpha==1.0", relax=True)

    assert _versions(wheels)["alpha"] == "1.2"
    assert "alpha==1.0 → alpha==1.2" in str(wheels)
    assert (again.lock, str(again)) == (wheels.lock, str(wheels)), "said each time"


def test_an_upper_bound_without_a_wheel_counts_as_a_pin(tmp_path: Path, index: Path):
    write_wheel(index, "alpha", f"cp38-cp38-{LINUX}", version="1.0")
    write_wheel(index, "alpha", f"cp311-cp311-{LINUX}", version="2.0")

    with pytest.raises(PinsWithoutWheels, match=r"alpha<=1\.5 +3\.8 +2\.0"):
        _fetch(tmp_path, "alpha<=1.5")


def test_what_is_there_as_source_alone_says_how_a_wheel_is_made(tmp_path: Path, index: Path):
    (index / "alpha-1.0.tar.gz").write_bytes(b"")

    with pytest.raises(PinsWithoutWheels) as stop:
        _fetch(tmp_path, "alpha", imports="import alpha")

    assert "pip wheel --no-deps" in str(stop.value)
    assert "--relax" not in str(stop.value)


def test_a_wheel_in_the_package_answers_for_it(tmp_path: Path, index: Path):
    (tmp_path / "brought").mkdir()
    write_wheel(tmp_path / "brought", "alpha")

    assert _versions(_fetch(tmp_path, "alpha", imports="import alpha"))["alpha"] == "1.0"


def test_relaxed_what_nothing_imports_and_no_index_has_is_left_out(tmp_path: Path, index: Path):
    wheels = _fetch(tmp_path, "windows-only==1.0", relax=True)

    assert "windows-only" not in _versions(wheels)
    assert "nothing imports it" in str(wheels)


def test_an_import_that_nothing_brings_is_refused_with_its_line(tmp_path: Path, index: Path):
    write_wheel(index, "alpha")

    with pytest.raises(PackageError, match=r"customize_service\.py, line 3: imports unheard_of"):
        _fetch(tmp_path, "alpha", imports="import unheard_of")


def test_an_import_in_a_try_or_a_function_may_be_missing(tmp_path: Path, index: Path):
    imports = "try:\n    import unheard_of\nexcept ImportError:\n    unheard_of = None\n"
    imports += "def other():\n    import unheard_of_too\n"

    assert _fetch(tmp_path, "", imports=imports).lock


def test_what_this_python_no_longer_has_is_refused_with_the_one_that_has(
    tmp_path: Path, index: Path
):
    with pytest.raises(
        PackageError, match=r"(?s)line 3: uses collections\.Iterable.*--python 3\.9"
    ):
        _fetch(tmp_path, "", imports="from collections import Iterable")


def test_requirements_on_the_command_line_count_before_the_packages(tmp_path: Path, index: Path):
    for version in ("1.0", "2.0"):
        write_wheel(index, "alpha", version=version)

    assert _versions(_fetch(tmp_path, "alpha==1.0", more=["alpha==2.0"]))["alpha"] == "2.0"


def test_what_does_not_go_together_is_refused_in_pips_words(tmp_path: Path, index: Path):
    write_wheel(index, "alpha", needs="beta>=2")
    for version in ("1.0", "2.0"):
        write_wheel(index, "beta", version=version)

    with pytest.raises(BuildFailed, match="cannot be installed"):
        _fetch(tmp_path, "alpha\nbeta==1.0")


def test_numpy_1_stays_beside_wheels_of_its_age(tmp_path: Path, index: Path):
    write_wheel(index, "pandas", version="2.1")
    for version in ("1.26", "2.4"):
        write_wheel(index, "numpy", version=version)

    wheels = _fetch(tmp_path, "pandas==2.1\nnumpy>=1.15")

    assert _versions(wheels)["numpy"] == "1.26"
    assert "compiled against numpy 1" in str(wheels)


def test_names_that_are_gone_hold_a_version_back(tmp_path: Path, index: Path):
    for version in ("1.23.5", "2.4"):
        write_wheel(index, "numpy", version=version)

    wheels = _fetch(tmp_path, "numpy", imports="import numpy as np\nSIDE = np.int(8)")

    assert _versions(wheels)["numpy"] == "1.23.5"
    assert "customize_service.py, line 4: numpy.int" in str(wheels)


def test_code_that_may_never_run_holds_back_no_version_that_has_no_wheel(
    tmp_path: Path, index: Path
):
    write_wheel(index, "numpy", version="2.4")
    imports = "import numpy as np\ndef old():\n    return np.int(8)"

    assert _versions(_fetch(tmp_path, "numpy", imports=imports))["numpy"] == "2.4"


def test_a_name_that_no_version_with_a_wheel_has_is_refused_with_its_line(
    tmp_path: Path, index: Path
):
    write_wheel(index, "numpy", version="2.4")
    write_wheel(index, "numpy", f"cp37-cp37m-{LINUX}", version="1.19")

    with pytest.raises(PackageError, match=r"line 4: numpy\.int, which numpy<1\.24 has;.* 2\.4"):
        _fetch(tmp_path, "numpy", imports="import numpy as np\nSIDE = np.int(8)", relax=True)


@pytest.mark.parametrize(
    ("code", "taken"),
    [("cv2.resize", "opencv-python-headless"), ("cv2.imshow", "opencv-python")],
)
def test_opencv_comes_without_a_desktop_where_nothing_shows_a_window(
    code: str, taken: str, tmp_path: Path
):
    assert _wishes(tmp_path, f"import cv2\nSHOW = {code}") == {taken: "==4.5.5.64"}


def _wishes(tmp_path: Path, imports: str) -> dict[str, str]:
    brought = tmp_path / "brought"
    brought.mkdir()
    (brought / "customize_service.py").write_text(SERVICE.format(imports=imports))
    (brought / "requirements.txt").write_text("opencv-python==4.5.5.64")
    package = package_folder(brought, folder=tmp_path / "adopted")
    wishes = resolution.wish_list(package, (), ChangeLog())
    return {name: str(wish.requirement.specifier) for name, wish in wishes.items()}


# --- shared objects -------------------------------------------------------------------------------


def test_what_a_real_shared_object_needs_is_read(tmp_path: Path):
    import _ctypes

    _, needs = read_needs(Path(_ctypes.__file__).read_bytes())

    assert "libc.so.6" in needs
    assert read_needs(b"no ELF") == ("", [])
    assert read_needs(b"\x7fELF\x02\x01" + b"\xff" * 60) == ("", [])


def test_what_wheels_bring_themselves_is_not_missing(tmp_path: Path):
    needy = tmp_path / "cv2-1.0-cp311-cp311-linux_x86_64.whl"
    with zipfile.ZipFile(needy, "w") as archive:
        archive.writestr("cv2/cv2.so", shared_object("cv2.so", "libGL.so.1", "libz.so.1"))
        archive.writestr("cv2.libs/libz.so.1", shared_object("libz.so.1", "libunheard_of.so"))

    assert missing_objects([needy]) == {"libGL.so.1": "cv2 (cv2.so)"}


def shared_object(soname: str, *needs: str) -> bytes:
    """Return an ELF file with a dynamic section alone, loaded at its own offset."""
    strings, places = b"\0", []
    for name in (soname, *needs):
        places.append(len(strings))
        strings += name.encode() + b"\0"
    dynamic_at = 64 + 2 * 56
    entries = [(14, places[0]), *((1, place) for place in places[1:]), (5, 0), (0, 0)]
    strings_at = dynamic_at + 16 * len(entries)
    entries[-2] = (5, strings_at)
    dynamic = b"".join(struct.pack("<qQ", *entry) for entry in entries)
    size = strings_at + len(strings)
    header = (
        b"\x7fELF\x02\x01" + bytes(26) + struct.pack("<QQIHHHHHH", 64, 0, 0, 64, 56, 2, 0, 0, 0)
    )
    load = struct.pack("<IIQQQQQQ", 1, 4, 0, 0, 0, size, size, 4096)
    program = struct.pack("<IIQQQQQQ", 2, 4, dynamic_at, dynamic_at, 0, len(dynamic), 0, 8)
    return header + load + program + dynamic + strings
