"""A refusal of a request: what was expected, what was found, where, and what to do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from custom_image.errors import UsageError
from custom_image.platform_api import Range

_LONGEST: Final = 60
_REGION: Final = re.compile(r"(?:modelarts|swr)\.(?P<region>[a-z0-9-]+)\.[a-z]")


def refuse(where: str, expected: str, found: Any, remediation: str) -> NoReturn:
    """Refuse a request.

    Raises:
        UsageError: always.
    """
    raise UsageError(f"{where}: expected {expected}, found {shown(found)}.\n{remediation}")


def in_range(where: str, number: Any, bounds: Range) -> None:
    """Refuse what is no whole number in a range."""
    if not bounds.allows(number):
        refuse(where, f"a whole number from {bounds}", number, "Choose one in this range.")


def among(where: str, value: str, choices: Sequence[str], remediation: str) -> None:
    """Refuse a value that is not one of the choices."""
    if value not in choices:
        refuse(where, " or ".join(choices), value, remediation)


def characters(text: str, forbidden: str) -> str:
    """Return those of the forbidden characters that a text holds, apart from each other."""
    return " ".join(character for character in forbidden if character in text)


def shown(value: Any) -> str:
    """Return a value as it may stand in a message: on one line, cut."""
    text = " ".join(str(value).split()) if value != "" else "nothing"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def region_of(address: str) -> str:
    """Return the region that a host of the platform names; empty where it names none."""
    match = _REGION.match(urlsplit(address).netloc or address)
    return match["region"] if match else ""
