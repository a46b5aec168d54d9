"""The contract of the platform's requests: what both sides read out of a request."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_image.platform_api import (
    INSTANCES,
    SERVICE_VERSION_V2,
    file_member,
    find_nested,
    next_version,
    scalars_of,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(["type", "properties", "items", "index", "x"]), children, max_size=4
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("version", "following"),
    [
        ("1.0.0", "1.0.1"),
        ("1.0.99", "1.1.0"),
        ("1.99.99", "2.0.0"),
        ("99.99.98", "99.99.99"),
        ("99.99.99", ""),
    ],
)
def test_a_version_is_followed_by_one_that_is_allowed_or_by_none(version, following):
    assert next_version(version) == following
    assert not following or SERVICE_VERSION_V2.allows(following)


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["/a/", "/b"], None),
        (["/a", "/ab/", "/a-b"], None),
        (["/b", "/a/b/c", "/a/"], ("/a/", "/a/b/c/")),
        (["/a", "/a-b", "/a/c"], ("/a/", "/a/c/")),
        (["/a/", "/a"], ("/a/", "/a/")),
    ],
)
def test_a_folder_that_lies_in_another_is_found(paths, found):
    assert find_nested(paths) == found


@pytest.mark.parametrize("value", [0, 129, True, "1", 1.0, None])
def test_a_range_holds_whole_numbers_alone(value):
    assert not INSTANCES.allows(value)
    assert INSTANCES.allows(1)
    assert INSTANCES.allows(128)


def test_one_file_and_nothing_else_is_a_batch_of_files():
    file, text = {"type": "file"}, {"type": "string"}

    assert file_member({"properties": {"images": file}}) == "images"
    assert file_member({"properties": {"images": file, "name": text}}) == ""
    assert file_member({"properties": {"name": text}}) == ""


def test_scalars_are_named_by_their_place():
    rule = {
        "properties": {
            "x": {"type": "number", "index": 0},
            "more": {"type": "array", "items": [{"type": "string"}, {"type": "object"}]},
            "one": {"items": {"type": "boolean"}},
        }
    }

    assert [where for where, _ in scalars_of(rule, "rule")] == [
        "rule.x",
        "rule.more[0]",
        "rule.one[0]",
    ]


@settings(max_examples=200, deadline=None)
@given(schema=JSON)
def test_no_schema_makes_a_reader_fail(schema):
    assert all(leaf["type"] for _, leaf in scalars_of(schema))
    assert isinstance(file_member(schema), str)
