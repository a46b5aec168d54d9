"""Whatever stands in config.json, in a Dockerfile or in an archive: a verdict, or a clear error."""

from __future__ import annotations

import json
import string
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_archives import configuration, docker_archive, layer_of
from judging import GOOD_SERVICE, judge

from custom_image.errors import CustomImageError
from custom_image.image_archive import Archive
from custom_image.model_config import parse_model_config

GOOD = json.loads((GOOD_SERVICE / "config.json").read_text())
ONE_LAYER = layer_of({"home/run.sh": b"#!/bin/sh\nexec python3 serve.py\n"})
# A few seconds in all: these run with every `make test`.
QUICKLY = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("http")
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(string.ascii_letters, max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def places(document: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Return the way to every value in a JSON document."""
    if isinstance(document, dict):
        inner = document.items()
    elif isinstance(document, list):
        inner = enumerate(document)
    else:
        return [path]
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


@st.composite
def changed(draw: st.DrawFn, document: object) -> object:
    """Return a good document with one value replaced by anything, or a key renamed."""
    copy = json.loads(json.dumps(document))
    *way, last = draw(st.sampled_from([place for place in places(copy) if place]))
    parent = copy
    for key in way:
        parent = parent[key]
    parent[last] = draw(ANYTHING)
    if isinstance(parent, dict) and draw(st.booleans()):
        parent[draw(st.text(string.ascii_letters, max_size=12))] = parent.pop(last)
    return copy


def judged_statically(content: bytes | str, name: str) -> None:
    """Judge a folder with one file; nothing may break on the way."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        report = judge(folder, level="static")
        assert "broke" not in str(report), str(report)
        json.loads(report.to_json())


# --- config.json ----------------------------------------------------------------------------------


@QUICKLY
@given(changed(GOOD))
def test_a_config_with_any_value_anywhere_is_judged(document):
    judged_statically(json.dumps(document), "config.json")


@QUICKLY
@given(st.binary(max_size=300) | st.text(max_size=300))
def test_a_config_of_any_bytes_is_judged(content):
    try:
        encoded = content if isinstance(content, bytes) else content.encode()
    except UnicodeEncodeError:  # a lone surrogate, which no file can hold
        return
    judged_statically(encoded, "config.json")


@QUICKLY
@given(ANYTHING | changed(GOOD))
def test_parsing_any_json_ends_in_a_config_or_in_an_error_of_ours(document):
    with suppress(CustomImageError):
        assert parse_model_config(json.dumps(document), "config.json").to_json()


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a":' * 5000 + "1" + "}" * 5000, '{"apis": ' + "9" * 5000 + "}", "NaN", ""],
    ids=["nested lists", "nested objects", "a long number", "not a number", "empty"],
)
def test_extreme_json_is_judged(text):
    judged_statically(text, "config.json")


# --- Dockerfiles ----------------------------------------------------------------------------------

INSTRUCTIONS = st.sampled_from(
    ["FROM", "RUN", "CMD", "COPY", "ENV", "ARG", "USER", "ONBUILD", "HEALTHCHECK", "# syntax=", "X"]
)
LINES = st.builds("{} {}".format, INSTRUCTIONS, st.text(max_size=40))


@settings(QUICKLY, max_examples=25)  # each starts a linter
@given(st.lists(LINES, max_size=6).map("\n".join) | st.text(max_size=100) | st.binary(max_size=100))
def test_a_dockerfile_of_any_text_is_judged(content):
    encoded = content if isinstance(content, bytes) else content.encode(errors="surrogatepass")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "Dockerfile").write_bytes(encoded)
        report = judge(folder, level="static", only=["dockerfile.lint", "secrets.files"])

        assert report.check("dockerfile.lint").verdict in ("PASSED", "WARNING", "NOT CHECKED")
        assert "broke: " not in report.check("secrets.files").measured


# --- archives -------------------------------------------------------------------------------------


@QUICKLY
@given(changed(json.loads(configuration([ONE_LAYER]))))
def test_an_image_with_any_configuration_is_judged(document):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image.tar")
        path.write_bytes(docker_archive([ONE_LAYER], json.dumps(document).encode()))
        with suppress(CustomImageError):
            report = judge(path, level="static")
            assert "broke" not in str(report), str(report)


@QUICKLY
@given(st.binary(max_size=600), st.integers(0, len(ONE_LAYER) - 1))
def test_a_layer_with_any_bytes_anywhere_is_read(content, at):
    layer = ONE_LAYER[:at] + content + ONE_LAYER[at + len(content) :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image.tar")
        path.write_bytes(docker_archive([layer]))
        with suppress(CustomImageError):
            archive = Archive(path)
            archive.find_file("/home/run.sh")
            assert archive.contents.sizes or archive.contents.damage


LONG = 5000 * "9"  # more digits than Python converts


@pytest.mark.parametrize(
    ("config", "passwd"),
    [
        ({"User": LONG}, ""),
        ({"User": f"1000:{LONG}"}, ""),
        ({"User": "²"}, ""),
        ({"ExposedPorts": {f"{LONG}/tcp": {}, "²/tcp": {}}}, ""),
        ({}, f"ma-user:x:{LONG}:100::/home/ma-user:/bin/sh\n"),
        ({}, "ma-user:x:²:100::/home/ma-user:/bin/sh\n"),
    ],
    ids=["user", "group", "superscript", "port", "account", "superscript account"],
)
def test_numbers_that_are_none_are_judged(config, passwd, tmp_path):
    layer = layer_of({"home/run.sh": b"#!/bin/sh\n", "etc/passwd": passwd.encode()})
    path = tmp_path / "image.tar"
    path.write_bytes(docker_archive([layer], **config))

    report = judge(path, level="static")

    assert report.check("boot.command").verdict == "PASSED"
    assert "broke" not in str(report)
