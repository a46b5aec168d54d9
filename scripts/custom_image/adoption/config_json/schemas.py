"""JSON schemas as packages have them, in the words of JSON Schema."""

from __future__ import annotations

from typing import Any, Final

from custom_image.adoption.changes import ChangeLog, Kind
from custom_image.model_config.remarks import KEYWORDS, SCHEMAS, SCHEMAS_BY_NAME, TYPES
from custom_image.model_config.suggestions import did_you_mean

# Types of Python and of other tools, in JSON Schema's words.
_TYPE_NAMES: Final = {
    **dict.fromkeys(("list", "tuple", "ndarray", "tensor", "set"), "array"),
    **dict.fromkeys(("float", "double", "float32", "float64", "decimal", "numeric"), "number"),
    **dict.fromkeys(("int", "int32", "int64", "long"), "integer"),
    **dict.fromkeys(("str", "text", "char", "varchar", "base64"), "string"),
    **dict.fromkeys(("dict", "map", "json", "struct"), "object"),
    **dict.fromkeys(("bool",), "boolean"),
    **dict.fromkeys(("none", "nil"), "null"),
    **dict.fromkeys(
        ("image", "picture", "images", "img", "video", "audio", "binary", "bytes"), "file"
    ),
}
_MOST_LEVELS: Final = 60


def correct_schema(
    schema: Any, where: str, log: ChangeLog, *, uploads: bool, level: int = 0
) -> dict[str, Any] | None:
    """Return the schema with its slips corrected; None where it is none.

    ``uploads`` says whether a part of type ``file`` can be meant: in the request of a form.
    """
    if not isinstance(schema, dict) or level > _MOST_LEVELS:
        log.add(Kind.DROPPED, where, "is no JSON schema, which is an object", schema)
        return None
    out: dict[str, Any] = {}
    for given, value in schema.items():
        key, path = given, f"{where}.{given}"
        if key not in KEYWORDS and (meant := did_you_mean(key, KEYWORDS)) and meant not in schema:
            log.add(Kind.CHANGED, path, "is no keyword of JSON Schema", given, meant)
            key, path = meant, f"{where}.{meant}"
        if key == "type":
            out[key] = _correct_type(value, path, log, uploads=uploads)
            if out[key] is None:
                del out[key]
        elif key in SCHEMAS_BY_NAME:
            named = _by_name(value, path, log)
            corrected = {
                name: correct_schema(inner, f"{path}.{name}", log, uploads=uploads, level=level + 1)
                for name, inner in named.items()
            }
            out[key] = {name: inner or {} for name, inner in corrected.items()}
        elif key in SCHEMAS:
            out |= _within(key, value, path, log, uploads=uploads, level=level)
        elif key == "required":
            out |= _required(value, path, log)
        else:
            out[key] = value
    return out


def has_file(schema: Any) -> bool:
    """Tell whether a schema of a body has a part of type ``file``."""
    members = schema.get("properties") if isinstance(schema, dict) else None
    return isinstance(members, dict) and any(
        isinstance(member, dict)
        and isinstance(member.get("type"), str)
        and (member["type"].lower() == "file" or _TYPE_NAMES.get(member["type"].lower()) == "file")
        for member in members.values()
    )


def _correct_type(value: Any, where: str, log: ChangeLog, *, uploads: bool) -> Any:
    if isinstance(value, list):
        names = [_correct_type(name, where, log, uploads=uploads) for name in value]
        return list(dict.fromkeys(name for name in names if name)) or None
    name = str(value).strip().lower()
    became = name if name in TYPES else _TYPE_NAMES.get(name) or did_you_mean(name, TYPES)
    why = "is no type of JSON Schema"
    if became == "file" and not uploads:
        became, why = "string", "only the request of a form can carry a file"
    if not became:
        log.add(Kind.DROPPED, where, why, value)
        return None
    if became != value:
        log.add(Kind.CHANGED, where, why, value, became)
    return became


def _by_name(value: Any, where: str, log: ChangeLog) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    if isinstance(value, list) and all(isinstance(v, dict) and "name" in v for v in value):
        log.add(Kind.CHANGED, where, "maps names to schemas; their names were taken", value)
        return {str(v["name"]): {k: m for k, m in v.items() if k != "name"} for v in value}
    log.add(Kind.DROPPED, where, "must be an object that maps names to schemas", value)
    return {}


def _within(
    key: str, value: Any, where: str, log: ChangeLog, *, uploads: bool, level: int
) -> dict[str, Any]:
    """Correct the schemas below ``items``, ``anyOf`` and their like; a list stays a list."""
    if isinstance(value, bool):
        return {key: value}
    if isinstance(value, str):
        log.add(Kind.CHANGED, where, "is the name of a type where a schema is due", value)
        value = {"type": value}
    corrected = [
        correct_schema(inner, f"{where}[{n}]", log, uploads=uploads, level=level + 1)
        for n, inner in enumerate(value if isinstance(value, list) else [value])
    ]
    kept = [inner for inner in corrected if inner is not None]
    if isinstance(value, list):
        return {key: kept} if kept or not value else {}
    return {key: kept[0]} if kept else {}


def _required(value: Any, where: str, log: ChangeLog) -> dict[str, Any]:
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return {"required": value}
    names = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    kept = [name for name in names if isinstance(name, str)]
    log.add(Kind.CHANGED, where, "is a list of the names of members", value, kept or "")
    return {"required": kept} if kept else {}
