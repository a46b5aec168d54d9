"""Requests made from config.json: good ones that fit its schemas, and what clients get wrong."""

from __future__ import annotations

import io
import json

import jsonschema
import pytest
from PIL import Image
from python_multipart.multipart import MultipartParser

from custom_image.model_config import Api, Body, ModelConfig
from custom_image.probing.bad_requests import TOO_LARGE_BYTES, bad_requests
from custom_image.probing.http import Request
from custom_image.probing.sample_requests import (
    BOUNDARY,
    form,
    sample_of,
    sample_request,
    sample_value,
    seven_jpeg,
)

FORM = {"type": "object", "properties": {"images": {"type": "file"}, "top": {"type": "integer"}}}
BATCH = {
    "type": "object",
    "properties": {
        "data": {
            "type": "object",
            "properties": {
                "req_data": {
                    "type": "array",
                    "items": [{"type": "object", "properties": {"x": {"type": "number"}}}],
                }
            },
        }
    },
}


def api(method: str = "post", content_type: str = "application/json", data=None) -> Api:
    return Api(url="/predict", method=method, request=Body(content_type=content_type, data=data))


def parts(body: bytes) -> list[tuple[str, bytes]]:
    """Read a form with a parser that this project did not write."""
    found: list[tuple[str, bytearray]] = []
    header = bytearray()

    def on_header_value(data: bytes, start: int, end: int) -> None:
        header.extend(data[start:end])

    def on_headers_finished() -> None:
        found.append((header.decode(), bytearray()))
        header.clear()

    def on_part_data(data: bytes, start: int, end: int) -> None:
        found[-1][1].extend(data[start:end])

    callbacks = {
        "on_header_value": on_header_value,
        "on_headers_finished": on_headers_finished,
        "on_part_data": on_part_data,
    }
    parser = MultipartParser(BOUNDARY.encode(), callbacks)
    parser.write(body)
    parser.finalize()
    return [(name, bytes(content)) for name, content in found]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
        {"type": "string", "minLength": 10, "maxLength": 12},
        {"type": "string", "maxLength": 2},
        {"type": "integer", "minimum": 3},
        {"type": "number"},
        {"type": "boolean"},
        {"type": ["string", "null"]},
        {"type": "null"},
        {"type": "array", "items": {"type": "integer"}, "minItems": 3},
        {"type": "array"},
        {"enum": ["cat", "dog"]},
        {"const": 7},
        {"type": "integer", "default": 5},
        {"type": "string", "examples": ["Tom"]},
        {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        {"properties": {"nested": {"type": "object", "properties": {"x": {"type": "number"}}}}},
        BATCH,
    ],
    ids=json.dumps,
)
def test_a_sample_fits_its_schema(schema):
    jsonschema.Draft7Validator(schema).validate(sample_value(schema))


@pytest.mark.parametrize("schema", [None, True, [], "text", {"type": "unheard-of"}, {"$ref": "#"}])
def test_a_schema_that_is_none_gives_a_sample_all_the_same(schema):
    json.dumps(sample_value(schema))


def test_a_schema_without_end_gives_a_sample_with_one():
    schema = {"type": "object", "properties": {}}
    schema["properties"]["again"] = schema

    json.dumps(sample_value(schema))


def test_a_form_carries_a_picture_for_a_file_and_text_for_the_rest():
    request = sample_of(api(content_type="multipart/form-data", data=FORM))

    (first, picture), (second, number) = parts(request.body)
    assert 'name="images"; filename="seven.jpg"' in first
    assert Image.open(io.BytesIO(picture)).size == (28, 28)
    assert 'name="top"' in second
    assert "filename" not in second
    assert number == b"0"
    assert request.content_type == f"multipart/form-data; boundary={BOUNDARY}"
    assert request.from_schema


def test_the_picture_is_light_on_dark_as_mnist_has_them():
    picture = Image.open(io.BytesIO(seven_jpeg()))

    assert picture.format == "JPEG"
    assert picture.mode == "L"
    corners = [picture.getpixel(at) for at in ((0, 0), (27, 0), (0, 27), (27, 27))]
    assert max(corners) < 30
    assert picture.getextrema()[1] > 200


def test_a_get_has_no_body():
    assert sample_of(api("get", data=FORM)).body == b""


def test_an_api_without_a_schema_gives_a_guess_and_says_so():
    request = sample_of(Api(url="/greet", method="post"))

    assert request == Request("POST", "/greet", b"{}", "application/json", from_schema=False)


def test_without_apis_a_service_is_asked_for_its_first_page():
    empty = ModelConfig(model_algorithm="a", model_type="Image")

    assert sample_request(None) == sample_request(empty) == Request("GET", "/", from_schema=False)


def test_a_request_travels_as_http_1_1():
    text = Request("POST", "/x", b"{}", "application/json").to_bytes("localhost:1")

    assert text == (
        b"POST /x HTTP/1.1\r\nHost: localhost:1\r\nContent-Type: application/json\r\n"
        b"Content-Length: 2\r\n\r\n{}"
    )
    assert Request("GET", "/x").to_bytes("h") == b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"


def test_bad_forms_are_wrong_in_the_part_that_is_a_file():
    wrong = bad_requests(api(content_type="multipart/form-data", data=FORM))

    def content(name: str) -> dict[str, bytes]:
        return {head.split('"')[1]: body for head, body in parts(wrong[name].body)}

    assert content("an empty part")["images"] == b""
    assert b"no picture" in content("text as a file")["images"]
    assert set(content("a part of another name")) == {"top", "not_images"}
    assert seven_jpeg().startswith(content("a picture cut off half-way")["images"])
    assert len(wrong["13 MB"].body) > TOO_LARGE_BYTES
    assert all(request.path == "/predict" for request in wrong.values())


def test_bad_json_is_wrong_in_type_and_in_syntax():
    wrong = bad_requests(api(data=BATCH))

    assert json.loads(wrong["a list instead of an object"].body) == []
    with pytest.raises(json.JSONDecodeError):
        json.loads(wrong["JSON cut off half-way"].body)
    assert wrong["an empty body"].body == b""
    assert len(wrong["13 MB"].body) > TOO_LARGE_BYTES


def test_an_api_without_a_body_has_nothing_to_get_wrong():
    assert bad_requests(api("get")) == {}


def test_a_form_without_a_schema_still_has_something_to_get_wrong():
    assert "an empty part" in bad_requests(api(content_type="multipart/form-data"))


def test_a_name_adds_no_header_to_a_form_and_half_a_character_is_sent_as_a_question_mark():
    name = 'a"\r\nX-Evil: 1\r\n\r\nb'
    ((head, content),) = parts(form({name: "1"}))
    ((half, text),) = parts(form({"\ud800": "\udfff"}))

    assert head == 'form-data; name="a%22%0D%0AX-Evil: 1%0D%0A%0D%0Ab"'
    assert content == b"1"
    assert (half, text) == ('form-data; name="?"', b"?")


def test_a_form_ends_with_its_boundary():
    assert form({}).endswith(f"--{BOUNDARY}--\r\n".encode())
