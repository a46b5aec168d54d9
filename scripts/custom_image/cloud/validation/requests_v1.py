"""Checks of a request of v1, refused here before anything is sent.

Each function holds one row of ``rules/catalogue.yaml`` and is named there. All of them raise
:class:`~custom_image.errors.UsageError`, which says what was expected, what was found, where, and
what to do. What is about images and batch services stands in modules of their own beside this one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from custom_image.cloud.validation.batch import batch_input, batch_mapping, batch_service
from custom_image.cloud.validation.checks import among, characters, in_range, refuse, shown
from custom_image.cloud.validation.images import (
    image_digest,
    image_tag,
    login,
    private_image,
    region,
    save_image,
    single_manifest,
    source_copy,
)
from custom_image.cloud.validation.requests_v2 import inference_2_0_service
from custom_image.platform_api import (
    BATCH,
    DEPLOY_MINUTES,
    DEPLOY_MINUTES_V2,
    ENVIRONMENT_KEY,
    INSTANCES,
    MODEL_NAME,
    MODEL_VERSION,
    MOUNT_PATH,
    MOUNT_PATH_V2,
    REAL_TIME,
    SERVICE_NAME,
    SERVICE_NAME_V2,
    WEIGHT,
    Field,
    find_nested,
)
from custom_image.progress import say
from custom_image.specification import (
    AUTHENTICATION_V2,
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

__all__ = [
    "batch_input",
    "batch_mapping",
    "batch_service",
    "image_digest",
    "image_tag",
    "inference_2_0_service",
    "login",
    "private_image",
    "region",
    "save_image",
    "single_manifest",
    "source_copy",
]


# --- names and texts ------------------------------------------------------------------------------
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
    """Refuse a description of a ``model``, a ``service``, or one of Inference ``2.0``."""
    longest, forbidden = {
        "model": (REMARK_LENGTH, MODEL_REMARK_FORBIDDEN.value),
        "service": (REMARK_LENGTH, SERVICE_REMARK_FORBIDDEN.value),
        "2.0": (REMARK_LENGTH_2_0, "<>"),
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


# --- services -------------------------------------------------------------------------------------
def service_config(config: Sequence[Mapping[str, Any]], infer_type: str) -> None:
    """Refuse ``config[]`` of a service: models, their weights and their instances."""
    if not config:
        refuse("config", "at least one model", "none", "Name the model to deploy.")
    for index, part in enumerate(config):
        in_range(f"config[{index}].instance_count", part.get("instance_count", 1), INSTANCES)
    if infer_type == BATCH:
        if len(config) != 1:
            refuse("config", "one model in a batch service", len(config), "Deploy one of them.")
        return
    weights = [int(part.get("weight", 0)) for part in config]
    if sum(weights) != WEIGHT.last or min(weights) < WEIGHT.first:
        remediation = "Divide 100 among the models."
        refuse("config[].weight", f"a sum of {WEIGHT.last}", weights, remediation)


def deploy_timeout(minutes: int, *, is_2_0: bool = False) -> None:
    """Refuse the time that a deployment may take."""
    allowed = DEPLOY_MINUTES_V2 if is_2_0 else DEPLOY_MINUTES
    in_range("deploy timeout, in minutes", minutes, allowed)


def environment(variables: Mapping[str, str], *, is_2_0: bool = False) -> None:
    """Refuse environment variables."""
    for key, value in variables.items():
        where = f"environment variable {shown(key)}"
        if not ENVIRONMENT_KEY.allows(key):
            expected = f"at most {ENVIRONMENT_KEY_LENGTH}: letters, digits, _ . -, no digit first"
            refuse(where, expected, f"{len(key)} characters", "Rename it.")
        if not isinstance(value, str):
            refuse(where, "a string", type(value).__name__, "Write its value in quotes.")
        if is_2_0 and (found := characters(value, ENVIRONMENT_VALUE_FORBIDDEN_2_0.value)):
            refuse(where, "a value without < ^ >", found, "Hand it to the service another way.")


def mount_paths(paths: Sequence[str], *, is_2_0: bool = False) -> None:
    """Refuse where folders are mounted in the container."""
    longest = MOUNT_PATH_LENGTH_2_0 if is_2_0 else MOUNT_PATH_LENGTH
    if len(paths) > MOUNT_COUNT.value:
        refuse("mount paths", f"at most {MOUNT_COUNT}", len(paths), "Mount fewer folders.")
    for path in paths:
        remediation = "Mount it at a new folder of its own, such as /obs-mount/."
        if len(path) > longest.value:
            refuse("mount path", f"at most {longest}", f"{len(path)} characters", remediation)
        if path != "/" and not (MOUNT_PATH_V2 if is_2_0 else MOUNT_PATH).allows(path):
            ending = " and ends" if is_2_0 else ""
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


def service_v1(body: Mapping[str, Any]) -> None:
    """Refuse the body of a request for a real-time service of v1."""
    service_name(str(body.get("service_name") or ""))
    description(str(body.get("description") or ""), of="service")
    for part in body["config"]:
        more = part["additional_properties"]
        environment(part["envs"])
        deploy_timeout(part["deploy_timeout_in_seconds"] // 60)
        termination_grace(more["termination_grace_period_seconds"])
        mount_paths([volume["mount_path"] for volume in more.get("persistent_volumes") or []])
    service_config(body["config"], body["infer_type"])


def service_v2(body: Mapping[str, Any]) -> None:
    """Refuse the body of a request for a service of v2."""
    service_name(str(body.get("name") or ""), is_v2=True)
    description(str(body.get("description") or ""), of="2.0")
    deploy_timeout(body["deploy_timeout_minutes"], is_2_0=True)
    authentication = body["runtime_config"]["service_invoke"]["auth_type"]
    among("authentication", authentication, AUTHENTICATION_V2, "v2 knows no other.")
    for unit in body["group_configs"][0]["unit_configs"]:
        environment(unit.get("envs") or {}, is_2_0=True)
        termination_grace(unit["termination_grace"]["termination_grace_period_seconds"])
        mount_paths([file["mount_path"] for file in unit.get("files") or []], is_2_0=True)
    inference_2_0_service(body)


def _name(where: str, name: str, field: Field) -> None:
    if not field.allows(name):
        expected = f"1 to {field.longest} letters, digits, - or _"
        refuse(where, expected, name, "Rename it, as in mnist-1.")


def _folder(path: str) -> str:
    return path.rstrip("/") or "/"


def _is_below(path: str, folder: str) -> bool:
    return f"{_folder(path)}/".startswith(f"{_folder(folder)}/")
