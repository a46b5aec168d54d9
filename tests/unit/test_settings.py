"""The project's root is the same from every folder people work in."""

from __future__ import annotations

from pathlib import Path

import pytest

from custom_image.settings import enter_project, find_project

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("folder", [".", "notebooks", "scripts/custom_image"])
def test_the_root_is_found_from_inside_the_checkout(folder, monkeypatch):
    monkeypatch.chdir(ROOT / folder)

    assert find_project() == ROOT


def test_the_root_is_found_from_elsewhere_by_where_the_package_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert find_project() == ROOT


def test_another_checkout_that_one_stands_in_goes_first(tmp_path, monkeypatch):
    for landmark in ("notebooks", "docker", "model_package"):
        (tmp_path / landmark).mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")

    assert find_project() == tmp_path.resolve()


def test_entering_the_project_makes_relative_paths_its_own(monkeypatch):
    monkeypatch.chdir(ROOT / "notebooks")

    enter_project()

    assert Path("pyproject.toml").is_file()
