"""The form of each field of the platform's requests: its characters and its length.

The client refuses by them before it sends, the local platform on receipt, and rules judge an image
by them. Limits stand in :mod:`custom_image.specification`, with their source.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from custom_image.specification import (
    ENVIRONMENT_KEY_LENGTH,
    HEALTH_COMMAND_FORBIDDEN,
    HEALTH_TEXT_LENGTH,
    MODEL_NAME_LENGTH,
    MODEL_REMARK_FORBIDDEN,
    MOUNT_PATH_LENGTH,
    MOUNT_PATH_LENGTH_2_0,
    ORGANIZATION_LENGTH,
    REMARK_LENGTH,
    REMARK_LENGTH_2_0,
    REPOSITORY_LENGTH,
    SERVICE_NAME_LENGTH,
    SERVICE_NAME_LENGTH_V2,
    SERVICE_REMARK_FORBIDDEN,
    TAG_LENGTH,
)


@dataclass(frozen=True)
class Field:
    """The form of one field."""

    pattern: re.Pattern[str]
    longest: int
    shortest: int = 1

    def allows(self, value: object) -> bool:
        """Tell whether a value is a string of this form."""
        return (
            isinstance(value, str)
            and self.shortest <= len(value) <= self.longest
            and self.pattern.fullmatch(value) is not None
        )


def text(forbidden: str, longest: int) -> Field:
    """Return the form of a text, which may be empty, without some characters."""
    return Field(re.compile(f"[^{re.escape(forbidden)}]*", re.DOTALL), longest, 0)


_NUMBER: Final = r"(?:0|[1-9]\d?)"
_NAME: Final = re.compile(r"[A-Za-z0-9_\u4e00-\u9fff-]+")

# --- SWR: one separator, or two underscores, between letters and digits; inferred from the words --
ORGANIZATION: Final = Field(
    re.compile(r"[a-z](?:[a-z0-9]|(?:\.|-|__?)(?=[a-z0-9]))*"), ORGANIZATION_LENGTH.value
)
REPOSITORY: Final = Field(
    re.compile(r"[a-z0-9](?:[a-z0-9]|(?:\.|-|/|__?)(?=[a-z0-9]))*"), REPOSITORY_LENGTH.value
)
TAG: Final = Field(re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*"), TAG_LENGTH.value)
RESERVED: Final = "library"

# --- models ---------------------------------------------------------------------------------------
MODEL_NAME: Final = Field(re.compile(r"[A-Za-z0-9_-]+"), MODEL_NAME_LENGTH.value)
MODEL_VERSION: Final = Field(re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}"), 8, 5)
MODEL_REMARK: Final = text(MODEL_REMARK_FORBIDDEN.value, REMARK_LENGTH.value)

# --- services -------------------------------------------------------------------------------------
SERVICE_NAME: Final = Field(_NAME, SERVICE_NAME_LENGTH.value)
SERVICE_NAME_V2: Final = Field(_NAME, SERVICE_NAME_LENGTH_V2.value)
SERVICE_REMARK: Final = text(SERVICE_REMARK_FORBIDDEN.value, REMARK_LENGTH.value)
SERVICE_REMARK_V2: Final = text("<>", REMARK_LENGTH_2_0.value)
SERVICE_VERSION_V2: Final = Field(re.compile(rf"[1-9]\d?\.{_NUMBER}\.{_NUMBER}"), 8)
ENVIRONMENT_KEY: Final = Field(
    re.compile(r"[A-Za-z_.-][A-Za-z0-9_.-]*"), ENVIRONMENT_KEY_LENGTH.value
)
MOUNT_PATH: Final = Field(re.compile(r"/[A-Za-z0-9/_.\\-]+"), MOUNT_PATH_LENGTH.value, 2)
MOUNT_PATH_V2: Final = Field(re.compile(r"/[A-Za-z0-9/_.-]+/"), MOUNT_PATH_LENGTH_2_0.value, 3)
PROBE_URL: Final = Field(re.compile(r"/[A-Za-z0-9\-_/:]*"), HEALTH_TEXT_LENGTH.value)
PROBE_COMMAND: Final = Field(
    re.compile(f"[^{re.escape(HEALTH_COMMAND_FORBIDDEN.value)}]+"), HEALTH_TEXT_LENGTH.value
)
PERCENT: Final = Field(re.compile(r"(?:[1-9]\d?|100)%"), 4, 2)

# --- API keys -------------------------------------------------------------------------------------
API_KEY_NAME: Final = Field(_NAME, 64)
API_KEY_REMARK: Final = text("!<>=&'\"", 256)
