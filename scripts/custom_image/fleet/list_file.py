"""A list in a file: a thing a line, and the lines that name none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from custom_image.errors import UsageError

Thing = TypeVar("Thing")
_SHOWN: Final = 100


@dataclass(frozen=True)
class BadLine:
    """A line that names nothing to work on.

    Attributes:
        number: counted from 1.
        reason: what is wrong with it, as the rest of a sentence.
    """

    number: int
    text: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.number}: {self.text!r} {self.reason}"


def read_list(
    path: Path, parse: Callable[[str], Thing], expected: str
) -> tuple[tuple[Thing, ...], tuple[BadLine, ...]]:
    """Return what the lines of a file name, each once and in order, and the lines that do not.

    Blank lines and what follows a ``#`` are left out.

    Args:
        path: of the file.
        parse: returns what a line names; its UsageError is the reason of one that names nothing.
        expected: what such a file holds.

    Raises:
        UsageError: the file cannot be read, or holds no line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise UsageError(f"{path}: cannot be read ({reason}).\nExpected {expected}") from error
    found: list[Thing] = []
    bad_lines = []
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip().removeprefix("\ufeff")
        if not text:
            continue
        try:
            found.append(parse(text))
        except UsageError as error:
            bad_lines.append(BadLine(number, text[:_SHOWN], str(error).splitlines()[0].rstrip(".")))
    if not found and not bad_lines:
        raise UsageError(f"{path}: holds no line.\nExpected {expected}")
    return tuple(dict.fromkeys(found)), tuple(bad_lines)
