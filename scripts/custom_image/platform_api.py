"""The contract of the platform's requests: paths, words, numbers, and the form of each text.

The client refuses by it before it sends, the local platform on receipt, and rules judge an image by
it. Limits stand in :mod:`custom_image.specification`, with their source. What the client alone
advises, and what the platform alone can know, stands in :mod:`custom_image.cloud.validation` and
in ``local_modelarts``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from custom_image.specification import (
    API_KEY_HOURS,
    DEPLOY_TIMEOUT_RANGE,
    DEPLOY_TIMEOUT_RANGE_2_0,
    DESCRIPTION_LENGTH,
    ENVIRONMENT_KEY_LENGTH,
    HEALTH_COMMAND_FORBIDDEN,
    HEALTH_LARGEST,
    HEALTH_TEXT_LENGTH,
    IMAGE_PATH_LENGTHS,
    IMAGE_README,
    MODEL_NAME_LENGTH,
    MODEL_REMARK_FORBIDDEN,
    MOUNT_PATH_LENGTH,
    MOUNT_PATH_LENGTH_2_0,
    NOTEBOOK_NAME,
    ORGANIZATION_LENGTH,
    REMARK_LENGTH,
    REMARK_LENGTH_2_0,
    REPOSITORY_LENGTH,
    REQUEST_BODY_RANGE_2_0,
    REQUEST_TIMEOUT_RANGE_2_0,
    SAVED_IMAGE_NAME,
    SERVICE_INSTANCES,
    SERVICE_NAME_LENGTH,
    SERVICE_NAME_LENGTH_V2,
    SERVICE_REMARK_FORBIDDEN,
    SERVICE_WEIGHTS,
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


@dataclass(frozen=True)
class Range:
    """The whole numbers from the first to the last."""

    first: int
    last: int

    def allows(self, value: object) -> bool:
        """Tell whether a value is one of them."""
        return type(value) is int and self.first <= value <= self.last

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"


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
API_KEY_LIFE_H: Final = Range(*API_KEY_HOURS)

# --- the texts of each request, by field ----------------------------------------------------------
_REMARK: Final = Field(re.compile(r".*", re.DOTALL), DESCRIPTION_LENGTH.value, 0)
MODEL_FIELDS: Final = {
    "model_name": MODEL_NAME,
    "model_version": MODEL_VERSION,
    "source_location": Field(re.compile(r"\S+"), 2048),
    "description": MODEL_REMARK,
}
SERVICE_FIELDS: Final = {"service_name": SERVICE_NAME, "description": SERVICE_REMARK}
SERVICE_FIELDS_V2: Final = {
    "name": SERVICE_NAME_V2,
    "version": SERVICE_VERSION_V2,
    "description": SERVICE_REMARK_V2,
}
API_KEY_FIELDS: Final = {"name": API_KEY_NAME, "description": API_KEY_REMARK}
ORGANIZATION_FIELDS: Final = {"namespace": ORGANIZATION}
REPOSITORY_FIELDS: Final = {"repository": REPOSITORY}
NOTEBOOK_FIELDS: Final = {
    "name": Field(_NAME, NOTEBOOK_NAME.value),
    "description": text("<>", DESCRIPTION_LENGTH.value),
}
# The page of saving takes more than the registry does; the client goes by the registry's forms.
SAVED_IMAGE_FIELDS: Final = {
    "name": Field(re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?"), SAVED_IMAGE_NAME.value),
    "namespace": Field(re.compile(r"[a-z][A-Za-z0-9._-]*"), ORGANIZATION_LENGTH.value),
    "tag": Field(re.compile(r"[A-Za-z0-9._-]+"), TAG_LENGTH.value),
    "description": _REMARK,
}
REGISTERED_IMAGE_FIELDS: Final = {
    "swr_path": Field(
        re.compile(r"[^/\s]+(?:/[^/\s:]+)+:[A-Za-z0-9_][A-Za-z0-9_.-]*"),
        IMAGE_PATH_LENGTHS[1],
        IMAGE_PATH_LENGTHS[0],
    ),
    "description": _REMARK,
    "read_me": Field(re.compile(r".*", re.DOTALL), IMAGE_README.value, 0),
}

# --- numbers of services --------------------------------------------------------------------------
INSTANCES: Final = Range(1, SERVICE_INSTANCES.value)
WEIGHT: Final = Range(0, SERVICE_WEIGHTS.value)
DEPLOY_MINUTES: Final = Range(*DEPLOY_TIMEOUT_RANGE)
DEPLOY_MINUTES_V2: Final = Range(*DEPLOY_TIMEOUT_RANGE_2_0)
LIMITS_V2: Final = {
    "request_size_limit": Range(*REQUEST_BODY_RANGE_2_0),
    "request_timeout": Range(*REQUEST_TIMEOUT_RANGE_2_0),
}
PROBE_NUMBER: Final = Range(1, HEALTH_LARGEST.value)
PORT_NUMBER: Final = Range(1, 65_535)

# --- words ----------------------------------------------------------------------------------------
REAL_TIME, BATCH = INFER_TYPES = ("real-time", "batch")
SERVICE_TYPES_V2: Final = ("REAL_TIME", "ASYNC_REAL_TIME")
DEPLOY_TYPES_V2: Final = ("SINGLE", "MULTI")
REQUEST_MODES: Final = ("sync", "async")
MAPPING_TYPES: Final = ("file", "csv")
SCALARS: Final = ("string", "number", "integer", "boolean")
PROBES_V2: Final = ("startup_health", "readiness_health", "liveness_health")
PROBE_NUMBERS: Final = (
    "initial_delay_seconds",
    "timeout_seconds",
    "period_seconds",
    "failure_threshold",
)

# --- paths; behind the project those of v1, which the SDK has no methods for ----------------------
V1_PREFIX: Final = "/v1/{project_id}"
MODELS: Final = "/models"
SERVICES: Final = "/services"
EVENTS: Final = "/events"
TASKS: Final = "/async-tasks"
"""Below the address of a service; inferred."""
TOKENS: Final = "/v3/auth/tokens"
TOKEN_METHOD: Final = "hw_ak_sk"
LOGS: Final = "/local/services/{id}/logs"
"""Of the local platform; in the cloud it is in the console, as is the next."""
TIMELINE: Final = "/local/services/{id}/timeline"


def next_version(version: str) -> str:
    """Return the version of a v2 service after this one, each part below 100; empty for none."""
    major, minor, patch = (int(part) for part in version.split("."))
    number = major * 10_000 + minor * 100 + patch + 1
    if number >= 1_000_000:
        return ""
    return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"


def find_nested(paths: Sequence[str]) -> tuple[str, str] | None:
    """Return a folder, and one that lies in it or is the same; None where all are apart."""
    ordered = sorted(f"{path.rstrip('/')}/" for path in paths)
    return next((pair for pair in pairwise(ordered) if pair[1].startswith(pair[0])), None)


def file_member(schema: object) -> str:
    """Return the one member of a request, where it is a file, as a batch of files asks for."""
    kinds = {name: member_type(member) for name, member in members_of(schema).items()}
    return next(iter(kinds)) if list(kinds.values()) == ["file"] else ""


def scalars_of(schema: object, where: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the scalars of a JSON schema, each with its place."""
    if not isinstance(schema, Mapping):
        return
    if schema.get("type") in SCALARS:
        yield where, schema
    for name, member in members_of(schema).items():
        yield from scalars_of(member, f"{where}.{name}")
    for index, member in enumerate(items_of(schema)):
        yield from scalars_of(member, f"{where}[{index}]")


def members_of(schema: object) -> Mapping[str, Any]:
    """Return the members of the object that a JSON schema describes."""
    members = schema.get("properties") if isinstance(schema, Mapping) else None
    return members if isinstance(members, Mapping) else {}


def items_of(schema: Mapping[str, Any]) -> Sequence[Any]:
    """Return the schemas of the items of an array; one alone is a list of one."""
    items = schema.get("items") or []
    return items if isinstance(items, list) else [items]


def member_type(schema: object) -> str:
    """Return the type that a JSON schema names."""
    return str(schema.get("type")) if isinstance(schema, Mapping) else ""
