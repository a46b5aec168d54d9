"""Remarks on a config.json: what the platform ignores or dislikes, and would never mention."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal

from custom_image import specification
from custom_image.model_config.suggestions import did_you_mean

Kind = Literal["key", "content-type", "schema", "metrics", "section"]


@dataclass(frozen=True)
class Remark:
    """One thing that is not refused, but is probably not what was meant.

    Attributes:
        kind: which rule of the platform it belongs to.
        where: for example ``apis[0].response.Content-type``.
    """

    kind: Kind
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


EVENT_STREAM: Final = "text/event-stream"
"""Of an answer that is a stream, which only a custom image can give.

Source: https://support.huaweicloud.com/inference-modelarts/inference-modelarts-0124.html
"""
TOP_KEYS: Final = (
    *("model_algorithm", "model_type", "runtime", "swr_location", "metrics", "apis"),
    *("dependencies", "health", "readiness_health", "startup_health"),
)
# Not in the table of the page, but in what the platform itself returns (ShowModel).
_RETURNED: Final = ("model_source", "tunable", "downloadable_flag", "algorithm")
METRICS: Final = ("accuracy", "precision", "recall", "f1")
API_KEYS: Final = ("url", "method", "protocol", "request", "response")
BODY_KEYS: Final = ("Content-type", "data")
HEALTH_KEYS: Final = (
    *("check_method", "protocol", "url", "command", "initial_delay_seconds", "period_seconds"),
    *("timeout_seconds", "failure_threshold"),
)
# Keywords of a JSON schema that hold further schemas, and the others that are often used.
SCHEMAS_BY_NAME: Final = ("properties", "patternProperties", "definitions", "$defs")
SCHEMAS: Final = ("items", "additionalProperties", "allOf", "anyOf", "oneOf", "not")
KEYWORDS: Final = (
    *SCHEMAS_BY_NAME,
    *SCHEMAS,
    *("type", "required", "enum", "const", "format", "pattern", "title", "description"),
    *("default", "examples", "minItems", "maxItems", "uniqueItems", "minLength", "maxLength"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "index"),
)
TYPES: Final = ("object", "array", "string", "number", "integer", "boolean", "null", "file")


def find_remarks(document: dict[str, Any]) -> Iterator[Remark]:
    """Yield the remarks on a document that the models accept."""
    yield from _keys(document, (*TOP_KEYS, *_RETURNED), "")
    yield from _sections(document)
    yield from _metrics(document.get("metrics") or {})
    for index, api in enumerate(document.get("apis") or []):
        yield from _api(api, f"apis[{index}]")
    for name in ("health", "readiness_health", "startup_health"):
        if document.get(name):
            yield from _keys(document[name], HEALTH_KEYS, name)


def _keys(member: dict[str, Any], known: tuple[str, ...], where: str) -> Iterator[Remark]:
    for key in member:
        if key not in known:
            meant = did_you_mean(key, known)
            hint = f'Did you mean "{meant}"?' if meant else "Remove it, or check its spelling."
            path = f"{where}.{key}" if where else key
            yield Remark("key", path, f"the platform knows no such key and ignores it. {hint}")


def _sections(document: dict[str, Any]) -> Iterator[Remark]:
    if document.get("runtime"):
        message = "has no effect on a custom image, which brings its own Python. Remove it."
        yield Remark("section", "runtime", message)
    if document.get("swr_location"):
        message = (
            "only for a meta model in OBS, which the current edition no longer describes. "
            "Remove it when the model is created from the image list."
        )
        yield Remark("section", "swr_location", message)


def _metrics(metrics: dict[str, Any]) -> Iterator[Remark]:
    yield from _keys(metrics, METRICS, "metrics")
    decimals = specification.METRIC_DECIMALS
    for name, value in metrics.items():
        if name not in METRICS or value is None:
            continue
        where = f"metrics.{name}"
        if not 0 <= value <= 1:
            yield Remark("metrics", where, f"is {value}; the console expects a share from 0 to 1.")
        exponent = Decimal(getattr(value, "text", str(value))).as_tuple().exponent
        if isinstance(exponent, int) and -exponent > decimals.value:
            message = f"has {-exponent} decimals; the platform keeps {decimals}."
            yield Remark("metrics", where, message)


def _api(api: dict[str, Any], where: str) -> Iterator[Remark]:
    yield from _keys(api, API_KEYS, where)
    for side in ("request", "response"):
        body = api.get(side)
        if not body:
            continue
        path = f"{where}.{side}"
        yield from _keys(body, BODY_KEYS, path)
        content_type = body.get("Content-type", specification.CONTENT_TYPES[0])
        is_stream = side == "response" and content_type.partition(";")[0] == EVENT_STREAM
        if content_type not in specification.CONTENT_TYPES and not is_stream:
            listed = " and ".join(specification.CONTENT_TYPES)
            meant = did_you_mean(content_type, specification.CONTENT_TYPES)
            hint = f' Did you mean "{meant}"?' if meant else ""
            message = f'is "{content_type[:60]}"; the page knows {listed}.{hint}'
            yield Remark("content-type", f"{path}.Content-type", message)
        if data := body.get("data"):
            schema = json.loads(data) if isinstance(data, str) else data
            uploads = side == "request" and content_type == specification.CONTENT_TYPES[1]
            yield from _schema(schema, f"{path}.data", uploads=uploads)


def _schema(schema: Any, where: str, *, uploads: bool) -> Iterator[Remark]:
    """Yield the remarks on one JSON schema and on those within it."""
    if not isinstance(schema, dict):
        if not isinstance(schema, bool):
            yield Remark("schema", where, "is not a JSON schema, which is an object.")
        return
    for key, value in schema.items():
        path = f"{where}.{key}"
        if key == "type":
            yield from _type(value, path, uploads=uploads)
        elif key in SCHEMAS_BY_NAME:
            if isinstance(value, dict):
                for name, inner in value.items():
                    yield from _schema(inner, f"{path}.{name}", uploads=uploads)
            else:
                yield Remark("schema", path, "must be an object that maps names to schemas.")
        elif key in SCHEMAS:
            # A list under "items" is the tuple form of older drafts, which the platform uses.
            inner_schemas = value if isinstance(value, list) else [value]
            for inner in inner_schemas:
                yield from _schema(inner, path, uploads=uploads)
        elif key not in KEYWORDS and (meant := did_you_mean(key, KEYWORDS)):
            message = f'is no keyword of JSON Schema. Did you mean "{meant}"?'
            yield Remark("schema", path, message)


def _type(value: Any, where: str, *, uploads: bool) -> Iterator[Remark]:
    for name in value if isinstance(value, list) else [value]:
        if name == "file" and not uploads:
            message = f'is "file", which only a {specification.CONTENT_TYPES[1]} request can carry.'
            yield Remark("schema", where, message)
        elif name not in TYPES:
            meant = did_you_mean(str(name), TYPES)
            hint = f' Did you mean "{meant}"?' if meant else f" Use one of {', '.join(TYPES)}."
            yield Remark("schema", where, f"is {str(name)[:60]!r}, which is no type.{hint}")
