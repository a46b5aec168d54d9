"""The platform's numbers stand in one place, and what ships in an image agrees with them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from custom_image import specification
from custom_image.specification import Requirement, Source
from model_service.settings import read_settings

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "scripts/custom_image"
MODULES = sorted(p for p in TOOL.rglob("*.py") if p.name != "specification.py")
REQUIREMENTS = {
    name: value for name, value in vars(specification).items() if isinstance(value, Requirement)
}
# Spelled anywhere else in the tool, these are a second copy of a rule of the platform.
UNMISTAKABLE = {
    specification.PORT.value,
    specification.BOOT_FILE.value,
    specification.USER_NAME.value,
    specification.BIND_ADDRESS.value,
}


def literals(path: Path) -> set[object]:
    """Return the constants of a module that are not docstrings."""
    tree = ast.parse(path.read_text())
    docstrings = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and id(node) not in docstrings
        and isinstance(node.value, str | int | float)
    }


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(TOOL)))
def test_a_module_of_the_tool_spells_no_number_of_the_platform(path: Path) -> None:
    assert literals(path) & UNMISTAKABLE == set()


@pytest.mark.parametrize("name", REQUIREMENTS)
def test_a_requirement_names_a_page_of_the_platform(name: str) -> None:
    source = REQUIREMENTS[name].source

    assert isinstance(source, Source)
    assert re.fullmatch(r"https://(support\.huaweicloud|docs\.otc\.t-systems)\.com/\S+", source.url)


def test_the_runtime_keeps_to_the_platform_without_any_setting() -> None:
    settings = read_settings({})

    assert settings.port == specification.PORT.value
    assert settings.host == specification.BIND_ADDRESS.value
    assert settings.keep_alive_seconds >= specification.KEEP_ALIVE.value
    assert settings.drain_seconds == specification.SIGTERM_DRAIN.value
    assert settings.drain_seconds < settings.exit_seconds < specification.SIGTERM_EXIT.value
    assert settings.predict_timeout_seconds == specification.SYNCHRONOUS_LATENCY.value
    assert settings.max_body_bytes >= specification.REQUEST_BODY.value * 10**6


def test_the_dockerfile_keeps_to_the_platform() -> None:
    text = (ROOT / "docker/dockerfile_build/Dockerfile").read_text()
    user = f"{specification.USER_ID}:{specification.GROUP_ID}"

    assert f"EXPOSE {specification.PORT}" in text
    assert f"USER {user}" in text
    assert f'CMD ["sh", "{specification.BOOT_FILE}"]' in text
    assert f"{specification.MODEL_DIR}/" in text


def test_the_boot_file_stands_where_the_platform_looks_for_it() -> None:
    assert (ROOT / f"docker/rootfs{specification.BOOT_FILE}").is_file()
