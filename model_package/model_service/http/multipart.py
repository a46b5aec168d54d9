"""``multipart/form-data``, taken apart.

By hand, because the parser that Python 3.7 can have (python-multipart 0.0.8) writes a line of log
for each byte before the first boundary (CVE-2024-53981), and because a body that is in memory whole
needs no parser in steps. Source: RFC 2046, 5.1; RFC 7578.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from model_service.http.messages import Refused

MAX_PARTS = 100
MAX_HEAD_BYTES = 16 * 1024

_OPTION = re.compile(r';[ \t]*([^\s;="]{1,64})[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|[^;"]*)', re.DOTALL)
_ESCAPED = re.compile(r'\\(["\\])')


@dataclass
class Part:
    """One part.

    Attributes:
        filename: as it came, a path perhaps; None for a field that is no file.
    """

    name: str
    filename: str | None
    content: bytes


def parse_options(value: bytes) -> tuple[str, dict[str, str]]:
    """Return the lower-case value of a header and its options: ``name="a"; filename*=UTF-8''b``."""
    text = value.decode("utf-8", "replace")
    kind, _, _ = text.partition(";")
    options: dict[str, str] = {}
    for match in _OPTION.finditer(text, len(kind)):
        name, content = match.group(1).lower(), match.group(2)
        if content.startswith('"'):
            content = _ESCAPED.sub(r"\1", content[1:-1])
        else:
            content = content.rstrip()
        if name.endswith("*"):  # RFC 5987; urllib3 1 sends file names so
            name, content = name[:-1], _decode_extended(content)
        options[name] = content
    return kind.strip().lower(), options


def _decode_extended(text: str) -> str:
    charset, _, rest = text.partition("'")
    _, _, encoded = rest.partition("'")
    try:
        return unquote(encoded, charset or "utf-8", "replace")
    except LookupError:
        return unquote(encoded)


def split_parts(body: bytes, boundary: str) -> list[Part]:
    """Return the parts of a whole body.

    Raises:
        Refused: 400 for a body that is none, 413 for too many parts.
    """
    if not boundary:
        raise Refused(400, "Content-Type: multipart/form-data without a boundary")
    delimiter = b"\r\n--" + boundary.encode("utf-8", "replace")
    # The first delimiter may stand at the very beginning, without the line end before it.
    position = (
        len(delimiter) - 2 if body.startswith(delimiter[2:]) else _next(body, delimiter, 0)[1]
    )
    parts: list[Part] = []
    while True:
        if body.startswith(b"--", position):
            return parts
        start = body.find(b"\r\n", position)
        if start < 0 or body[position:start].strip(b" \t"):
            raise _broken("a boundary is not followed by a line end")
        if len(parts) == MAX_PARTS:
            raise Refused(413, f"the body holds more than {MAX_PARTS} parts")
        head_end = body.find(b"\r\n\r\n", start, start + MAX_HEAD_BYTES)
        if head_end < 0:
            raise _broken(f"the head of part {len(parts) + 1} does not end")
        name, filename = _read_head(body[start + 2 : head_end], len(parts) + 1)
        end, position = _next(body, delimiter, head_end + 2)
        parts.append(Part(name, filename, body[head_end + 4 : end]))


def _next(body: bytes, delimiter: bytes, start: int) -> tuple[int, int]:
    """Return where the next delimiter begins and ends; what only begins like one is content."""
    while True:
        begin = body.find(delimiter, start)
        if begin < 0:
            raise Refused(400, "the body ends before its closing boundary")
        end = begin + len(delimiter)
        if body[end : end + 1] in (b"\r", b"-", b" ", b"\t"):
            return begin, end
        start = begin + 2


def _read_head(head: bytes, number: int) -> tuple[str, str | None]:
    """Return the name of a part, and its file name if it is a file."""
    for line in head.replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ").split(b"\r\n"):
        field, colon, value = line.partition(b":")
        if not colon:
            raise _broken(f"the head of part {number} holds a line without a colon")
        if field.strip().lower() == b"content-disposition":
            _, options = parse_options(value)
            if "name" in options:
                return options["name"], options.get("filename")
    raise Refused(400, f"part {number} of the body has no name")


def _broken(why: str) -> Refused:
    return Refused(400, f"the body is not multipart/form-data: {why}")
