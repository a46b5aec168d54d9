"""A request to warm a model up with, made from what config.json declares.

A second maker of samples beside the tool's ``probing.sample_requests``: what ships in an image
imports nothing of the tool, and this one guesses at what the model's code accepts.
"""

from __future__ import annotations

import base64
import io
import json
import pickle
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_service.http.surface import Api
from model_service.package.source import PackageCode

SAMPLE_FILES = "warm_up.*"
"""A good request beside config.json: ``warm_up.json`` is a JSON body, others are a file part."""
MAX_ITEMS = 10_000

_KINDS = (
    (("csv", "table", "excel", "sheet"), "warm_up.csv", b"a,b,c\n1,2,3\n4,5,6\n"),
    (("jsonl", "json_line", "json"), "warm_up.json", b"{}\n"),
    (("pickle", "pkl"), "warm_up.pkl", pickle.dumps({}, protocol=2)),
    (("txt", "text", "document", "file"), "warm_up.txt", b"text\n"),
    (("video", "movie", "film", "audio", "voice", "speech", "sound", "wav", "mp3", "mp4"), "", b""),
)
_PICTURE_WORDS = ("image", "img", "picture", "photo", "base64")


@dataclass(frozen=True)
class Sample:
    """Data for ``_preprocess``, and what its failure would say of the model.

    Attributes:
        own: the package brought it, so that every step must accept it.
        fits: it is known to fit, a picture where the code opens one, or numbers where the schema
            asks for them: a model must answer it once ``_preprocess`` accepted it. Of neither kind,
            a failure says nothing of the model.
    """

    data: Any
    own: bool
    fits: bool


def make_sample(api: Api, folder: Path, code: PackageCode, reads_body: bool = False) -> Sample:
    """Return a sample for one api, the package's own where it brings one."""
    own = sorted(folder.glob(SAMPLE_FILES))
    if api.file_parts:
        return _make_form(api, own, code)
    if own and own[0].suffix == ".json" and api.method != "GET":
        content = own[0].read_bytes()
        return Sample(content if reads_body else json.loads(content), own=True, fits=True)
    schema = {"type": "object", **api.schema}
    data = _example(schema)
    fits = bool(api.properties) and _is_known_to_fit(schema)
    return Sample(json.dumps(data).encode() if reads_body else data, own=False, fits=fits)


def _make_form(api: Api, own: list[Path], code: PackageCode) -> Sample:
    fits = True
    parts: dict[str, Any] = {}
    for part, schema in api.properties.items():
        if part not in api.file_parts:
            value = _example(schema)
            parts[part] = value if isinstance(value, str) else json.dumps(value)
            fits = fits and _is_known_to_fit(schema)
            continue
        name, content, is_picture = _make_file(part)
        fits = fits and is_picture and code.opens_pictures
        if own:
            name, content = own[0].name, own[0].read_bytes()
        parts[part] = {name: io.BytesIO(content)}
    return Sample(parts, own=bool(own), fits=fits)


def _make_file(part: str) -> tuple[str, bytes, bool]:
    """Return a file for a part of this name, and whether it is a picture."""
    lower = part.lower()
    if not any(word in lower for word in _PICTURE_WORDS):
        for words, name, content in _KINDS:
            if any(word in lower for word in words) and name:
                return name, content, False
            if any(word in lower for word in words):
                return "warm_up.bin", content, False
    return "warm_up.png", _draw_picture(), True


def _example(schema: object, name: str = "", depth: int = 0) -> Any:
    """Return a value that the JSON schema allows, for the keywords that config.json files use."""
    if not isinstance(schema, Mapping) or depth > 20:
        return None
    for keyword in ("default", "example", "const"):
        if keyword in schema:
            return schema[keyword]
    for keyword in ("examples", "enum"):
        if isinstance(schema.get(keyword), list) and schema[keyword]:
            return schema[keyword][0]
    kind = schema.get("type")
    if kind == "object" or (kind is None and "properties" in schema):
        properties = schema.get("properties")
        members = properties if isinstance(properties, Mapping) else {}
        return {key: _example(member, key, depth + 1) for key, member in members.items()}
    if kind in ("array", "list"):
        items = [_example(item, name, depth + 1) for item in _items_of(schema)]
        wanted = min(_number(schema.get("minItems"), 0), MAX_ITEMS)
        return items + items[-1:] * (int(wanted) - len(items))
    if kind in ("number", "integer", "int", "float"):
        return schema.get("minimum", min(0, _number(schema.get("maximum"), 0)))
    if kind == "string":
        return _example_text(schema, name)
    return {"boolean": False}.get(str(kind))


def _example_text(schema: Mapping[str, Any], name: str) -> str:
    if any(word in name.lower() for word in _PICTURE_WORDS):
        return base64.b64encode(_draw_picture()).decode("ascii")
    text = {"date": "2026-01-01", "date-time": "2026-01-01T00:00:00Z"}.get(
        str(schema.get("format")), "text"
    )
    return text.ljust(int(min(_number(schema.get("minLength"), 0), MAX_ITEMS)), "x")


def _items_of(schema: Mapping[str, Any]) -> list[Any]:
    """Return the schemas of an array's items; the platform's samples write a list of them."""
    items = schema.get("items", schema.get("item"))
    return items if isinstance(items, list) else [items]


def _number(value: object, default: float) -> float:
    return value if isinstance(value, (int, float)) else default


def _is_known_to_fit(schema: object, depth: int = 0) -> bool:
    """Tell whether what :func:`_example` makes of a schema is what a model takes.

    Numbers are, and whatever the author gave as an example; of a text or of an array of so many
    numbers nobody can tell.
    """
    if not isinstance(schema, Mapping) or depth > 20:
        return False
    if any(keyword in schema for keyword in ("example", "examples", "const", "enum")):
        return True
    if not isinstance(schema.get("default", ""), str):  # a text by default says little
        return True
    kind = schema.get("type")
    if kind == "object" or (kind is None and "properties" in schema):
        members = schema.get("properties")
        if not isinstance(members, Mapping) or not members:
            return False
        return all(_is_known_to_fit(member, depth + 1) for member in members.values())
    if kind in ("array", "list"):
        items = _items_of(schema)
        rows = all(isinstance(item, Mapping) and item.get("type") == "object" for item in items)
        known_length = rows or _number(schema.get("minItems"), 0) > 0
        return known_length and all(_is_known_to_fit(item, depth + 1) for item in items)
    return kind in ("number", "integer", "int", "float", "boolean")


def _draw_picture(size: int = 28) -> bytes:
    """Return a PNG of a light vertical bar on black, grey, ``size`` x ``size``: an upright 1."""
    dark, light = b"\x00" * (size // 2 - 2), b"\xff" * 4
    blank = b"\x00" * (size + 1)
    bar = b"\x00" + dark + light + b"\x00" * (size - len(dark) - len(light))
    rows = blank * 4 + bar * (size - 8) + blank * 4
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
