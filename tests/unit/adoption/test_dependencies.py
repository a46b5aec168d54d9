"""What a package says it needs, as lines of pip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from custom_image.adoption.changes import ChangeLog
from custom_image.adoption.dependencies import Dependencies
from custom_image.errors import PackageError


def _blocks(*packages: Any, files: tuple[str, ...] = ()) -> tuple[list[str], str]:
    log = ChangeLog()
    dependencies = Dependencies(list(files), log)
    dependencies.add_blocks([{"installer": "pip", "packages": list(packages)}])
    return [d.text for d in dependencies.lines], "\n".join(map(str, log.changes))


def _package(name: str, version: Any = None, restraint: Any = None) -> dict[str, Any]:
    return {"package_name": name, "package_version": version, "restraint": restraint}


@pytest.mark.parametrize(
    ("package", "line"),
    [
        (_package("numpy", "1.19.5", "EXACT"), "numpy==1.19.5"),
        (_package("numpy", "1.19.5", "ATLEAST"), "numpy>=1.19.5"),
        (_package("numpy", "1.19.5", "ATMOST"), "numpy<=1.19.5"),
        (_package("numpy", "1.19.5", "at_least"), "numpy>=1.19.5"),
        (_package("numpy", "1.19.5", ""), "numpy==1.19.5"),
        (_package("numpy", "1.19.5", "=="), "numpy==1.19.5"),
        (_package("numpy", ">=1.19", ""), "numpy>=1.19"),
        (_package("numpy", "1.19.*", "EXACT"), "numpy==1.19.*"),
        (_package("numpy", 1.19, "EXACT"), "numpy==1.19"),
        (_package("numpy", "", ""), "numpy"),
        (_package("numpy", "latest", "EXACT"), "numpy"),
        (_package("numpy", "the newest", "EXACT"), "numpy"),
        (_package("numpy==1.19.5"), "numpy==1.19.5"),
        (_package("numpy = 1.19.5".replace(" ", "")), "numpy==1.19.5"),
        (_package(" numpy >= 1.19.5 "), "numpy>=1.19.5"),
        ("numpy", "numpy"),
        (_package("torch", "1.8.1+cu111", "EXACT"), "torch==1.8.1"),
        (_package("tensorflow-gpu", "1.15.0", "EXACT"), "tensorflow==1.15.0"),
    ],
)
def test_each_way_to_say_it_becomes_a_line(package: Any, line: str):
    assert _blocks(package)[0] == [line]


def test_of_two_entries_what_says_more_counts_and_that_is_said():
    lines, said = _blocks(
        _package("PyYAML"), _package("pyyaml", "5.4", "EXACT"), _package("PyYAML")
    )

    assert lines == ["pyyaml==5.4"]
    assert "was named as PyYAML before" in said


def test_a_wheel_of_the_package_is_found_wherever_the_platform_had_it():
    wheel = "thing-1.0-py3-none-any.whl"

    lines, _ = _blocks(_package(f"/home/mind/model/{wheel}"), files=(f"wheels/{wheel}",))

    assert lines == [f"./wheels/{wheel}"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("thing-1.0-py3-none-any.whl", "is a wheel that is not in the package"),
        ("thing-1.0.tar.gz", "pip wheel --no-deps"),
        ("???", "expected a requirement"),
        ("two words", "expected a requirement"),
    ],
)
def test_what_is_no_requirement_is_refused_with_its_place(name: str, said: str):
    with pytest.raises(PackageError) as refusal:
        _blocks(_package(name))

    assert "config.json: dependencies[0].packages[0]" in str(refusal.value)
    assert said in str(refusal.value)


def test_other_installers_and_odd_entries_are_dropped_and_said():
    log = ChangeLog()
    dependencies = Dependencies([], log)

    dependencies.add_blocks([{"installer": "apt", "packages": ["x"]}, 7, {"packages": [None, {}]}])

    assert dependencies.lines == ()
    assert len(log.changes) == 4


def test_a_requirements_file_is_read_as_pip_freeze_and_people_write_it(tmp_path: Path):
    (tmp_path / "more.txt").write_text("attrs\n")
    (tmp_path / "requirements.txt").write_text(
        "# why\r\n-i https://index.invalid/simple\r\nsix==1.16.0  # why\r\n"
        "certifi @ file:///croot/certifi_1/work\r\npkg-resources==0.0.0\r\n"
        "numpy==1.19.5 \\\r\n    --hash=sha256:00\r\n-r more.txt\r\n-r ../../secret.txt\r\n"
        "-e git+https://host.invalid/x#egg=x\r\ntoolz>=0.11 ; python_version > '3'\r\n",
        encoding="utf-16",
    )
    log = ChangeLog()
    dependencies = Dependencies([], log)

    dependencies.add_file(tmp_path)

    said = "\n".join(map(str, log.changes))
    assert [d.text for d in dependencies.lines] == [
        "six==1.16.0",
        "certifi",
        "numpy==1.19.5",
        "attrs",
        'toolz>=0.11; python_version > "3"',
    ]
    assert "UTF-16" in said
    assert "line 2: dropped -i https://index.invalid/simple" in said
    assert "secret.txt; is no file of the package" in said
    assert "nothing is fetched from there" in said
