"""Requests that a service should answer, made from what its config.json declares."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from custom_image.model_config import Api, ModelConfig
from custom_image.probing.http import Request
from custom_image.specification import CONTENT_TYPES, INFERENCE_URL

JSON_TYPE, FORM_TYPE = CONTENT_TYPES
BOUNDARY: Final = "custom-image-sample"
SEVEN: Final = Path(__file__).parents[1] / "data" / "seven.jpg"
_DEEPEST: Final = 20
_LONGEST: Final = 100_000


def sample_request(config: ModelConfig | None) -> Request:
    """Return a request for the first api, or a plain GET where none is declared."""
    if config is None or not config.apis:
        return Request("GET", INFERENCE_URL.value, from_schema=False)
    return sample_of(config.apis[0])


def sample_of(api: Api) -> Request:
    """Return a request that fits what one api declares.

    Where it declares no schema the sample is a guess: an empty JSON object, or no body for a GET.
    """
    method = api.method.upper()
    schema = api.request.data if api.request else None
    if method == "GET":
        return Request(method, api.url, from_schema=not schema)
    content_type = api.request.content_type if api.request else JSON_TYPE
    if content_type == FORM_TYPE:
        body = form(form_values(schema))
        return Request(method, api.url, body, FORM_HEADER, bool(schema))
    body = json.dumps(sample_value(schema or {"type": "object"})).encode()
    return Request(method, api.url, body, JSON_TYPE, bool(schema))


FORM_HEADER: Final = f"{FORM_TYPE}; boundary={BOUNDARY}"


def form_values(schema: dict[str, Any] | None) -> dict[str, bytes | str]:
    """Return a value for every property of a form: bytes for a file, text for anything else."""
    values: dict[str, bytes | str] = {}
    for name, member in _members(schema or {}).items():
        if is_file(member):
            values[name] = seven_jpeg()
        else:
            value = sample_value(member)
            values[name] = value if isinstance(value, str) else json.dumps(value)
    return values


def is_file(schema: Any) -> bool:
    """Tell whether a property is an uploaded file, the platform's own addition to JSON Schema."""
    return isinstance(schema, dict) and schema.get("type") == "file"


def form(values: dict[str, bytes | str], filename: str = "seven.jpg") -> bytes:
    """Return a multipart/form-data body, its boundary that of :data:`FORM_HEADER`."""
    from urllib3.filepost import encode_multipart_formdata  # slow to import, and rarely needed

    file = _sendable(filename)
    fields: dict[str, Any] = {
        _sendable(name): (file, value, "image/jpeg")
        if isinstance(value, bytes)
        else _sendable(value)
        for name, value in values.items()
    }
    return encode_multipart_formdata(fields, BOUNDARY)[0]


def _sendable(text: str) -> str:
    # Half of a surrogate pair, which JSON can name, has no bytes.
    return text.encode(errors="replace").decode()


def sample_value(schema: Any, depth: int = 0) -> Any:
    """Return the simplest value that fits a JSON schema, in the dialect of config.json.

    What the schema itself offers (const, default, examples, enum) is taken first.
    """
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return None
    for keyword in ("const", "default"):
        if keyword in schema:
            return schema[keyword]
    for keyword in ("examples", "enum"):
        if isinstance(schema.get(keyword), list) and schema[keyword]:
            return schema[keyword][0]
    for keyword in ("anyOf", "oneOf", "allOf"):
        if isinstance(schema.get(keyword), list) and schema[keyword]:
            return sample_value(schema[keyword][0], depth + 1)
    kind = schema.get("type") or ("object" if "properties" in schema else "array")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object":
        return {name: sample_value(m, depth + 1) for name, m in _members(schema).items()}
    if kind == "array":
        return _sample_array(schema, depth)
    if kind in ("integer", "number"):
        return schema.get("minimum", 0)
    if kind == "string":
        shortest, longest = _length(schema, "minLength", 0), _length(schema, "maxLength", 6)
        return "sample".ljust(shortest, ".")[: max(shortest, longest)]
    return True if kind == "boolean" else None


def _members(schema: dict[str, Any]) -> dict[str, Any]:
    # Checked for its shape and no further: a schema may be anybody's, and a sample is a guess.
    members = schema.get("properties")
    return members if isinstance(members, dict) else {}


def _length(schema: dict[str, Any], keyword: str, default: int) -> int:
    value = schema.get(keyword, default)
    return min(max(0, value), _LONGEST) if isinstance(value, int) else default


def _sample_array(schema: dict[str, Any], depth: int) -> list[Any]:
    # A list under "items" is the tuple form of older drafts, which the platform's samples use.
    items = schema.get("items")
    if isinstance(items, list):
        return [sample_value(item, depth + 1) for item in items]
    count = min(max(1, _length(schema, "minItems", 1)), 100)
    return [sample_value(items, depth + 1)] * count if items else []


def seven_jpeg() -> bytes:
    """Return a JPEG of 28 x 28 pixels: a handwritten seven, light on dark, as MNIST has them."""
    return SEVEN.read_bytes()
