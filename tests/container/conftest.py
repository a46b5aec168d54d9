"""Images that several tests start, made once a run.

The tagged ones that stay in the engine are also the builder's cache: a second run builds nothing.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_package import write_tiny_package

from custom_image.build_context import write_build_context
from custom_image.builders import BuiltImage
from custom_image.builders.docker import build


@pytest.fixture(scope="session")
def tiny_image(docker_engine, tmp_path_factory) -> BuiltImage:
    """The example's code on a model of one layer: all of a real image but its accuracy."""
    folder: Path = tmp_path_factory.mktemp("tiny")
    package = write_tiny_package(folder / "model")
    context = write_build_context(package, folder=folder / "context")
    return build(context, "custom-image/tests:tiny", engine=docker_engine)


@pytest.fixture(scope="session")
def batch_image(docker_engine, tmp_path_factory) -> BuiltImage:
    """The same on a base with what batch services need."""
    folder: Path = tmp_path_factory.mktemp("batch")
    package = write_tiny_package(folder / "model")
    context = write_build_context(package, batch=True, folder=folder / "context")
    return build(context, "custom-image/tests:batch", engine=docker_engine)
