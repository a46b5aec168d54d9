"""What may stand in a name: the length and the characters of each field of a request.

Source: the docstrings of huaweicloudsdkmodelarts and huaweicloudsdkswr 3.1.219, which are the API
reference; each limit stands in :mod:`custom_image.specification`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from custom_image import platform_api
from custom_image.platform_api import Field
from custom_image.specification import (
    DESCRIPTION_LENGTH,
    IMAGE_PATH_LENGTHS,
    IMAGE_README,
    NOTEBOOK_NAME,
    ORGANIZATION_LENGTH,
    SAVED_IMAGE_NAME,
    TAG_LENGTH,
)
from local_modelarts.errors import parameter, swr_parameter

_MOST_DIGITS: Final = 18


_TEXT = Field(re.compile(r".*", re.DOTALL), DESCRIPTION_LENGTH.value, 0)

NOTEBOOK: Final = {
    "name": Field(re.compile(r"[A-Za-z0-9_\u4e00-\u9fff-]+"), NOTEBOOK_NAME.value),
    "description": Field(re.compile(r"[^<>]*", re.DOTALL), DESCRIPTION_LENGTH.value, 0),
}
SAVED_IMAGE: Final = {
    "name": Field(re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?"), SAVED_IMAGE_NAME.value),
    "namespace": Field(re.compile(r"[a-z][A-Za-z0-9._-]*"), ORGANIZATION_LENGTH.value),
    "tag": Field(re.compile(r"[A-Za-z0-9._-]+"), TAG_LENGTH.value),
    "description": _TEXT,
}
REGISTERED_IMAGE: Final = {
    "swr_path": Field(
        re.compile(r"[^/\s]+(?:/[^/\s:]+)+:[A-Za-z0-9_][A-Za-z0-9_.-]*"),
        IMAGE_PATH_LENGTHS[1],
        IMAGE_PATH_LENGTHS[0],
    ),
    "description": _TEXT,
    "read_me": Field(re.compile(r".*", re.DOTALL), IMAGE_README.value, 0),
}
ORGANIZATION: Final = {"namespace": platform_api.ORGANIZATION}
REPOSITORY: Final = {"repository": platform_api.REPOSITORY}


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
