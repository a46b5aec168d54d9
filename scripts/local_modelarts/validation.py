"""Validation of a request: its fields are as :mod:`custom_image.platform_api` has them.

Source: the docstrings of huaweicloudsdkmodelarts and huaweicloudsdkswr 3.1.219, which are the API
reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from custom_image.platform_api import Field
from local_modelarts.errors import parameter, swr_parameter

_MOST_DIGITS: Final = 18


def check(
    body: Mapping[str, Any], rules: Mapping[str, Field], *, required: tuple[str, ...]
) -> None:
    """Refuse a request whose fields break a rule of ModelArts.

    Raises:
        ApiError: 400, naming the field.
    """
    if field := _fault(body, rules, required):
        raise parameter(f"{field} is invalid: {_shown(body.get(field))}")


def check_swr(body: Mapping[str, Any], rules: Mapping[str, Field]) -> None:
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


def _fault(body: Mapping[str, Any], rules: Mapping[str, Field], required: tuple[str, ...]) -> str:
    for field, rule in rules.items():
        value = body.get(field)
        if (value is not None or field in required) and not rule.allows(value):
            return field
    return ""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
