"""environment.yml says the same as pyproject.toml and requirements.lock, and conda can read it."""

from __future__ import annotations

import importlib.metadata
import itertools
import json
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "environment.yml").read_text(encoding="utf-8")
SCHEMA = json.loads((ROOT / "tests/support/conda_environment.schema.json").read_text())
NAMES_ON_CONDA_FORGE = {"docker": "docker-py", "matplotlib": "matplotlib-base", "torch": "pytorch"}


@pytest.fixture
def environment():
    return yaml.safe_load(TEXT)


def pins_of_the_lock() -> dict[str, str]:
    """Return what environment.yml should hold: each direct dependency and its locked version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([a-z0-9._-]+)==([\w.]+)", lock, flags=re.MULTILINE))
    pins = {}
    extras = project["optional-dependencies"]
    parts = [extras[name] for name in extras if name not in ("all", "dev")]
    for dependency in {*project["dependencies"], *itertools.chain(*parts)}:
        name, _, version = dependency.partition("==")
        pins[NAMES_ON_CONDA_FORGE.get(name, name)] = version or locked[name]
    return pins


def test_conda_can_read_it(environment):
    jsonschema.validate(environment, SCHEMA)


@pytest.mark.parametrize(
    "sabotage",
    [
        {"dependecies": []},
        {"dependencies": ["numpy"]},
        {"dependencies": ["numpy=2.4.6", {"pipp": ["x"]}]},
        {"channels": "conda-forge"},
    ],
    ids=["misspelt key", "no version", "misspelt pip", "channels no list"],
)
def test_the_schema_finds_what_conda_would_refuse(environment, sabotage):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(environment | sabotage, SCHEMA)


def test_its_pins_are_those_of_the_lock(environment):
    pinned = [line for line in environment["dependencies"] if isinstance(line, str) and "=" in line]
    found = {name: version for name, version, *_ in (line.split("=") for line in pinned)}
    (from_pip,) = (entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    found |= dict(line.split("==") for line in from_pip if "==" in line)
    python = found.pop("python")

    assert found == pins_of_the_lock()
    assert python == "3.11"


def test_every_line_says_why_it_is_there():
    entries = [line for line in TEXT.split("dependencies:")[1].splitlines() if "- " in line]
    unexplained = [
        line for line in entries if not re.search(r"\S  # \S", line) and not line.endswith("pip:")
    ]

    assert len(entries) > 20
    assert unexplained == []


def test_every_locked_package_takes_the_python_of_debian_12():
    locked = re.findall(
        r"^([a-z0-9._-]+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE
    )
    refusing = {
        name: wanted
        for name in locked
        if (wanted := importlib.metadata.metadata(name).get("Requires-Python"))
        and not SpecifierSet(wanted).contains("3.11.2")
    }

    assert len(locked) > 100
    assert refusing == {}
