"""config.json in whatever state it is: read as it was meant, or refused with its line."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_image.adoption.changes import Kind
from custom_image.adoption.config_json.config import CorrectedConfig, Inputs, correct_config
from custom_image.errors import PackageError
from custom_image.model_config import parse_model_config

GOOD: dict[str, Any] = {
    "model_algorithm": "image_classification",
    "model_type": "Image",
    "apis": [{"url": "/", "method": "post"}],
    "health": {"check_method": "HTTP", "url": "/health"},
}


def _correct(text: str | bytes, **options: Any) -> CorrectedConfig:
    return correct_config(text.encode() if isinstance(text, str) else text, **options)


def _document(found: CorrectedConfig) -> dict[str, Any]:
    return json.loads(found.config.to_json())


def _said(found: CorrectedConfig) -> str:
    return "\n".join(str(change) for change in found.changes)


def test_a_valid_one_stays_as_it_is():
    found = _correct(json.dumps(GOOD))

    assert found.changes == ()
    assert _document(found) == GOOD


@pytest.mark.parametrize(
    ("encoding", "said"),
    [
        ("utf-8-sig", "byte order mark"),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16"),
        ("gb18030", "GBK"),
    ],
)
def test_it_is_read_in_the_encoding_that_an_editor_left(encoding: str, said: str):
    text = json.dumps({**GOOD, "metrics": None}, ensure_ascii=False).replace(
        '"/"', '"/", "response": {"data": {"type": "object", "description": "预测"}}'
    )

    found = _correct(text.encode(encoding))

    assert said in _said(found)
    assert _document(found)["apis"][0]["response"]["data"]["description"] == "预测"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"model_algorithm": "a", // why\n "apis": []}', "line 1: read // why"),
        ('{"model_algorithm": "a", /* why\n not */ "apis": []}', "comment"),
        ('# why\n{"model_algorithm": "a"}', "comment"),
        ('{"model_algorithm": "a",}', "comma too many"),
        ('{"model_algorithm": "a",, "apis": []}', "comma too many"),
        ('{,"model_algorithm": "a"}', "comma too many"),
        ('{"model_algorithm": "a" "apis": []}', "comma is missing"),
        ("{'model_algorithm': 'a'}", "double ones"),
        ('{model_algorithm: "a"}', "key without quotes"),
        ("{“model_algorithm”：“a”，“apis”：[]}", "double ones"),  # noqa: RUF001
        ('{"model_algorithm": "b", "model_algorithm": "a"}', "twice"),
        ('{"model_algorithm": "a", "health": None}', "no word of JSON"),
        ('{"model_algorithm": "a"}}', "too many"),
        ('{"model_algorithm": "a", "metrics": {"f1": .5}}', "no number of JSON"),
        ('{"model_algorithm": "a", "x": "C:\\model"}', "no escape"),
    ],
)
def test_a_liberty_is_taken_and_said(text: str, said: str):
    found = _correct(text)

    assert said in _said(found)
    assert found.config.model_algorithm == "a"


def test_what_looks_like_a_comment_within_a_string_is_none():
    found = _correct('{"model_algorithm": "a", "swr_location": "http://x # y /* z */",}')

    assert "http://x # y /* z */" in _said(found)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('{\n"apis": [\n{"url" "/"}\n]}', "line 3: expected a colon"),
        ('{\n"apis": [\n', "line 3: expected"),
        ('{"a": 1}\n{"b": 2}', "line 2: expected the end"),
        ('{\n"a": "b\nc"}', "line 2: expected a string that ends on its line"),
        ('{\n<<<<<<< HEAD\n"a": 1\n=======\n"a": 2\n>>>>>>> x\n}', "line 2: is the marker"),
        ('"apis"', "expected an object"),
        ("<!DOCTYPE html>", "line 1: expected a value"),
        ('{"version": 1.2.3}', "line 1: expected a key"),
        ("[" * 100, "nested more than"),
        ('{"a": 1e999}', "is no number"),
        (b"\xff\x81\x00\xfe{", "neither UTF-8 nor"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_line_and_what_to_do(text: Any, where: str):
    with pytest.raises(PackageError) as refusal:
        _correct(text)

    assert where in str(refusal.value)
    assert 2 <= len(str(refusal.value).splitlines()) <= 3


@pytest.mark.parametrize("content", [None, b"", b" \r\n", b"\xef\xbb\xbf"])
def test_one_is_made_up_where_there_is_none_and_that_is_said(content: bytes | None):
    found = correct_config(content, inputs=Inputs(("images",), uploads=True))

    api = _document(found)["apis"][0]
    assert api["request"] == {
        "Content-type": "multipart/form-data",
        "data": {"type": "object", "properties": {"images": {"type": "file"}}},
    }
    assert "made up" in _said(found)
    assert parse_model_config(found.config.to_json()).remarks == ()


@pytest.mark.parametrize(
    ("change", "path", "value"),
    [
        ({"model_type": "PyTorch"}, "model_type", "Image"),
        ({"model_algorithm": "Water & 用水"}, "model_algorithm", "Water"),
        ({"model_algorithm": 7}, "model_algorithm", "predict_analysis"),
        ({"Apis": GOOD["apis"], "apis": None}, "apis.0.url", "/"),
        ({"runtime": "python3.6"}, "runtime", None),
        ({"execution_code": "x"}, "execution_code", None),
        ({"metrics": {"accuracy": "87%", "F1-score": 0.5}}, "metrics.accuracy", 0.87),
        ({"metrics": {"accuracy": "87%", "F1-score": 0.5}}, "metrics.f1", 0.5),
        ({"metrics": {"accuracy": "good"}}, "metrics", None),
        ({"health": {"check_method": "EXEC", "command": "ls"}}, "health.check_method", "HTTP"),
        ({"health": {"url": "health", "period_seconds": 5.0}}, "health.url", "/health"),
        ({"health": {"url": "/health", "period_seconds": 0}}, "health.period_seconds", None),
        ({"health": "/health"}, "health.url", "/health"),
    ],
)
def test_each_key_becomes_what_a_custom_image_has(change: Any, path: str, value: Any):
    found = _correct(json.dumps({**GOOD, **change}))

    member: Any = _document(found)
    for part in path.split("."):
        member = member[int(part)] if isinstance(member, list) else (member or {}).get(part)
    assert member == value
    assert found.changes


@pytest.mark.parametrize(
    ("api", "path", "value"),
    [
        ({"procotol": "https"}, "protocol", "http"),
        ({"url": "http://127.0.0.1:8080/predict?x=1"}, "url", "/predict"),
        ({"url": " predict "}, "url", "/predict"),
        ({"method": "Post"}, "method", "post"),
        ({"method": "put"}, "method", "post"),
    ],
)
def test_each_slip_of_an_api_is_corrected(api: Any, path: str, value: Any):
    found = _correct(json.dumps({**GOOD, "apis": [{"url": "/", "method": "post", **api}]}))

    assert _document(found)["apis"][0][path] == value


FILE = {"type": "object", "properties": {"x": {"type": "file"}}}
LIST = {"type": "array", "item": {"type": "float"}}


@pytest.mark.parametrize(
    ("side", "body", "path", "value"),
    [
        ("request", {"Content-Type": "applicaton/json"}, "Content-type", "application/json"),
        ("request", {"Content-type": "image/jpeg"}, "Content-type", "application/json"),
        ("request", {"Content-type": "multipart/from-data"}, "Content-type", "multipart/form-data"),
        ("request", {"Content-type": "application/json", "data": FILE}, "data", FILE),
        ("request", {"data": FILE}, "Content-type", "multipart/form-data"),
        ("request", {"data": json.dumps(LIST)}, "data.items.type", "number"),
        (
            "request",
            {"type": "object", "properties": {"x": {"type": "int"}}},
            "data.type",
            "object",
        ),
        ("response", {"Content-type": "multipart/json"}, "Content-type", "application/json"),
        ("response", {"data": FILE}, "data.properties.x.type", "string"),
        ("response", {"data": LIST}, "data.items.type", "number"),
        ("response", {"data": {"properties": {"item": {}}}}, "data.properties.item", {}),
        ("response", {"required": ["y"], "data": {"type": "object"}}, "data.required", ["y"]),
    ],
)
def test_each_slip_of_a_body_is_corrected(side: str, body: Any, path: str, value: Any):
    found = _correct(json.dumps({**GOOD, "apis": [{"url": "/", "method": "post", side: body}]}))

    member: Any = _document(found)["apis"][0][side]
    for part in path.split("."):
        member = member.get(part)
    assert member == value


def test_a_stream_stays_one():
    body = {"Content-type": "text/event-stream"}

    found = _correct(
        json.dumps({**GOOD, "apis": [{"url": "/", "method": "post", "response": body}]})
    )

    assert found.changes == ()


def test_the_words_of_a_change_say_what_and_why():
    (change,) = _correct(json.dumps({**GOOD, "model_type": "PyTorch"})).changes

    assert change.kind is Kind.CHANGED
    assert str(change) == (
        "config.json: model_type: changed PyTorch → Image; a custom image has this type"
    )


def test_nothing_is_made_up_where_a_folder_is_judged():
    found = _correct('{"model_algorithm": "a", "model_type": "PyTorch"}', complete=False)

    assert (found.config.apis, found.config.health) == ([], None)


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["file", "list", "https", "/", "application/json", "87%"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("apis", "url", "method", "protocol", "procotol", "request", "response"),
                    *("data", "Content-type", "type", "properties", "items", "required"),
                    *("health", "check_method", "period_seconds", "metrics", "accuracy"),
                    *("model_type", "model_algorithm", "runtime", "x"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None, database=None)
@given(ANYTHING)
def test_whatever_it_holds_becomes_valid_or_is_refused_in_words(document: Any):
    for complete in (True, False):
        try:
            found = _correct(json.dumps(document), complete=complete)
        except PackageError:
            continue
        parse_model_config(found.config.to_json())


@settings(max_examples=150, deadline=None, database=None)
@given(st.binary(max_size=60) | st.text(alphabet="{}[]:,\"'a1/#*\n\\ “", max_size=40))
def test_whatever_bytes_it_has_are_read_or_refused_in_words(content: Any):
    with suppress(PackageError):
        _correct(content)
