"""What may stand in a name: the length and the characters of each field of a request.

Source: the docstrings of huaweicloudsdkmodelarts and huaweicloudsdkswr 3.1.219, which are the API
reference; each limit stands in :mod:`custom_image.specification`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from custom_image.specification import (
    DESCRIPTION_LENGTH,
    IMAGE_PATH_LENGTHS,
    IMAGE_README,
    NOTEBOOK_NAME,
    ORGANIZATION_LENGTH,
    REPOSITORY_LENGTH,
    SAVED_IMAGE_NAME,
    TAG_LENGTH,
)
from local_modelarts.errors import parameter, swr_parameter

_MOST_DIGITS: Final = 18


@dataclass(frozen=True)
class Rule:
    """The shape of one field."""

    pattern: re.Pattern[str]
    longest: int
    shortest: int = 1

    def allows(self, value: object) -> bool:
        """Tell whether a value is a string of this shape."""
        return (
            isinstance(value, str)
            and self.shortest <= len(value) <= self.longest
            and self.pattern.fullmatch(value) is not None
        )


# At most two `_` in a row; `.`, `-`, `_` and, in repositories, `/` never beside each other.
_ORGANIZATION = r"[a-z](?:[a-z0-9]|(?:\.|-|__?)(?=[a-z0-9]))*"
_REPOSITORY = r"[a-z0-9](?:[a-z0-9]|(?:\.|-|/|__?)(?=[a-z0-9]))*"
_TEXT = Rule(re.compile(r".*", re.DOTALL), DESCRIPTION_LENGTH.value, 0)

NOTEBOOK: Final = {
    "name": Rule(re.compile(r"[A-Za-z0-9_\u4e00-\u9fff-]+"), NOTEBOOK_NAME.value),
    "description": Rule(re.compile(r"[^<>]*", re.DOTALL), DESCRIPTION_LENGTH.value, 0),
}
SAVED_IMAGE: Final = {
    "name": Rule(re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?"), SAVED_IMAGE_NAME.value),
    "namespace": Rule(re.compile(r"[a-z][A-Za-z0-9._-]*"), ORGANIZATION_LENGTH.value),
    "tag": Rule(re.compile(r"[A-Za-z0-9._-]+"), TAG_LENGTH.value),
    "description": _TEXT,
}
REGISTERED_IMAGE: Final = {
    "swr_path": Rule(
        re.compile(r"[^/\s]+(?:/[^/\s:]+)+:[A-Za-z0-9_][A-Za-z0-9_.-]*"),
        IMAGE_PATH_LENGTHS[1],
        IMAGE_PATH_LENGTHS[0],
    ),
    "description": _TEXT,
    "read_me": Rule(re.compile(r".*", re.DOTALL), IMAGE_README.value, 0),
}
ORGANIZATION: Final = {"namespace": Rule(re.compile(_ORGANIZATION), ORGANIZATION_LENGTH.value)}
REPOSITORY: Final = {"repository": Rule(re.compile(_REPOSITORY), REPOSITORY_LENGTH.value)}


def check(body: Mapping[str, Any], rules: Mapping[str, Rule], *, required: tuple[str, ...]) -> None:
    """Refuse a request whose fields break a rule of ModelArts.

    Raises:
        ApiError: 400, naming the field.
    """
    if field := _fault(body, rules, required):
        raise parameter(f"{field} is invalid: {_shown(body.get(field))}")


def check_swr(body: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
    """Refuse a request whose fields break a rule of SWR.

    Raises:
        SwrError: 400, naming the field.
    """
    if field := _fault(body, rules, tuple(rules)):
        raise swr_parameter(f"{field} is invalid: {_shown(body.get(field))}")


def choice(body: Mapping[str, Any], field: str, choices: tuple[str, ...], default: str) -> str:
    """Return a field that must be one of a few words.

    Raises:
        ApiError: 400, naming the field.
    """
    value = body.get(field) or default
    if value not in choices:
        raise parameter(f"{field} is {_shown(value)}, expected one of {', '.join(choices)}")
    return str(value)


def whole(text: str) -> int | None:
    """Return the number of a string of at most 18 decimal digits, else None.

    Python refuses to convert more than 4,300 digits, and whoever sends a request may send them.
    """
    return int(text) if len(text) <= _MOST_DIGITS and text.isdecimal() else None


def _fault(body: Mapping[str, Any], rules: Mapping[str, Rule], required: tuple[str, ...]) -> str:
    for field, rule in rules.items():
        value = body.get(field)
        if (value is not None or field in required) and not rule.allows(value):
            return field
    return ""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
