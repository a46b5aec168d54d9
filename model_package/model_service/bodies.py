"""From the bytes of a body to what ``_preprocess`` gets, by the platform's contract.

``application/json`` becomes a plain dict. ``multipart/form-data`` becomes a mapping from the name
of a part to ``{file name: file-like object}``; a part without a file name becomes its text.

Source: Specifications for Writing Model Inference Code.
"""

from __future__ import annotations

import io
import json
from typing import Any
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from model_service.messages import Refused, Request
from model_service.surface import APPLICATION_JSON, MULTIPART, Api

MAX_PARTS = 100


def decode_body(api: Api, request: Request) -> Any:
    """Return the data of a request.

    Raises:
        Refused: 400 for a broken body, 415 for one of another type, 422 for a missing part.
    """
    if api.method == "GET":
        return dict(parse_qsl(request.query.decode("latin-1"), keep_blank_values=True))
    if request.content_encoding not in (b"", b"identity"):
        encoding = request.content_encoding.decode("latin-1")
        raise Refused(415, f"Content-Encoding: expected none, found {encoding}")
    content_type, options = parse_options_header(request.content_type)
    data: Any
    if content_type == b"multipart/form-data" and api.content_type != APPLICATION_JSON:
        data = _decode_multipart(request.body, options.get(b"boundary", b""))
    elif _is_json(content_type) and api.content_type != MULTIPART:
        data = _decode_json(request.body, api)
    else:
        expected = api.content_type or f"{MULTIPART} or {APPLICATION_JSON}"
        found = content_type.decode("latin-1") or "none"
        if api.file_parts:
            expected += " with the " + _in_words("part", api.file_parts)
        raise Refused(415, f"Content-Type: expected {expected}, found {found}")
    _check_names(api, data)
    return data


def _is_json(content_type: bytes) -> bool:
    # A client that says nothing of the type (http.client, some gateways) is taken at its bytes.
    return content_type in (b"application/json", b"") or content_type.endswith(b"+json")


def _decode_json(body: bytes, api: Api) -> Any:
    if not body:
        raise Refused(400, "the body is empty, expected JSON")
    try:
        data = json.loads(body, parse_constant=_no_constant)
    except RecursionError:
        raise Refused(400, "the body is JSON nested too deeply") from None
    except ValueError as error:
        raise Refused(400, f"the body is not JSON: {error}") from None
    if not isinstance(data, dict) and api.schema.get("type", "object") == "object":
        raise Refused(422, f"the body: expected a JSON object, found a {type(data).__name__}")
    return data


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


class _Part:
    __slots__ = ("chunks", "field", "filename", "headers")

    def __init__(self) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.chunks: list[bytes] = []
        self.field = ""
        self.filename: str | None = None


class _Parts:
    """Collects the parts that the parser announces by callbacks."""

    def __init__(self) -> None:
        self.parts: list[_Part] = []
        self.complete = False
        self._name = b""
        self._value = b""

    def on_part_begin(self) -> None:
        if len(self.parts) == MAX_PARTS:
            raise Refused(413, f"the body holds more than {MAX_PARTS} parts")
        self.parts.append(_Part())

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def on_header_end(self) -> None:
        self.parts[-1].headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def on_headers_finished(self) -> None:
        part = self.parts[-1]
        disposition = part.headers.get(b"content-disposition", b"")
        _, options = parse_options_header(disposition)
        if b"name" not in options:
            raise Refused(400, f"part {len(self.parts)} of the body has no name")
        part.field = options[b"name"].decode("utf-8", "replace")
        if b"filename" in options:
            part.filename = options[b"filename"].decode("utf-8", "replace")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        self.parts[-1].chunks.append(data[start:end])

    def on_end(self) -> None:
        self.complete = True


_CALLBACKS = tuple(name for name in vars(_Parts) if name.startswith("on_"))


def _decode_multipart(body: bytes, boundary: bytes) -> dict[str, Any]:
    if not boundary:
        raise Refused(400, "Content-Type: multipart/form-data without a boundary")
    collected = _Parts()
    callbacks: Any = {name: getattr(collected, name) for name in _CALLBACKS}
    try:
        parser = MultipartParser(boundary, callbacks)
        parser.write(body)
        parser.finalize()
    except FormParserError as error:
        raise Refused(400, f"the body is not multipart/form-data: {error}") from None
    if not collected.complete:
        raise Refused(400, "the body ends before its closing boundary")
    data: dict[str, Any] = {}
    for part in collected.parts:
        content = part.chunks[0] if len(part.chunks) == 1 else b"".join(part.chunks)
        if part.filename is None:
            data[part.field] = content.decode("utf-8", "replace")
            continue
        files = data.get(part.field)
        if not isinstance(files, dict):
            files = data[part.field] = {}
        files[_free_name(files, part.filename)] = io.BytesIO(content)
    return data


def _free_name(files: dict[str, Any], filename: str) -> str:
    """Keep two files of one name apart: a service that wants one file must see that two came."""
    name, number = filename, 2
    while name in files:
        name, number = f"{filename} ({number})", number + 1
    return name


def _check_names(api: Api, data: Any) -> None:
    if not isinstance(data, dict):
        return
    missing = [name for name in api.required if name not in data]
    if not missing and api.file_parts and not any(name in data for name in api.file_parts):
        missing = list(api.file_parts)
    if missing:
        kind = "part" if api.content_type == MULTIPART else "member"
        found = _in_words(kind, tuple(data)) or "nothing"
        raise Refused(422, f"{_in_words(kind, tuple(missing))} is missing; found {found}")


def _in_words(kind: str, names: tuple[str, ...]) -> str:
    """Return ``part `images` ``, ``parts `a`, `b` ``, or nothing."""
    if not names:
        return ""
    shown = ", ".join(f"`{name[:80]}`" for name in names[:5])
    return f"{kind}{'s' if len(names) > 1 else ''} {shown}"
