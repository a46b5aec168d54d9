"""config.json: what the platform refuses is an error, what it merely ignores is a remark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_image import specification
from custom_image.errors import PackageError
from custom_image.model_config import (
    Api,
    Body,
    Health,
    ModelConfig,
    parse_model_config,
    read_model_config,
)


def document() -> dict[str, Any]:
    """The config.json of the example, as people write it."""
    return {
        "model_algorithm": "image_classification",
        "model_type": "Image",
        "metrics": {"accuracy": 0.985, "f1": 0.98},
        "apis": [
            {
                "url": "/",
                "method": "post",
                "request": {
                    "Content-type": "multipart/form-data",
                    "data": {"type": "object", "properties": {"images": {"type": "file"}}},
                },
                "response": {
                    "Content-type": "application/json",
                    "data": {"type": "object", "properties": {"mnist_result": {"type": "integer"}}},
                },
            }
        ],
        "health": {"check_method": "HTTP", "url": "/health", "period_seconds": "5"},
    }


def parse(changes: dict[str, Any]) -> ModelConfig:
    return parse_model_config(json.dumps(document() | changes))


def api(**changes: Any) -> dict[str, Any]:
    return {"apis": [document()["apis"][0] | changes]}


def test_the_example_is_accepted_without_remarks():
    config = parse({})

    assert config.apis[0].url == "/"
    assert config.apis[0].request == Body(
        content_type="multipart/form-data",
        data={"type": "object", "properties": {"images": {"type": "file"}}},
    )
    assert config.health is not None
    assert config.health.period_seconds == 5
    assert config.metrics is not None
    assert config.metrics.accuracy == 0.985
    assert config.remarks == ()


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"model_algorithm": "1st"}, "model_algorithm", "letter"),
    ({"model_algorithm": ""}, "model_algorithm", "letter"),
    ({"model_algorithm": "图像"}, "model_algorithm", "letter"),
    ({"model_algorithm": "a图"}, "model_algorithm", "Chinese"),
    ({"model_algorithm": "a" * 37}, "model_algorithm", "36 characters"),
    *(({"model_algorithm": f"a{c}"}, "model_algorithm", "any of") for c in "&!'\\\"<>="),
    ({"model_algorithm": None}, "model_algorithm", "a string"),
    ({"model_type": "image"}, "model_type", '"Image"'),
    ({"model_type": "PyTorch"}, "model_type", '"Image"'),
    ({"model_type": 1}, "model_type", "a string"),
    ({"dependencies": [{"installer": "pip"}]}, "dependencies", "Dockerfile"),
    ({"apis": {}}, "apis", "an array"),
    ({"apis": ["/"]}, "apis[0]", "an object"),
    (api(url="predict"), "apis[0].url", 'starts with "/"'),
    (api(url="http://host/"), "apis[0].url", 'starts with "/"'),
    (api(url="/a b"), "apis[0].url", "no spaces"),
    (api(method="put"), "apis[0].method", "post or get"),
    (api(method="pots"), "apis[0].method", 'Did you mean "post"?'),
    (api(protocol="ftp"), "apis[0].protocol", "http or https"),
    (api(request="x"), "apis[0].request", "an object"),
    (
        api(request={"Content-type": "applicaton/json"}),
        "apis[0].request.Content-type",
        'Did you mean "application/json"?',
    ),
    (api(request={"Content-type": "text/plain"}), "apis[0].request.Content-type", "text/plain"),
    (api(request={"data": "no schema"}), "apis[0].request.data", "JSON schema"),
    (api(request={"data": "[" * 10000}), "apis[0].request.data", "JSON schema"),
    (api(request={"data": [1]}), "apis[0].request.data", "an object"),
    ({"apis": [{}, {"url": "/", "method": "POST"}]}, "apis[1]", "a second time"),
    ({"metrics": {"f1": "0.3"}}, "metrics.f1", "a number"),
    ({"metrics": {"f1": True}}, "metrics.f1", "a number"),
    ({"metrics": [0.3]}, "metrics", "an object"),
    ({"health": {}}, "health.url", '"/health"'),
    ({"health": {"url": "health"}}, "health.url", 'starts with "/"'),
    ({"health": {"check_method": "EXEC"}}, "health.command", "command"),
    ({"health": {"check_method": "EXEC", "command": " "}}, "health.command", "command"),
    ({"health": {"check_method": "TCP", "url": "/"}}, "health.check_method", "HTTP or EXEC"),
    ({"health": {"check_method": "http", "url": "/"}}, "health.check_method", 'mean "HTTP"'),
    ({"health": {"url": "/", "protocol": "https"}}, "health.protocol", "http"),
    ({"readiness_health": {"check_method": "EXEC"}}, "readiness_health.command", "command"),
    *(
        ({"health": {"url": "/", "period_seconds": wrong}}, "health.period_seconds", "from 1 to")
        for wrong in (0, "0", -1, 2**31, "5s", "", 5.5, True, "\u0665", [5])
    ),
    ({"health": {"url": "/", "initial_delay_seconds": -1}}, "initial_delay_seconds", "from 0 to"),
]


@pytest.mark.parametrize(("changes", "place", "expected"), REFUSED)
def test_what_the_platform_refuses_is_an_error_that_names_the_place(
    changes: dict[str, Any], place: str, expected: str
):
    with pytest.raises(PackageError) as caught:
        parse(changes)

    message = str(caught.value)
    assert message.startswith("config.json: ")
    assert place in message.splitlines()[0]
    assert expected in message
    assert len(message.splitlines()) <= 3


def test_a_missing_member_that_is_only_misspelt_is_recognised():
    changed = document()
    changed["model_algoritm"] = changed.pop("model_algorithm")

    with pytest.raises(PackageError, match=r"(?s)algorithm is missing.*\"model_algoritm\"\? Renam"):
        parse_model_config(json.dumps(changed))


def test_all_faults_are_named_and_the_first_is_explained():
    with pytest.raises(PackageError) as caught:
        parse({"model_type": "image", "dependencies": [1], "apis": {}, "metrics": 1})

    assert str(caught.value).splitlines() == [
        'config.json: model_type: expected "Image", found "image".',
        "A custom image has this type, whatever engine is in it.",
        "Also at fault: metrics, apis, dependencies.",
    ]


REMARKED: list[tuple[dict[str, Any], str, str, str]] = [
    (api(procotol="http"), "key", "apis[0].procotol", '"protocol"'),
    ({"helth": {}}, "key", "helth", '"health"'),
    ({"colour": 1}, "key", "colour", "ignores"),
    (api(request={"Content-Type": "multipart/form-data"}), "key", "Content-Type", '"Content-type"'),
    (api(request={"content_type": "x"}), "key", "content_type", '"Content-type"'),
    ({"health": {"url": "/h", "periodSeconds": 1}}, "key", "health.periodSeconds", "period_sec"),
    (
        api(response={"Content-type": "applicaton/json"}),
        "content-type",
        "apis[0].response.Content-type",
        '"application/json"',
    ),
    (
        api(response={"data": {"type": "array", "item": [{"type": "string"}]}}),
        "schema",
        "apis[0].response.data.item",
        '"items"',
    ),
    (
        api(response={"data": '{"type": "array", "item": []}'}),
        "schema",
        "apis[0].response.data.item",
        '"items"',
    ),
    (
        api(response={"data": {"properties": {"a": {"type": "file"}}}}),
        "schema",
        "response.data.properties.a.type",
        "multipart/form-data request",
    ),
    (
        api(request={"Content-type": "application/json", "data": {"type": "file"}}),
        "schema",
        "request.data.type",
        "multipart/form-data request",
    ),
    (api(response={"data": {"type": "String"}}), "schema", "data.type", '"string"'),
    (api(response={"data": {"properties": []}}), "schema", "data.properties", "object"),
    ({"metrics": {"accuracy": 98.5}}, "metrics", "metrics.accuracy", "from 0 to 1"),
    ({"metrics": {"Accuracy": 0.9}}, "key", "metrics.Accuracy", '"accuracy"'),
    ({"runtime": "python3.6"}, "section", "runtime", "Remove"),
    ({"swr_location": "swr.x/y/z:1"}, "section", "swr_location", "Remove"),
]


@pytest.mark.parametrize(("changes", "kind", "where", "hint"), REMARKED)
def test_what_the_platform_ignores_is_a_remark(
    changes: dict[str, Any], kind: str, where: str, hint: str
):
    (remark,) = parse(changes).remarks

    assert remark.kind == kind
    assert where in remark.where
    assert hint in remark.message


def test_decimals_are_counted_as_written_not_as_rounded():
    text = json.dumps(document()).replace("0.985", "0.12345678901234567890")

    (remark,) = parse_model_config(text).remarks

    assert str(remark) == "metrics.accuracy: has 20 decimals; the platform keeps 17 decimals."


def test_the_platforms_own_sample_is_accepted_with_a_remark_on_each_typo():
    sample = {
        "url": "/",
        "method": "post",
        "procotol": "http",
        "request": document()["apis"][0]["request"],
        "response": {
            "Content-type": "applicaton/json",
            "data": {
                "type": "object",
                "properties": {"mnist_result": {"type": "array", "item": [{"type": "string"}]}},
            },
        },
    }

    hints = [
        remark.message.split("Did you mean ")[1] for remark in parse({"apis": [sample]}).remarks
    ]

    assert hints == ['"protocol"?', '"application/json"?', '"items"?']


def test_members_that_the_platform_itself_returns_are_no_remark():
    returned = {"model_source": "custom", "tunable": False, "downloadable_flag": True}

    assert parse(returned).remarks == ()


def test_methods_are_compared_without_regard_to_case():
    assert parse(api(method="POST")).apis[0].method == "post"


def test_what_is_left_out_has_the_defaults_of_the_page():
    (empty,) = parse({"apis": [{}]}).apis

    assert (empty.url, empty.method, empty.request) == ("/", "post", None)
    assert Body().content_type == "application/json"


def test_numbers_of_a_health_check_are_read_as_either_and_written_as_strings():
    config = parse({"health": {"url": "/h", "period_seconds": 7, "failure_threshold": "12"}})

    assert config.health is not None
    assert (config.health.period_seconds, config.health.failure_threshold) == (7, 12)
    assert json.loads(config.to_json())["health"] == {
        "url": "/h",
        "period_seconds": "7",
        "failure_threshold": "12",
    }


def test_writing_keeps_unknown_members_and_adds_none():
    text = parse({"algorithm": "cnn", "health": None}).to_json()

    expected = document() | {"algorithm": "cnn"}
    expected.pop("health")
    assert json.loads(text) == expected
    assert parse_model_config(text).to_json() == text


def test_a_config_can_be_written_in_python_by_the_names_of_its_fields():
    config = ModelConfig(
        model_algorithm="digits",
        model_type=specification.MODEL_TYPE.value,
        apis=[Api(url="/predict", request=Body(content_type="application/json"))],
        health=Health(check_method="EXEC", command="sh /home/health.sh", timeout_seconds=3),
    )

    assert json.loads(config.to_json()) == {
        "model_algorithm": "digits",
        "model_type": "Image",
        "apis": [{"url": "/predict", "request": {"Content-type": "application/json"}}],
        "health": {
            "check_method": "EXEC",
            "command": "sh /home/health.sh",
            "timeout_seconds": "3",
        },
    }


NOT_A_CONFIG = {
    "empty": ("", "not JSON"),
    "cut off": ('{"model_type": "Image"', "not JSON"),
    "with a comment": ('{// why\n"a": 1}', "line 1"),
    "an array of apis": ('[{"url": "/"}]', 'under the key "apis"'),
    "null": ("null", "expected an object"),
    "a repeated key": ('{"model_type": "Image", "model_type": "x"}', "stands twice"),
    "NaN": ('{"metrics": {"f1": NaN}}', "NaN"),
    "infinite": ('{"metrics": {"f1": 1e999}}', "1e999"),
    "a number of 5000 digits": (f'{{"a": {"1" * 5000}}}', "no number of JSON"),
    "half a character": ('{"a": "\\ud800"}', "surrogate"),
    "a byte order mark": ("\ufeff{}", "UTF-8 with BOM"),
    "61 levels": ('{"a":' * 61 + "{}" + "}" * 61, "more than 60 levels"),
    "100,000 levels": ("[" * 100_000, "more than 60 levels"),
    "2 MB": (json.dumps({"a": "x" * 2_000_000}), "larger than 1 MB"),
}


@pytest.mark.parametrize(("text", "expected"), NOT_A_CONFIG.values(), ids=NOT_A_CONFIG)
def test_text_that_is_no_config_is_refused_in_words(text: str, expected: str):
    with pytest.raises(PackageError, match=expected):
        parse_model_config(text)


def test_a_file_is_read_and_named_in_messages(tmp_path: Path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(document() | {"model_type": "x"}), encoding="utf-8")

    with pytest.raises(PackageError) as caught:
        read_model_config(path)

    assert str(caught.value).startswith(f"{path}: model_type: ")


def test_a_file_that_cannot_be_read_is_refused_in_words(tmp_path: Path):
    latin = tmp_path / "latin.json"
    latin.write_bytes('{"a": "é"}'.encode("latin-1"))
    huge = tmp_path / "huge.json"
    with huge.open("wb") as file:
        file.truncate(100_000_000)

    for path, expected in [
        (tmp_path / "none.json", "No such file"),
        (tmp_path, "Is a directory"),
        (latin, "byte 7 is not UTF-8"),
        (huge, "larger than 1 MB"),
    ]:
        with pytest.raises(PackageError, match=expected):
            read_model_config(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(list(document())), inner)
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.text() | JSON.map(json.dumps))
def test_any_text_is_parsed_or_refused_and_never_breaks_the_parser(text: str):
    try:
        config = parse_model_config(text)
    except PackageError as error:
        str(error).encode()
    else:
        assert parse_model_config(config.to_json()).to_json() == config.to_json()


MEMBERS = {
    "": [*document(), "runtime", "swr_location", "dependencies", "readiness_health"],
    "apis": ["url", "method", "protocol", "request", "response", "procotol"],
    "request": ["Content-type", "data", "Content-Type"],
    "health": ["check_method", "url", "command", "period_seconds", "protocol"],
    "metrics": ["accuracy", "f1"],
    "data": ["type", "properties", "items", "item", "required"],
}


def members(name: str, *, levels: int) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with the keys of config.json and values of the right or any other kind."""
    inner = st.deferred(lambda: any_member(levels - 1))
    return st.dictionaries(st.sampled_from(MEMBERS[name]), inner | JSON, max_size=6)


def any_member(levels: int) -> st.SearchStrategy[Any]:
    words = st.sampled_from(["Image", "/", "post", "HTTP", "multipart/form-data", "file", "5"])
    if levels == 0:
        return words
    return words | st.one_of(
        *(members(n, levels=levels) for n in MEMBERS),
        *(st.lists(members(n, levels=levels), max_size=2) for n in MEMBERS),
    )


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(MEMBERS[""]), any_member(3), max_size=3))
def test_any_change_of_a_good_config_is_parsed_or_refused(changes: dict[str, Any]):
    try:
        config = parse(changes)
    except PackageError as error:
        str(error).encode()
    else:
        assert parse_model_config(config.to_json()).to_json() == config.to_json()
