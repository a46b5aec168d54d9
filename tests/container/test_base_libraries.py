"""What a base image lacks of what wheels need, asked of the base itself."""

from __future__ import annotations

import pytest

from custom_image.builders import find_base
from custom_image.builders.base_libraries import missing_packages
from custom_image.errors import UsageError
from custom_image.target_python import TargetPython

NEEDED = {
    "libc.so.6": "everything",
    "libGL.so.1": "opencv_python (cv2.abi3.so)",
    "libgthread-2.0.so.0": "opencv_python (cv2.abi3.so)",
}


def test_what_it_has_is_not_missing_and_the_rest_is_named_with_its_debian_package(
    docker_engine, capsys
):
    base, python = find_base(engine=docker_engine)

    packages = missing_packages(base, NEEDED, python=python, engine=docker_engine)

    assert packages == ("libgl1", "libglib2.0-0")
    assert "libGL.so.1 (libgl1), which opencv_python (cv2.abi3.so) needs" in capsys.readouterr().err


def test_a_base_that_somebody_named_is_not_changed(docker_engine, tiny_image):
    with pytest.raises(UsageError, match=r"apt-get install .*libgl1"):
        missing_packages(tiny_image.reference, NEEDED, python=TargetPython(), engine=docker_engine)
