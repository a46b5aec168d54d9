"""From a classic request to deploy or update a service to what its instances are made of.

Source: https://support.huaweicloud.com/intl/en-us/api-modelarts/CreateService.html
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from custom_image.platform_api import (
    DEPLOY_MINUTES,
    ENVIRONMENT_KEY,
    INSTANCES,
    MOUNT_PATH,
    REAL_TIME,
    REQUEST_MODES,
    SERVICE_FIELDS,
    WEIGHT,
    Field,
    Range,
)
from custom_image.specification import (
    DEPLOY_TIMEOUT,
    MAX_SURGE,
    MAX_UNAVAILABLE,
    MOUNT_COUNT,
    MOUNT_FORBIDDEN,
)
from local_modelarts.errors import parameter, wrong_install_type
from local_modelarts.platform import Platform
from local_modelarts.runtime.instances import spec_of_model
from local_modelarts.runtime.mounts import refuse_nested
from local_modelarts.runtime.rolling_update import share
from local_modelarts.services.models import find_published
from local_modelarts.storage.obs import Obs
from local_modelarts.storage.resources import Model
from local_modelarts.storage.specs import Group, InstanceSpec, Mount
from local_modelarts.validation import check, whole

_LARGEST_ENVIRONMENT: Final = 100
_FEWEST_CORES: Final = 0.01
_MOST_CORES: Final = 1000
MEMORY_MIB: Final = Range(0, 2**31)
_GRACE_S: Final = Range(0, 86_400)


def read_service(platform: Platform, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a real-time service, of a request to create it.

    Raises:
        ApiError: a field is missing or not allowed, or a model cannot be used.
    """
    check(body, SERVICE_FIELDS, required=("service_name",))
    more = body.get("additional_properties") or {}
    if not isinstance(more, dict):
        raise parameter("additional_properties must be an object")
    return {
        "name": body["service_name"],
        "generation": 1,
        "infer_type": REAL_TIME,
        "description": body.get("description") or "",
        "workspace_id": str(body.get("workspace_id") or "0"),
        "given": {},
        "version": "",
        "versions": [],
        "auth": "TOKEN",
        "websocket": bool(more.get("websocket_upgrade")),
        "limit": {},
        **read_config(platform, body.get("config")),
    }


def read_config(platform: Platform, config: object) -> dict[str, Any]:
    """Return the fields that a ``config`` decides: in a request to create or to update.

    Raises:
        ApiError: a field is missing or not allowed, or a model cannot be used.
    """
    if not isinstance(config, list) or not config or not all(isinstance(e, dict) for e in config):
        raise parameter("config must be a list of at least one object")
    models = [find_published(platform, entry.get("model_id")) for entry in config]
    for model in models:
        if REAL_TIME not in model.install_type:
            raise wrong_install_type(model.name)
    modes = {model.request_mode for model in models}
    if len(modes) > 1:
        raise parameter("config mixes models for synchronous and for asynchronous requests")
    entries = [_entry(platform, *pair) for pair in zip(config, models, strict=True)]
    check_weights(entries)
    return {
        "config": entries,
        "pool": str(config[0].get("pool_name") or config[0].get("cluster_id") or ""),
        "asynchronous": modes == {REQUEST_MODES[1]},
        "apis": [api for model in models for api in model.apis],
        "deploy_timeout_s": max(_deploy_timeout_s(entry) for entry in config),
    }


def _entry(platform: Platform, given: Mapping[str, Any], model: Model) -> Group:
    more = given.get("additional_properties") or {}
    custom = given.get("custom_spec") or {}
    if not isinstance(more, dict) or not isinstance(custom, dict):
        raise parameter("additional_properties and custom_spec must be objects")
    count = number(given, "instance_count", 1, INSTANCES)
    is_dedicated = bool(given.get("pool_name") or given.get("cluster_id"))
    volumes = more.get("persistent_volumes") or []
    if volumes and not is_dedicated:
        raise parameter("persistent_volumes can be used in a dedicated resource pool only")
    spec = spec_of_model(
        model,
        environment=environment(given.get("envs")),
        grace_s=number(more, "termination_grace_period_seconds", 0, _GRACE_S),
        memory_mib=number(custom, "memory", 0, MEMORY_MIB),
        cpus=cores(custom.get("cpu")),
        mounts=mounts(
            platform,
            [
                (volume.get("source_address"), volume.get("mount_path"), False)
                for volume in volumes
                if isinstance(volume, dict)
            ],
            MOUNT_PATH,
        ),
    )
    surge, unavailable = read_surge(
        more.get("max_surge"),
        more.get("max_unavailable"),
        count,
        (MAX_SURGE.value, MAX_UNAVAILABLE.value),
    )
    return Group(
        model_id=model.id,
        title=f"{model.name} {model.version}",
        weight=number(given, "weight", WEIGHT.last, WEIGHT),
        count=count,
        recreate=not is_dedicated,
        surge=surge,
        unavailable=unavailable,
        spec=spec,
        revision=revision_of(spec, model.id),
        given=dict(given),
    )


def read_surge(
    surge: object, unavailable: object, count: int, defaults: tuple[int, int]
) -> tuple[int, int]:
    """Return both as numbers of instances; one of them is at least 1.

    Raises:
        ApiError: 400; they are no numbers.
    """
    try:
        more = share(surge, count, defaults[0], up=True)
        fewer = min(count, share(unavailable, count, defaults[1], up=False))
    except ValueError as error:
        raise parameter(f"max_surge or max_unavailable is invalid: {error}") from error
    return (more, fewer) if more or fewer else (1, 0)


def revision_of(spec: InstanceSpec, origin: str) -> str:
    """Return what tells a spec from others."""
    text = json.dumps([origin, asdict(spec)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def check_weights(entries: Sequence[Group]) -> None:
    """Refuse weights that are not the whole.

    Raises:
        ApiError: 400.
    """
    total = sum(entry.weight for entry in entries)
    if total != WEIGHT.last:
        raise parameter(f"the sum of the weights is {total}, expected {WEIGHT.last}")


def environment(given: object) -> dict[str, str]:
    """Return environment variables.

    Raises:
        ApiError: 400; they are no object of strings.
    """
    if given in (None, {}):
        return {}
    if not isinstance(given, dict) or len(given) > _LARGEST_ENVIRONMENT:
        raise parameter(f"envs must be an object of at most {_LARGEST_ENVIRONMENT} strings")
    for name, value in given.items():
        if not ENVIRONMENT_KEY.allows(name) or isinstance(value, dict | list):
            raise parameter(f"envs: {str(name)[:64]!r} is invalid")
    return {name: "" if value is None else str(value) for name, value in given.items()}


def mounts(
    platform: Platform, given: Sequence[tuple[object, object, bool]], path_rule: Field
) -> tuple[Mount, ...]:
    """Return the folders that stand in for OBS, each where it is to be mounted.

    ``given``: the address, the path in the instance, and whether it may not be written.

    Raises:
        ApiError: an address leads nowhere; a path is not allowed or lies in another.
    """
    if len(given) > MOUNT_COUNT.value:
        raise parameter(f"at most {MOUNT_COUNT} are allowed")
    obs, found = Obs(platform.folder.obs), []
    for address, path, is_read_only in given:
        if not path_rule.allows(path) or str(path).rstrip("/") in {
            forbidden.rstrip("/") for forbidden in MOUNT_FORBIDDEN
        }:
            raise parameter(f"mount_path is invalid: {str(path)[:80]!r}")
        source = str(obs.folder(str(address)))
        found.append(Mount(str(path).rstrip("/"), source, is_read_only))
    refuse_nested([mount.target for mount in found])
    return tuple(found)


def number(given: Mapping[str, Any], name: str, default: int, allowed: Range) -> int:
    """Return a whole number, which may be written as a string.

    Raises:
        ApiError: 400; it is none, or out of range.
    """
    value = given.get(name)
    if value in (None, ""):
        return default
    found = whole(str(value))
    if found is None or not allowed.allows(found):
        raise parameter(f"{name} is {str(value)[:20]!r}, expected {allowed}")
    return found


def cores(value: object) -> float:
    """Return a number of CPUs, at least a hundredth of one; 0 where none is named.

    Raises:
        ApiError: 400; it is no such number.
    """
    if value in (None, "", 0):
        return 0
    try:
        found = float(str(value))
    except ValueError:
        found = 0
    if not _FEWEST_CORES <= found <= _MOST_CORES:
        raise parameter(
            f"custom_spec.cpu is {str(value)[:20]!r}, expected at least {_FEWEST_CORES}"
        )
    return found


def _deploy_timeout_s(entry: Mapping[str, Any]) -> int:
    allowed = Range(60 * DEPLOY_MINUTES.first, 60 * DEPLOY_MINUTES.last)
    return number(entry, "deploy_timeout_in_seconds", 60 * DEPLOY_TIMEOUT.value, allowed)
