"""The apis and the health check of a config.json, corrected."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

from custom_image import specification
from custom_image.adoption.changes import ChangeLog, Kind
from custom_image.adoption.config_json.lenient import read_lenient
from custom_image.adoption.config_json.schemas import correct_schema, has_file
from custom_image.errors import PackageError
from custom_image.model_config.remarks import API_KEYS, BODY_KEYS, HEALTH_KEYS
from custom_image.model_config.suggestions import did_you_mean

JSON_TYPE, FORM_TYPE = specification.CONTENT_TYPES
STREAM_TYPE: Final = "text/event-stream"
HTTP_CHECK: Final = specification.HEALTH_METHODS[0]


def rename_keys(
    member: dict[str, Any], known: tuple[str, ...], where: str, log: ChangeLog
) -> dict[str, Any]:
    """Return the members whose keys are known or misspelt, and say which were dropped."""
    out: dict[str, Any] = {}
    prefix = f"{where}." if where else ""
    for given, value in member.items():
        key = given if given in known else _known_key(given, known)
        if not key or (key != given and key in member):
            why = "the platform knows no such key and ignores it"
            log.add(Kind.DROPPED, prefix + given, why, value)
            continue
        if key != given:
            log.add(Kind.CHANGED, prefix + given, "the key was misspelt", given, key)
        out[key] = value
    return out


def _known_key(given: str, known: tuple[str, ...]) -> str:
    plain = {re.sub("[-_ ]", "", key.lower()): key for key in known}
    return plain.get(re.sub("[-_ ]", "", given.lower())) or did_you_mean(given, known)


def correct_apis(apis: list[Any], log: ChangeLog) -> list[dict[str, Any]]:
    """Return the apis, each route once."""
    out: dict[tuple[str, str], dict[str, Any]] = {}
    for index, api in enumerate(apis):
        where = f"apis[{index}]"
        if not isinstance(api, dict):
            log.add(Kind.DROPPED, where, "is no api, which is an object", api)
            continue
        corrected = _correct_api(api, where, log)
        route = (corrected["method"], corrected["url"])
        if route in out:
            log.add(Kind.DROPPED, where, "declares a route a second time", " ".join(route))
        out.setdefault(route, corrected)
    return list(out.values())


def _correct_api(api: dict[str, Any], where: str, log: ChangeLog) -> dict[str, Any]:
    api = rename_keys(api, API_KEYS, where, log)
    out: dict[str, Any] = {
        "url": _url(api.get("url"), f"{where}.url", log),
        "method": _method(api.get("method"), f"{where}.method", log),
    }
    if "protocol" in api:
        out["protocol"] = _protocol(api["protocol"], f"{where}.protocol", log)
    for side in ("request", "response"):
        body = api.get(side)
        if isinstance(body, dict):
            out[side] = _body(body, f"{where}.{side}", side == "request", log)
        elif body is not None:
            log.add(Kind.DROPPED, f"{where}.{side}", "is no body, which is an object", body)
    return out


def _url(value: Any, where: str, log: ChangeLog) -> str:
    default = specification.INFERENCE_URL.value
    if value is None:
        log.add(Kind.ADDED, where, "no url stood there; requests go to /", became=default)
        return default
    text = str(value).strip()
    path = urlsplit(text).path if re.match("(?i)https?://", text) else text.partition("?")[0]
    path = re.sub(r"\s", "", path)
    path = path if path.startswith("/") else f"/{path}"
    if path != value:
        log.add(Kind.CHANGED, where, "is a path that starts with a slash", value, path)
    return path


def _method(value: Any, where: str, log: ChangeLog) -> str:
    methods = specification.API_METHODS
    if value is None:
        log.add(Kind.ADDED, where, "no method stood there", became=methods[0])
        return methods[0]
    name = str(value).strip().lower()
    became = name if name in methods else did_you_mean(name, methods) or methods[0]
    if became != name:
        log.add(Kind.CHANGED, where, "the platform calls with post or get alone", value, became)
    return became


def _protocol(value: Any, where: str, log: ChangeLog) -> str:
    if not isinstance(value, str) or value.strip().lower() != "http":
        why = "the container speaks HTTP; the platform's gateway adds TLS"
        log.add(Kind.CHANGED, where, why, value, "http")
    return "http"


def _body(body: dict[str, Any], where: str, is_request: bool, log: ChangeLog) -> dict[str, Any]:
    body = dict(body)
    if "required" in body:
        log.add(
            Kind.MOVED, f"{where}.required", "belongs into the schema", body["required"], "data"
        )
        required = body.pop("required")
        if isinstance(body.get("data"), dict):
            body["data"] = {"required": required, **body["data"]}
    if "data" not in body and ("properties" in body or "type" in body):
        schema = {key: value for key, value in body.items() if key not in BODY_KEYS}
        schema.pop("Content-Type", None)
        log.add(Kind.MOVED, where, "the schema belongs under the key data", schema, "data")
        body = {key: value for key, value in body.items() if key not in schema} | {"data": schema}
    body = rename_keys(body, BODY_KEYS, where, log)
    schema = _schema_of(body.get("data"), f"{where}.data", log)
    out: dict[str, Any] = {}
    if (kind := _content_type(body, where, is_request, schema, log)) is not None:
        out["Content-type"] = kind
    if schema is not None:
        uploads = is_request and out.get("Content-type") == FORM_TYPE
        corrected = correct_schema(schema, f"{where}.data", log, uploads=uploads)
        if corrected is not None:
            out["data"] = corrected
    return out


def _schema_of(data: Any, where: str, log: ChangeLog) -> Any:
    if isinstance(data, str):
        try:
            data, notes = read_lenient(data, where)
        except PackageError:
            log.add(Kind.DROPPED, where, "is a string that holds no JSON schema", data)
            return None
        for note in notes:
            log.add(Kind.CHANGED, where, note.why, note.found)
    return data if data else None


def _content_type(
    body: dict[str, Any], where: str, is_request: bool, schema: Any, log: ChangeLog
) -> str | None:
    where = f"{where}.Content-type"
    given = body.get("Content-type")
    uploads = is_request and has_file(schema)
    default = FORM_TYPE if uploads else JSON_TYPE
    if given is None:
        if uploads:
            log.add(Kind.ADDED, where, "only a form can carry a part of type file", became=default)
        return default if uploads else None
    name = str(given).partition(";")[0].strip().lower()
    if not is_request:
        if name == STREAM_TYPE:
            return STREAM_TYPE
        why = "answers are JSON" if name != "applicaton/json" else "is misspelt"
        became = JSON_TYPE
    else:
        known = specification.CONTENT_TYPES
        why = "is misspelt" if did_you_mean(name, known) else "the platform knows no such type"
        became = name if name in known else did_you_mean(name, known) or default
        if uploads and became == JSON_TYPE:
            became = FORM_TYPE
            why = "declares application/json, but only a form can carry a part of type file"
    if became != given:
        log.add(Kind.CHANGED, where, why, given, became)
    return became


def correct_health(health: Any, name: str, log: ChangeLog) -> dict[str, Any] | None:
    """Return a health check that the image answers, or None where there was none."""
    if health is None:
        return None
    if not isinstance(health, dict):
        log.add(Kind.DROPPED, name, "is no health check, which is an object", health)
        return None
    health = rename_keys(health, HEALTH_KEYS, name, log)
    out: dict[str, Any] = {"check_method": HTTP_CHECK}
    method = health.get("check_method")
    if str(method).upper() != HTTP_CHECK and method is not None:
        why = "the runtime in the image answers an HTTP check; a command may not be there"
        log.add(Kind.CHANGED, f"{name}.check_method", why, method, HTTP_CHECK)
    if "protocol" in health:
        out["protocol"] = _protocol(health["protocol"], f"{name}.protocol", log)
    if health.get("url") is None:
        out["url"] = specification.HEALTH_URL.value
        log.add(Kind.ADDED, f"{name}.url", "an HTTP check needs a path", became=out["url"])
    else:
        out["url"] = _url(health["url"], f"{name}.url", log)
    for key, smallest in (
        ("initial_delay_seconds", 0),
        ("period_seconds", 1),
        ("timeout_seconds", 1),
        ("failure_threshold", 1),
    ):
        if health.get(key) is not None:
            out |= _whole(key, health[key], smallest, f"{name}.{key}", log)
    return out


def _whole(key: str, value: Any, smallest: int, where: str, log: ChangeLog) -> dict[str, str]:
    try:
        number = round(float(value))
    except (TypeError, ValueError, OverflowError):
        number = -1
    if not smallest <= number <= specification.HEALTH_LARGEST.value:
        log.add(Kind.DROPPED, where, f"is no whole number from {smallest}", value)
        return {}
    if str(value) != str(number):
        log.add(Kind.CHANGED, where, "is a whole number", value, str(number))
    return {key: str(number)}
