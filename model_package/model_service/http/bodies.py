"""From the bytes of a body to what ``_preprocess`` gets, as on the platform.

The body that came decides, whatever config.json declares: JSON is whatever it says, and a form is a
mapping from the name of a part to ``{file name: file-like object}``, or to its text where it is no
file. The query string is merged in afterwards.

Source: Specifications for Writing Model Inference Code, and the serving code of preset images.
"""

from __future__ import annotations

import io
import json
from typing import Any
from urllib.parse import parse_qsl

from model_service.http.messages import INVALID_INPUT, Refused, Request
from model_service.http.multipart import parse_options, split_parts
from model_service.http.surface import APPLICATION_JSON, MULTIPART, Api

FORM = "application/x-www-form-urlencoded"
UNNAMED_FILE = "file"


def decode_body(api: Api, request: Request, reads_body: bool = False) -> Any:
    """Return the data of a request: the bytes themselves, where the service reads them.

    Raises:
        Refused: 400 for a broken body, 415 for one of another type, 422 for a missing part.
    """
    query = _read_query(request)
    if api.method == "GET":
        return json.dumps(query).encode() if reads_body else query
    if request.content_encoding not in (b"", b"identity"):
        encoding = request.content_encoding.decode("latin-1")
        raise Refused(415, f"Content-Encoding: expected none, found {encoding}")
    kind, options = parse_options(request.content_type)
    data: Any
    # A client that says nothing of the type (http.client, some gateways) is taken at its bytes.
    if kind in (APPLICATION_JSON, "") or kind.endswith("+json"):
        data = _decode_json(request.body) if request.body or not query else {}
    elif reads_body:
        data = None
    elif kind == MULTIPART:
        data = _decode_multipart(request.body, options.get("boundary", ""))
    elif kind == FORM:
        data = _first_of_each(request.body)
    else:
        expected = f"{MULTIPART} or {APPLICATION_JSON}"
        if api.file_parts:
            expected += " with the " + _in_words("part", api.file_parts)
        raise Refused(415, f"Content-Type: expected {expected}, found {kind}")
    if reads_body:
        return request.body
    if isinstance(data, dict):
        data.update(query)
        _check_names(api, data)
    return data


def _read_query(request: Request) -> dict[str, Any]:
    return _first_of_each(request.query) if request.query else {}


def _first_of_each(pairs: bytes) -> dict[str, Any]:
    """Return the first value of each name."""
    try:
        found = parse_qsl(pairs.decode("latin-1"), keep_blank_values=True)
    except ValueError as error:  # more fields than Python takes, for example
        raise Refused(400, f"the fields cannot be read: {error}") from None
    return dict(reversed(found))


def _decode_json(body: bytes) -> Any:
    if not body:
        raise Refused(400, "the body is empty, expected JSON", error=INVALID_INPUT)
    try:
        return json.loads(body, parse_constant=_no_constant)
    except RecursionError:
        raise Refused(400, "the body is JSON nested too deeply", error=INVALID_INPUT) from None
    except ValueError as error:
        sentence = f"the body is not JSON: {error}"
        raise Refused(400, sentence, error=INVALID_INPUT) from None


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _decode_multipart(body: bytes, boundary: str) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for part in split_parts(body, boundary):
        if part.filename is None:
            data[part.name] = part.content.decode("utf-8", "replace")
            continue
        files = data.get(part.name)
        if not isinstance(files, dict):
            files = data[part.name] = {}
        files[_free_name(files, _last_part(part.filename))] = io.BytesIO(part.content)
    return data


def _last_part(filename: str) -> str:
    """Return a file name without its folders: packages store uploads under the client's name.

    Source: RFC 7578, 4.2: a file name is no path.
    """
    name = filename.replace("\\", "/").replace("\0", "").rsplit("/", 1)[-1]
    return UNNAMED_FILE if name in ("", ".", "..") else name


def _free_name(files: dict[str, Any], filename: str) -> str:
    """Keep two files of one name apart: a service that wants one file must see that two came."""
    name, number = filename, 2
    while name in files:
        name, number = f"{filename} ({number})", number + 1
    return name


def _check_names(api: Api, data: dict[str, Any]) -> None:
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
