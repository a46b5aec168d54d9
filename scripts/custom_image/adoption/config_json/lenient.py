"""JSON as people write it: comments, stray commas, single quotes, a key twice.

Read as its author meant it, with a note of each liberty taken; what could be meant in two ways is
refused with its line.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple, NoReturn

from custom_image.errors import PackageError
from custom_image.model_config.document import DEEPEST_NESTING, WrittenNumber, shown

_BLANK: Final = re.compile(r"[\s\u00a0\u3000\u200b\ufeff\x00]+")
_COMMENT: Final = re.compile(r"//[^\n]*|#[^\n]*|/\*.*?\*/", re.DOTALL)
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?%?")
_WORD: Final = re.compile(r"[^\W\d][\w$-]*")
_CONFLICT: Final = re.compile(r"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)
# What Chinese input methods and word processors write in place of JSON's own marks.
# ruff: noqa: RUF001
_QUOTES: Final = {'"': '"', "'": "'", "“": "”", "”": "”", "‘": "’", "＂": "＂"}
_COLONS: Final = ":：="
_COMMAS: Final = ",，;；"
_WORDS: Final = {"true": True, "false": False, "null": None, "none": None, "undefined": None}
_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


class Note(NamedTuple):
    """A liberty that was taken: the line (from 1), what was found, and how it was read."""

    line: int
    found: str
    why: str


def read_lenient(text: str, where: str) -> tuple[Any, tuple[Note, ...]]:
    """Return the value, and what had to be overlooked to read it.

    Raises:
        PackageError: it cannot be read, or could be meant in two ways; with its line.
    """
    if conflict := _CONFLICT.search(text):
        line = text.count("\n", 0, conflict.start()) + 1
        raise PackageError(
            f"{where}, line {line}: is the marker of a merge that was not finished.\n"
            "Decide which of the two sides is meant, and remove the other and the markers."
        )
    reader = _Reader(text, where)
    try:
        value = reader.read_document()
    except ValueError as error:  # of a number that nothing can hold
        raise PackageError(f"{where}: {error}") from error
    return value, tuple(dict.fromkeys(reader.notes))


class _Reader:
    def __init__(self, text: str, where: str) -> None:
        self._text = text
        self._where = where
        self._at = 0
        self.notes: list[Note] = []

    def read_document(self) -> Any:
        value = self._value(0)
        self._skip()
        rest = self._text[self._at :]
        if rest.strip(f"]}}{_COMMAS} \t\r\n"):
            self._refuse("the end of the file")
        if rest.strip():
            self._note("", "the brackets behind the end are too many and were left out")
        return value

    def _value(self, depth: int) -> Any:
        if depth > DEEPEST_NESTING:
            raise PackageError(
                f"{self._where}: is nested more than {DEEPEST_NESTING} levels deep.\n"
                "No config.json needs that; look at what wrote it."
            )
        self._skip()
        first = self._peek()
        if first == "{":
            return self._object(depth)
        if first == "[":
            return self._array(depth)
        if first in _QUOTES:
            return self._string()
        if number := _NUMBER.match(self._text, self._at):
            return self._number(number[0])
        if (word := _WORD.match(self._text, self._at)) and word[0].lower() in _WORDS:
            self._at = word.end()
            if word[0] not in ("true", "false", "null"):
                self._note(word[0], "is no word of JSON; it was read as true, false or null")
            return _WORDS[word[0].lower()]
        return self._refuse("a value")

    def _object(self, depth: int) -> dict[str, Any]:
        self._at += 1
        members: dict[str, Any] = {}
        while self._more("}"):
            key = self._key()
            line = self._line()
            self._skip()
            colon = self._peek()
            if not colon or colon not in _COLONS:
                self._refuse(f"a colon behind the key {shown(key)}")
            if colon != ":":
                self._note(colon, "stands where JSON has a colon, and was read as one")
            self._at += 1
            value = self._value(depth + 1)
            if key in members:
                why = f"the key {shown(key)} stands twice in one object; the last one counts"
                self.notes.append(Note(line, shown(members[key]), why))
            members[key] = value
        return members

    def _key(self) -> str:
        if self._peek() in _QUOTES:
            return self._string()
        if word := _WORD.match(self._text, self._at):
            self._at = word.end()
            self._note(word[0], "is a key without quotes, and was read as one")
            return word[0]
        return self._refuse("a key in double quotes")

    def _array(self, depth: int) -> list[Any]:
        self._at += 1
        values = []
        while self._more("]"):
            values.append(self._value(depth + 1))
        return values

    def _more(self, end: str) -> bool:
        """Go to the next member; tell whether there is one. Commas are counted, not insisted on."""
        self._skip()
        before = self._text[: self._at].rstrip()
        commas = 0
        while (comma := self._peek()) and comma in _COMMAS:
            commas += 1
            if comma != ",":
                self._note(comma, "stands where JSON has a comma, and was read as one")
            self._at += 1
            self._skip()
        is_first = before[-1:] in "{[" and not commas
        if self._peek() == end:
            if commas:
                self._note(",", f'a comma too many before "{end}" was left out')
            self._at += 1
            return False
        if not self._peek():
            self._refuse(f'"{end}"')
        if (before[-1:] in "{[" and commas) or commas > 1:
            self._note(",", "a comma too many was left out")
        if not commas and not is_first and not self._was_opened(before):
            self._note(self._peek(), "a comma is missing before it, and was read")
        return True

    def _was_opened(self, before: str) -> bool:
        """Tell whether the last thing but comments is an opening bracket."""
        return _COMMENT.sub("", before).rstrip()[-1:] in ("{", "[")

    def _string(self) -> str:
        start, quote = self._at, self._text[self._at]
        end = _QUOTES[quote]
        if quote != '"':
            self._note(quote, "quotes other than double ones were read as double ones")
        self._at += 1
        out: list[str] = []
        while True:
            char = self._text[self._at : self._at + 1]
            if char == end or (char == '"' and quote in "“”"):
                self._at += 1
                return "".join(out)
            if char in ("", "\n"):
                self._at = start
                self._refuse("a string that ends on its line")
            if char == "\\":
                out.append(self._escape())
            else:
                out.append(char)
                self._at += 1

    def _escape(self) -> str:
        char = self._text[self._at + 1 : self._at + 2]
        digits = self._text[self._at + 2 : self._at + 6]
        if char == "u" and re.fullmatch("[0-9a-fA-F]{4}", digits):
            pair = re.match(r"(?:\\u[0-9a-fA-F]{4}){1,2}", self._text[self._at :])
            assert pair is not None
            for text in (pair[0], pair[0][:6]):
                decoded = str(json.loads(f'"{text}"'))
                if (len(decoded) == 1 and decoded.isprintable()) or len(text) == 6:
                    self._at += len(text)
                    return decoded
        if char and char in '"\\/':
            self._at += 2
            return char
        if char in _ESCAPES:
            self._at += 2
            return _ESCAPES[char]
        self._note(f"\\{char}", "is no escape of JSON; the backslash was read as itself")
        self._at += 1
        return "\\"

    def _number(self, text: str) -> Any:
        if not re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?", text):
            self._note(text, "is no number of JSON; it was read as the number that it looks like")
        self._at += len(text)
        if text.endswith("%"):
            return float(text[:-1]) / 100
        if re.fullmatch(r"[+-]?\d{1,400}", text):
            return int(text)
        return WrittenNumber(text)

    def _skip(self) -> None:
        """Go past blanks and comments."""
        while True:
            if blank := _BLANK.match(self._text, self._at):
                self._at = blank.end()
            elif comment := _COMMENT.match(self._text, self._at):
                self._note(comment[0].split("\n")[0].strip(), "a comment, which JSON has not")
                self._at = comment.end()
            else:
                return

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1

    def _note(self, found: str, why: str) -> None:
        self.notes.append(Note(self._line(), found, why))

    def _refuse(self, expected: str) -> NoReturn:
        line = self._text.split("\n")[self._line() - 1].strip()
        found = shown(line) if self._peek() else "the end of the file"
        raise PackageError(
            f"{self._where}, line {self._line()}: expected {expected}, found {found}.\n"
            "It cannot be read even where comments and stray commas are overlooked; correct this "
            "line."
        )
