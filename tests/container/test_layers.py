"""An edit repeats, and will push, as little as can be: layers are compared by their digests."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_package import write_tiny_package

from custom_image.build_context import write_build_context
from custom_image.builders import BuiltImage
from custom_image.builders.docker import build

TAG = "custom-image/tests:layers"


class Author:
    """Someone who edits a package and builds it again."""

    def __init__(self, folder: Path, engine) -> None:
        self.package: SimpleNamespace = write_tiny_package(folder / "model")
        self._context = folder / "context"
        self._engine = engine

    def build(self) -> BuiltImage:
        context = write_build_context(self.package, folder=self._context)
        return build(context, TAG, engine=self._engine)

    def append(self, name: str, text: str) -> None:
        with (self.package.folder / name).open("a") as file:
            file.write(text)


@pytest.fixture(scope="module")
def author(docker_engine, tmp_path_factory, tiny_image):
    author = Author(tmp_path_factory.mktemp("author"), docker_engine)
    author.build()
    yield author
    docker_engine.remove_image(TAG)


def _rebuilt(image: BuiltImage) -> list[str]:
    """Return where the instructions that were not reused put their files."""
    return [layer.instruction.split()[-1] for layer in image.layers if not layer.reused]


def _common_layers(one: BuiltImage, other: BuiltImage) -> int:
    pairs = zip(one.facts.layers, other.facts.layers, strict=True)
    return next(i for i, (a, b) in enumerate([*pairs, ("", "x")]) if a != b)


def test_building_the_same_again_gives_the_same_image(author):
    first, second = author.build(), author.build()

    assert first.facts.id == second.facts.id
    assert _rebuilt(second) == []


def test_the_same_package_elsewhere_gives_the_same_image(author, docker_engine, tmp_path):
    elsewhere = Author(tmp_path, docker_engine)
    for path in author.package.folder.iterdir():
        (elsewhere.package.folder / path.name).write_bytes(path.read_bytes())

    assert elsewhere.build().facts.id == author.build().facts.id


def test_a_code_edit_repeats_one_layer(author):
    before = author.build()
    author.append("customize_service.py", f"# {time.time_ns()}\n")

    after = author.build()

    assert _rebuilt(after) == ["/home/ma-user/infer/model/"]
    assert _common_layers(before, after) == len(before.facts.layers) - 1
    assert before.facts.layers[-1] != after.facts.layers[-1]
    assert sum(layer.bytes for layer in after.layers if not layer.reused) < 50_000


def test_new_weights_repeat_two_layers_and_no_packages(author):
    before = author.build()
    write_tiny_package(author.package.folder, seed=time.time_ns())

    after = author.build()

    assert _rebuilt(after) == ["/home/ma-user/infer/model/1/", "/home/ma-user/infer/model/"]
    assert _common_layers(before, after) == len(before.facts.layers) - 2


def test_other_apis_keep_packages_runtime_and_weights(author):
    author.build()
    config_path = author.package.folder / "config.json"
    config = json.loads(config_path.read_text())
    config["apis"][0]["url"] = f"/{time.time_ns()}"
    config_path.write_text(json.dumps(config))

    assert _rebuilt(author.build()) == ["/home/ma-user/infer/model/"]
