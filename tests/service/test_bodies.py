"""Bodies of every shape: what `_preprocess` gets, and that nothing gets a 500."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from runtime import MULTIPART, multipart

from model_service.http.bodies import decode_body
from model_service.http.messages import Refused, Request
from model_service.http.surface import Api

NAMES = st.text(st.characters(codec="utf-8", exclude_characters='"\\\r\n\0'), min_size=1)
FILE_NAMES = NAMES.filter(lambda name: "/" not in name and name not in (".", ".."))
PART = st.tuples(NAMES, st.none() | FILE_NAMES, st.binary(max_size=300))
PARTS = st.lists(PART, max_size=5, unique_by=lambda part: part[0])


def request(body: bytes, content_type: str = MULTIPART) -> Request:
    made = Request("POST", "/", b"", "/")
    made.read_headers([(b"content-type", content_type.encode())])
    made.body = body
    return made


def refusal(made: Request) -> Refused | None:
    try:
        decode_body(Api(), made)
    except Refused as refused:
        return refused
    return None


@given(PARTS)
@settings(max_examples=200, deadline=None)
def test_parts_come_out_as_they_went_in(parts):
    data = decode_body(Api(), request(multipart(*parts)))

    assert data.keys() == {name for name, _, _ in parts}
    for name, filename, content in parts:
        if filename is None:
            assert data[name] == content.decode("utf-8", "replace")
        else:
            ((found, file),) = data[name].items()
            assert (found, file.read()) == (filename, content)


@given(st.binary(max_size=400), st.binary(max_size=60) | st.sampled_from([MULTIPART.encode()]))
@settings(max_examples=300, deadline=None)
def test_any_bytes_under_any_type_are_decoded_or_refused(body, content_type):
    made = request(body)
    made.content_type = content_type

    refused = refusal(made)

    assert refused is None or refused.status in (400, 413, 415, 422)
    assert refused is None or json.loads(refused.response().body)["error"]


@given(PARTS, st.integers(0, 400), st.integers(0, 400), st.binary(max_size=20))
@settings(max_examples=300, deadline=None)
def test_a_damaged_body_is_decoded_or_refused(parts, start, size, noise):
    body = multipart(*parts)

    refused = refusal(request(body[:start] + noise + body[start + size :]))

    assert refused is None or refused.status in (400, 413)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.dictionaries(st.text(), JSON))
@settings(max_examples=50, deadline=None)
def test_json_comes_out_as_it_went_in(value):
    body = json.dumps(value).encode()

    assert decode_body(Api(), request(body, "application/json")) == value
