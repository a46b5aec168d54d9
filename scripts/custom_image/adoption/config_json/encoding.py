"""Bytes of a text file to its text, in whatever encoding an editor left it."""

from __future__ import annotations

import codecs
from typing import Final

from custom_image.errors import PackageError

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8", "UTF-8 with a byte order mark"),
    (codecs.BOM_UTF32_LE, "utf-32-le", "UTF-32 with a byte order mark"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "UTF-16 with a byte order mark"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "UTF-16 with a byte order mark"),
)


def decode_text(content: bytes, where: str) -> tuple[str, str]:
    r"""Return the text, and the name of its encoding; an empty name for plain UTF-8.

    Line ends become ``\\n``.

    Raises:
        PackageError: it is in no encoding that config.json files are found in.
    """
    text, encoding = _decode(content, where)
    return text.replace("\r\n", "\n").replace("\r", "\n"), encoding


def _decode(content: bytes, where: str) -> tuple[str, str]:
    for mark, codec, name in _MARKS:
        if content.startswith(mark):
            return _strict(content[len(mark) :], codec, name, where), name
    head = content[:64]
    if len(head) > 3 and head[1::2].count(0) > len(head) // 3:
        return _strict(content, "utf-16-le", "UTF-16", where), "UTF-16"
    if len(head) > 3 and head[::2].count(0) > len(head) // 3:
        return _strict(content, "utf-16-be", "UTF-16", where), "UTF-16"
    try:
        return content.decode(), ""
    except UnicodeDecodeError:
        return _strict(content, "gb18030", "GBK", where), "GBK"


def _strict(content: bytes, codec: str, name: str, where: str) -> str:
    try:
        return content.decode(codec)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise PackageError(
            f"{where}, line {line}: expected text, found bytes that are neither UTF-8 nor {name}.\n"
            "Save the file in the encoding UTF-8."
        ) from error
