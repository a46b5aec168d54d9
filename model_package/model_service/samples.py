"""A request to warm a model up with, made from what config.json declares."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_service.surface import Api

SAMPLE_FILES = "warm_up.*"
"""A good request beside config.json: ``warm_up.json`` is a JSON body, others are a file part."""


@dataclass(frozen=True)
class Sample:
    """Data for ``_preprocess``, and what its failure would say of the model.

    Attributes:
        own: the package brought it, so that every step must accept it.
        declared: config.json declares what a request holds, so that a model must answer it once
            ``_preprocess`` accepted it. Of neither kind, a failure says nothing of the model.
    """

    data: Any
    own: bool
    declared: bool


def make_sample(api: Api, folder: Path) -> Sample:
    """Return a sample for one api, the package's own where it brings one."""
    own = sorted(folder.glob(SAMPLE_FILES))
    if api.file_parts:
        name, content = ("warm_up.png", _draw_picture())
        if own:
            name, content = own[0].name, own[0].read_bytes()
        parts: dict[str, Any] = {}
        for part, schema in api.properties.items():
            is_file = part in api.file_parts
            parts[part] = {name: io.BytesIO(content)} if is_file else str(_example(schema))
        return Sample(parts, own=bool(own), declared=True)
    if own and own[0].suffix == ".json" and api.method != "GET":
        return Sample(json.loads(own[0].read_text(encoding="utf-8")), own=True, declared=True)
    data = _example({"type": "object", **api.schema})
    return Sample(data, own=False, declared=bool(api.properties))


def _example(schema: object, depth: int = 0) -> Any:
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
        return {name: _example(member, depth + 1) for name, member in members.items()}
    if kind == "array":
        items = schema.get("items", schema.get("item"))
        # The platform's samples write `items` as a list: one schema a position.
        return [
            _example(item, depth + 1) for item in (items if isinstance(items, list) else [items])
        ]
    if kind in ("number", "integer"):
        return schema.get("minimum", 0)
    return {"string": "", "boolean": False}.get(str(kind))


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
