"""Requests that a service has to refuse, made from what config.json declares."""

from __future__ import annotations

from custom_image.model_config import Api
from custom_image.probing.http import Request
from custom_image.probing.sample_requests import (
    FORM_HEADER,
    JSON_TYPE,
    form,
    form_values,
    is_file,
    sample_of,
)
from custom_image.specification import REQUEST_BODY

MB = 10**6
# One more than the gateway lets through; also more than 12 MiB, as which servers may read "12 MB".
TOO_LARGE_BYTES = (REQUEST_BODY.value + 1) * MB
NOISE = b"This is no picture. "


def bad_requests(api: Api) -> dict[str, Request]:
    """Return what clients get wrong, by name; empty where the api takes no body."""
    good = sample_of(api)
    if not good.body:
        return {}
    schema = api.request.data if api.request else None
    if good.content_type == FORM_HEADER:
        return {
            **{name: _with(good, body) for name, body in _bad_forms(schema).items()},
            "JSON instead of a form": _with(good, b"{}", JSON_TYPE),
            "a form cut off half-way": _with(good, good.body[: len(good.body) // 2]),
        }
    return {
        "text": _with(good, NOISE),
        "an empty body": _with(good, b""),
        "JSON cut off half-way": _with(good, good.body[: len(good.body) // 2]),
        "a list instead of an object": _with(good, b"[]"),
        "a number instead of an object": _with(good, b"0"),
        "a form instead of JSON": _with(good, form({"x": "1"}), FORM_HEADER),
        f"{TOO_LARGE_BYTES // MB} MB": _with(good, b'"' + b"x" * TOO_LARGE_BYTES + b'"'),
    }


def _bad_forms(schema: dict[str, object] | None) -> dict[str, bytes]:
    """Return forms of which one part is wrong: the first file, or the first part at all."""
    values = form_values(schema)
    members = (schema or {}).get("properties")
    members = members if isinstance(members, dict) else {}
    part = next((name for name in values if is_file(members.get(name))), next(iter(values), "file"))
    content = values.get(part, b"")
    whole = content if isinstance(content, bytes) else content.encode()
    others = {name: value for name, value in values.items() if name != part}
    return {
        "text as a file": form({**others, part: NOISE * 20}),
        "an empty part": form({**others, part: b""}),
        "a part of another name": form({**others, f"not_{part}": whole}),
        "a picture cut off half-way": form({**others, part: whole[: len(whole) // 2]}),
        f"{TOO_LARGE_BYTES // MB} MB": form({**others, part: whole.ljust(TOO_LARGE_BYTES, b"\0")}),
    }


def _with(good: Request, body: bytes, content_type: str = "") -> Request:
    return Request(good.method, good.path, body, content_type or good.content_type)
