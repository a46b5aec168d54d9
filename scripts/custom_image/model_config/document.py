"""JSON text to an object, refusing what no parser of the platform would take either."""

from __future__ import annotations

import json
from collections import Counter
from math import isinf
from typing import Any, Final, NoReturn

from custom_image.errors import PackageError

# Bounds of this reader, not of the platform: far above any real file, far below what hurts.
LARGEST_BYTES: Final = 1_000_000
DEEPEST_NESTING: Final = 60


class WrittenNumber(float):
    """A number of a JSON text that remembers how it was written."""

    text: str

    def __new__(cls, text: str) -> WrittenNumber:
        """Read ``text`` as ``float`` does."""
        number = super().__new__(cls, text)
        if isinf(number):
            _refuse_constant(text[:60])
        number.text = text
        return number


def read_json_object(text: str, where: str) -> dict[str, Any]:
    """Parse a JSON object; ``where`` names it in messages.

    Raises:
        PackageError: the text is not JSON, not an object, too large, too deeply nested, repeats
            a key, or holds a number or a character that cannot be written back.
    """
    if len(text) > LARGEST_BYTES:
        refuse_size(where)
    if text.startswith("\ufeff"):
        raise PackageError(
            f"{where}: starts with a byte order mark, which JSON parsers refuse.\n"
            'Save the file as "UTF-8", not as "UTF-8 with BOM".'
        )
    try:
        document = json.loads(
            text,
            object_pairs_hook=_object,
            parse_float=WrittenNumber,
            parse_int=_whole,
            parse_constant=_refuse_constant,
        )
        json.dumps(document, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise PackageError(_syntax_error(text, where, error)) from error
    except UnicodeEncodeError as error:
        raise PackageError(
            f"{where}: has half a surrogate pair, such as \\ud800, which is no character.\n"
            "Write the character itself, in UTF-8."
        ) from error
    except RecursionError as error:
        raise PackageError(_too_deep(where)) from error
    except ValueError as error:
        raise PackageError(f"{where}: {error}") from error
    if _is_deeper(document, DEEPEST_NESTING):
        raise PackageError(_too_deep(where))
    if not isinstance(document, dict):
        is_array = isinstance(document, list)
        raise PackageError(
            f"{where}: expected an object, found {shown(document)}.\n"
            + ('Put this array under the key "apis".' if is_array else 'Start the file with "{".')
        )
    return document


def refuse_size(where: str) -> NoReturn:
    """Say that a file is too large to be a config.json."""
    raise PackageError(
        f"{where}: is larger than {LARGEST_BYTES / 1e6:g} MB.\n"
        "A config.json has a few kilobytes; this is another file, perhaps the weights."
    )


def shown(value: Any) -> str:
    """Return the value as JSON, cut to what fits into a message."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        key, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {shown(key)} stands twice in one object.\nRemove one of them.")
    return members


def _whole(text: str) -> int:
    return int(text) if len(text) <= 400 else _refuse_constant(f"{text[:20]}...")


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of JSON.\nWrite a finite number, or leave it out.")


def _syntax_error(text: str, where: str, error: json.JSONDecodeError) -> str:
    lines = text.split("\n")
    line = lines[error.lineno - 1].strip() if error.lineno <= len(lines) else ""
    place = f"line {error.lineno}, column {error.colno}"
    return (
        f"{where}: is not JSON ({error.msg}, {place}): {shown(line)}\n"
        'JSON has double quotes, no comments, and no comma before "}" or "]".'
    )


def _too_deep(where: str) -> str:
    return (
        f"{where}: is nested more than {DEEPEST_NESTING} levels deep.\n"
        "No config.json needs that; look at what wrote it."
    )


def _is_deeper(document: Any, levels: int) -> bool:
    """Tell whether values are nested deeper than ``levels``, without recursion."""
    level = [document]
    for _ in range(levels):
        containers = [value for value in level if isinstance(value, dict | list)]
        if not containers:
            return False
        level = []
        for value in containers:
            level.extend(value.values() if isinstance(value, dict) else value)
    return any(isinstance(value, dict | list) for value in level)
