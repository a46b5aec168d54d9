"""Checks of one field of a request, of v1 and of v2.

Each function holds a row of ``rules/catalogue.yaml`` and is named there. All of them raise
:class:`~custom_image.errors.UsageError`, which says what was expected, what was found, where, and
what to do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from custom_image.cloud.validation.checks import among, characters, in_range, refuse, shown
from custom_image.platform_api import (
    DEPLOY_MINUTES,
    DEPLOY_MINUTES_V2,
    ENVIRONMENT_KEY,
    MODEL_NAME,
    MODEL_VERSION,
    MOUNT_PATH,
    MOUNT_PATH_V2,
    REAL_TIME,
    SERVICE_NAME,
    SERVICE_NAME_V2,
    Field,
    find_nested,
)
from custom_image.progress import say
from custom_image.specification import (
    ENVIRONMENT_KEY_LENGTH,
    ENVIRONMENT_VALUE_FORBIDDEN_2_0,
    MODEL_DOCUMENTS,
    MODEL_REMARK_FORBIDDEN,
    MODEL_VERSION_LARGEST,
    MOUNT_COUNT,
    MOUNT_FORBIDDEN,
    MOUNT_HOME,
    MOUNT_PATH_LENGTH,
    MOUNT_PATH_LENGTH_2_0,
    REMARK_LENGTH,
    REMARK_LENGTH_2_0,
    SERVICE_NAME_LENGTH,
    SERVICE_NAME_LENGTH_V2,
    SERVICE_REMARK_FORBIDDEN,
    SIGTERM_EXIT,
)


def model_name(name: str) -> None:
    """Refuse the name of a model."""
    _name("model_name", name, MODEL_NAME)


def service_name(name: str, *, is_v2: bool = False) -> None:
    """Refuse the name of a service, whose form is that of a model's.

    Of v2 a page takes 128 characters, the SDK's docstring 64: what lies between is only warned of.
    """
    _name("service_name", name, SERVICE_NAME_V2 if is_v2 else SERVICE_NAME)
    if len(name) > SERVICE_NAME_LENGTH.value:
        readings = "; ".join(SERVICE_NAME_LENGTH_V2.readings)
        say(f"service_name has {len(name)} characters; who says what: {readings}")


def model_version(version: str) -> None:
    """Refuse the version of a model."""
    if not MODEL_VERSION.allows(version):
        expected = f"three numbers from 0 to {MODEL_VERSION_LARGEST}, without leading zeros"
        refuse("model_version", expected, version, "Write it as 1.0.0.")


def description(text: str, of: str = "model") -> None:
    """Refuse a description of a ``model``, a ``service``, or one of ``v2``."""
    longest, forbidden = {
        "model": (REMARK_LENGTH, MODEL_REMARK_FORBIDDEN.value),
        "service": (REMARK_LENGTH, SERVICE_REMARK_FORBIDDEN.value),
        "v2": (REMARK_LENGTH_2_0, "<>"),
    }[of]
    if len(text) > longest.value:
        found = f"{len(text)} characters"
        refuse("description", f"at most {longest}", found, "Shorten it.")
    if found := characters(text, forbidden):
        expected = f"none of {' '.join(forbidden)}"
        refuse("description", expected, found, "Leave these characters out.")


def model_docs(documents: Sequence[Mapping[str, str]]) -> None:
    """Refuse the documents of a model, each ``{"doc_name": ..., "doc_url": ...}``."""
    if len(documents) > MODEL_DOCUMENTS.value:
        refuse("model_docs", f"at most {MODEL_DOCUMENTS}", len(documents), "Link fewer.")
    for index, document in enumerate(documents):
        where = f"model_docs[{index}]"
        name, url = document.get("doc_name", ""), document.get("doc_url", "")
        if not re.match(r"[A-Za-z]", name):
            refuse(f"{where}.doc_name", "a name that starts with a letter", name, "Rename it.")
        if urlsplit(url).scheme not in ("http", "https"):
            refuse(f"{where}.doc_url", "an address of http or https", url, "Write it in full.")


def deploy_timeout(minutes: int, *, is_v2: bool = False) -> None:
    """Refuse the time that a deployment may take."""
    allowed = DEPLOY_MINUTES_V2 if is_v2 else DEPLOY_MINUTES
    in_range("deploy timeout, in minutes", minutes, allowed)


def environment(variables: Mapping[str, str], *, is_v2: bool = False) -> None:
    """Refuse environment variables."""
    for key, value in variables.items():
        where = f"environment variable {shown(key)}"
        if not ENVIRONMENT_KEY.allows(key):
            expected = f"at most {ENVIRONMENT_KEY_LENGTH}: letters, digits, _ . -, no digit first"
            refuse(where, expected, f"{len(key)} characters", "Rename it.")
        if not isinstance(value, str):
            refuse(where, "a string", type(value).__name__, "Write its value in quotes.")
        if is_v2 and (found := characters(value, ENVIRONMENT_VALUE_FORBIDDEN_2_0.value)):
            refuse(where, "a value without < ^ >", found, "Hand it to the service another way.")


def mount_paths(paths: Sequence[str], *, is_v2: bool = False) -> None:
    """Refuse where folders are mounted in the container."""
    longest = MOUNT_PATH_LENGTH_2_0 if is_v2 else MOUNT_PATH_LENGTH
    if len(paths) > MOUNT_COUNT.value:
        refuse("mount paths", f"at most {MOUNT_COUNT}", len(paths), "Mount fewer folders.")
    for path in paths:
        remediation = "Mount it at a new folder of its own, such as /obs-mount/."
        if len(path) > longest.value:
            refuse("mount path", f"at most {longest}", f"{len(path)} characters", remediation)
        if path != "/" and not (MOUNT_PATH_V2 if is_v2 else MOUNT_PATH).allows(path):
            ending = " and ends" if is_v2 else ""
            refuse("mount path", f"a plain path that starts{ending} with /", path, remediation)
        if any(_is_below(path, folder) for folder in MOUNT_FORBIDDEN[1:]) or not path.strip("/"):
            refuse("mount path", f"none of {' '.join(MOUNT_FORBIDDEN)}", path, remediation)
        if _is_below(MOUNT_HOME.value, path):
            refuse("mount path", f"none at {MOUNT_HOME} or above", path, remediation)
    if nested := find_nested(paths):
        upper, lower = map(_folder, nested)
        remediation = "Mount them beside each other."
        refuse("mount paths", "folders apart from each other", f"{lower} in {upper}", remediation)


def termination_grace(seconds: int) -> None:
    """Refuse a time to stop in that is shorter than what an instance may take."""
    if seconds < SIGTERM_EXIT.value:
        remediation = "What still runs then is killed, with everything in flight."
        refuse("termination_grace_period_seconds", f"at least {SIGTERM_EXIT}", seconds, remediation)


def websocket(*, has_limit: bool = False, collects_data: bool = False) -> None:
    """Refuse a WebSocket service that also limits traffic or collects data."""
    if has_limit or collects_data:
        found = "a limit of traffic" if has_limit else "collection of data"
        refuse("websocket_upgrade", "neither limit nor collection", found, "Drop one of the two.")


def async_service(infer_type: str, protocol: str) -> None:
    """Refuse an asynchronous service that is no real-time one over HTTP or HTTPS."""
    if infer_type != REAL_TIME:
        remediation = "A batch service answers when it is done anyway."
        refuse("asynchronous service", "a real-time service", infer_type, remediation)
    among("protocol", protocol.lower(), ("http", "https"), "Other protocols keep a connection.")


def _name(where: str, name: str, field: Field) -> None:
    if not field.allows(name):
        expected = f"1 to {field.longest} letters, digits, - or _"
        refuse(where, expected, name, "Rename it, as in mnist-1.")


def _folder(path: str) -> str:
    return path.rstrip("/") or "/"


def _is_below(path: str, folder: str) -> bool:
    return f"{_folder(path)}/".startswith(f"{_folder(folder)}/")
