"""The OpenAPI document of a service, derived from what its config.json declares.

For tools that speak OpenAPI: clients, gateways, and schemathesis, which makes requests from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from custom_image.model_config.models import Api, Body, ModelConfig
from custom_image.specification import CONTENT_TYPES

JSON_TYPE: Final = CONTENT_TYPES[0]
VERSION: Final = "3.1.0"
"""The first whose schemas are JSON Schema: https://spec.openapis.org/oas/v3.1.0#schema-object."""
FILE: Final = {"type": "string", "format": "binary"}


def to_openapi(config: ModelConfig) -> dict[str, Any]:
    """Return the document: every ``apis[]`` entry, and the health check where it is HTTP.

    A property of config.json's own type ``file`` becomes a binary string, which OpenAPI tools send
    as a part with a file name; the list form of ``items``, of older drafts, ``prefixItems``.
    """
    paths: dict[str, dict[str, Any]] = {}
    for api in config.apis:
        paths.setdefault(api.url, {})[api.method.lower()] = _operation(api)
    if config.health and config.health.url:
        paths.setdefault(config.health.url, {})["get"] = _health()
    title = config.model_algorithm or "model"
    return {"openapi": VERSION, "info": {"title": title, "version": "1"}, "paths": paths}


def _operation(api: Api) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "responses": {
            "200": {"description": "the prediction", "content": _content(api.response or Body())},
            "default": {"description": "why there is none", "content": _error()},
        }
    }
    request = api.request or Body()
    if api.method.lower() != "get":
        operation["requestBody"] = {"required": True, "content": _content(request)}
        return operation
    schema = request.data or {}
    required = schema.get("required") or []
    operation["parameters"] = [
        {"name": name, "in": "query", "required": name in required, "schema": _convert(member)}
        for name, member in (schema.get("properties") or {}).items()
    ]
    return operation


def _health() -> dict[str, Any]:
    well = {"description": "the model answers", "content": {JSON_TYPE: {"schema": {}}}}
    ill = {"description": "it does not, or not yet", "content": _error()}
    return {"summary": "health check", "responses": {"200": well, "503": ill}}


def _error() -> dict[str, Any]:
    properties = {"error": {"type": "string"}}
    schema = {"type": "object", "properties": properties, "required": ["error"]}
    return {JSON_TYPE: {"schema": schema}}


def _content(body: Body) -> dict[str, Any]:
    return {body.content_type: {"schema": _convert(body.data or {"type": "object"})}}


def _convert(schema: Any) -> Any:
    """Turn a schema in the dialect of config.json into one of JSON Schema 2020-12."""
    if isinstance(schema, list):
        return [_convert(member) for member in schema]
    if not isinstance(schema, Mapping):
        return schema
    if schema.get("type") == "file":
        described = {k: v for k, v in schema.items() if k in ("title", "description")}
        return {**described, **FILE}
    converted = {name: _convert(member) for name, member in schema.items()}
    if isinstance(converted.get("items"), list):
        converted["prefixItems"] = converted.pop("items")
    return converted
