"""Checks of a request for a model: refused at once, or after a look, as an event.

Source: https://support.huaweicloud.com/intl/en-us/api-modelarts/CreateModel.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from custom_image.model_config import ModelConfig
from custom_image.platform_api import INFER_TYPES, MODEL_FIELDS, PORT_NUMBER, REQUEST_MODES
from custom_image.specification import (
    API_METHODS,
    CONTENT_TYPES,
    INFERENCE_URL,
    MODEL_DOCUMENTS,
    MODEL_TYPE,
    PORT,
)
from local_modelarts.errors import parameter
from local_modelarts.storage import events
from local_modelarts.validation import check, choice, whole

_INSTALL: Final = (*INFER_TYPES, "edge")
_HEALTHS: Final = ("health", "readiness_health", "startup_health")


def read_request(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a model, of a request to create it.

    Raises:
        ApiError: a field is missing, or not allowed.
    """
    check(body, MODEL_FIELDS, required=("model_name", "model_version", "source_location"))
    if body.get("model_type") != MODEL_TYPE.value:
        raise parameter(f"model_type must be {MODEL_TYPE}: no other is rehearsed here")
    copied = str(body.get("source_copy") or "true").lower()
    install = body.get("install_type") or list(INFER_TYPES)
    documents = body.get("model_docs") or []
    if copied not in ("true", "false"):
        raise parameter('source_copy is invalid, expected "true" or "false"')
    if not isinstance(install, list) or not set(map(str, install)) <= set(_INSTALL):
        raise parameter(f"install_type is invalid, expected of {', '.join(_INSTALL)}")
    if not isinstance(documents, list) or len(documents) > MODEL_DOCUMENTS.value:
        raise parameter(f"model_docs: at most {MODEL_DOCUMENTS} are allowed")
    config = _read_config(body)
    apis = config.get("apis")
    first = apis[0] if isinstance(apis, list) and apis and isinstance(apis[0], dict) else {}
    protocol = str(config.get("protocol") or first.get("protocol") or "http").lower()
    return {
        "name": body["model_name"],
        "version": body["model_version"],
        "type": MODEL_TYPE.value,
        "description": body.get("description") or "",
        "source_location": body["source_location"],
        "source_copy": copied == "true",
        "install_type": [str(kind) for kind in install],
        "request_mode": choice(body, "request_mode", REQUEST_MODES, REQUEST_MODES[0]),
        "workspace_id": str(body.get("workspace_id") or "0"),
        "config": config,
        "port": _port(config.get("port")),
        "protocol": protocol if protocol in ("http", "https") else "http",
        "command": str(body.get("cmd") or config.get("cmd") or ""),
    }


def find_fault(config: Mapping[str, Any]) -> str:
    """Return the event that a config.json ends in, or an empty string."""
    if config.get("dependencies"):
        return events.NO_DEPENDENCIES
    for name in _HEALTHS:
        health = config.get(name)
        if isinstance(health, dict) and str(health.get("check_method") or "HTTP") == "HTTP":
            url = health.get("url")
            if not isinstance(url, str) or not url.startswith("/"):
                return events.WRONG_HEALTH_URL.format("a path such as /health")
    try:
        ModelConfig.model_validate(dict(config))
    except ValidationError as error:
        path = "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}"
            for part in error.errors()[0]["loc"]
        )
        return events.INVALID_CONFIG.format(path.lstrip(".") or "value")
    return ""


def routes(config: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the urls and methods (upper case) that a model without fault declares."""
    apis = ModelConfig.model_validate(dict(config)).apis
    declared = [{"url": api.url, "method": api.method.upper()} for api in apis]
    return declared or [{"url": INFERENCE_URL.value, "method": API_METHODS[0].upper()}]


def _read_config(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return config.json as one object: ``initial_config``, its gaps filled from the request."""
    text = body.get("initial_config")
    try:
        config = json.loads(text) if isinstance(text, str) and text.strip() else text or {}
    except ValueError as error:
        raise parameter(f"initial_config is no JSON: {error}") from error
    if not isinstance(config, dict):
        raise parameter("initial_config is no JSON object")
    apis = body.get("apis") or []
    if not isinstance(apis, list) or not all(isinstance(api, dict) for api in apis):
        raise parameter(f"apis is {str(apis)[:60]!r}, expected a list of objects")
    given: dict[str, Any] = {
        "model_algorithm": body.get("model_algorithm") or "unknown_algorithm",
        "model_type": body["model_type"],
        "dependencies": body.get("dependencies"),
        "apis": [_api(api) for api in apis],
    }
    return {name: value for name, value in given.items() if value} | config


def _api(api: Mapping[str, Any]) -> dict[str, Any]:
    """Turn an api of the request's form into config.json's, which names the same otherwise."""
    members = {"request": "input_params", "response": "output_params"}
    found = {name: api[name] for name in ("url", "method", "protocol") if api.get(name)}
    for member, name in members.items():
        schema = api.get(name)
        if isinstance(schema, dict):
            properties = schema.get("properties")
            parts = properties.values() if isinstance(properties, dict) else ()
            has_file = any(isinstance(p, dict) and p.get("type") == "file" for p in parts)
            found[member] = {"Content-type": CONTENT_TYPES[has_file], "data": schema}
    return found | {name: api[name] for name in members if name in api}


def _port(value: object) -> int:
    if value in (None, ""):
        return PORT.value
    port = whole(str(value))
    if port is None or not PORT_NUMBER.allows(port):
        raise parameter(f"port is {str(value)[:20]!r}, expected {PORT_NUMBER}")
    return port
