"""The sdist of this checkout, and the wheel that is made of it; the tree stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.install import make_wheel


@pytest.fixture(scope="session")
def archives(tmp_path_factory) -> tuple[Path, Path]:
    return make_wheel(tmp_path_factory.mktemp("archives"))


@pytest.fixture(scope="session")
def wheel(archives) -> Path:
    return archives[1]
