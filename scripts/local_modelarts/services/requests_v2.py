"""From a request of Inference 2.0 to what the instances of a service are made of.

Source: ``ServiceCreateRequest`` and ``ServiceUpdateRequest`` of huaweicloudsdkmodelarts 3.1.219.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from custom_image.errors import Unavailable
from custom_image.platform_api import (
    DEPLOY_MINUTES_V2,
    DEPLOY_TYPES_V2,
    INSTANCES,
    LIMITS_V2,
    PERCENT,
    PORT_NUMBER,
    PROBE_COMMAND,
    PROBE_NUMBER,
    PROBE_NUMBERS,
    PROBE_URL,
    PROBES_V2,
    REAL_TIME,
    SERVICE_FIELDS_V2,
    SERVICE_TYPES_V2,
    WEIGHT,
    Range,
    next_version,
)
from custom_image.specification import (
    AUTHENTICATION_V2,
    DEPLOY_TIMEOUT,
    HEALTH_METHODS,
    MIB,
    PORT,
    PROTOCOLS_V2,
    ROLLING_2_0,
    STOP_COMMAND_LENGTH,
    VERSION_RANGE_2_0,
)
from local_modelarts.errors import ApiError, parameter
from local_modelarts.platform import Platform
from local_modelarts.runtime import probes
from local_modelarts.runtime.mounts import mounts_of
from local_modelarts.services.requests_v1 import (
    MEMORY_MIB,
    check_weights,
    cores,
    environment,
    number,
    read_surge,
    revision_of,
)
from local_modelarts.storage.resources import Image, Service
from local_modelarts.storage.specs import Group, InstanceSpec
from local_modelarts.validation import check, choice

_SHARE: Final = f"{ROLLING_2_0.value}%"
_USER_IDS: Final = Range(1, 60_000)
_GRACE_S: Final = Range(1, 86_400)
_RATE: Final = Range(1, 10_000)
_PER_S: Final = {"SECONDS": 1, "MINUTES": 60}
_PROBES: Final = dict(zip(probes.ROLES, PROBES_V2, strict=True))


def read_service(platform: Platform, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a service, of a request to create it.

    Raises:
        ApiError: a field is missing, not allowed, or not rehearsed here.
    """
    check(body, SERVICE_FIELDS_V2, required=("name",))
    kind = choice(body, "type", SERVICE_TYPES_V2, SERVICE_TYPES_V2[0])
    if choice(body, "deploy_type", DEPLOY_TYPES_V2, DEPLOY_TYPES_V2[0]) != DEPLOY_TYPES_V2[0]:
        raise parameter("deploy_type MULTI is not rehearsed here")
    version = body.get("version") or VERSION_RANGE_2_0[0]
    return {
        "name": body["name"],
        "generation": 2,
        "infer_type": REAL_TIME,
        "description": body.get("description") or "",
        "workspace_id": str(body.get("workspace_id") or "0"),
        "asynchronous": kind == SERVICE_TYPES_V2[1],
        "versions": [version],
        **read_version(platform, body, version, dict(body)),
    }


def read_update(platform: Platform, row: Service, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that a request to update changes; what it leaves out stays.

    Raises:
        ApiError: a field is not allowed, or there was this version.
    """
    check(body, SERVICE_FIELDS_V2, required=())
    given = {name: value for name, value in body.items() if value is not None}
    fields: dict[str, Any] = {n: given[n] for n in ("name", "description") if n in given}
    parts = ("group_configs", "runtime_config", "upgrade_config", "deploy_timeout_minutes")
    if not any(name in given for name in parts):
        return fields
    version = given.get("version") or next_version(row.version)  # inferred
    if not version:
        raise parameter(f"there is no version after {row.version}")
    if version in row.versions:
        raise parameter(f"version {version} exists already")
    if len(row.versions) >= platform.settings.service_versions:
        raise parameter(f"{len(row.versions)} versions are kept already: delete one first")
    whole = {**row.given, **given, "version": version}
    fields["versions"] = [*row.versions, version]
    return fields | read_version(platform, whole, version, whole)


def read_deployment(platform: Platform, row: Service, group: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that a request to update the one deployment of a service changes.

    Raises:
        ApiError: a field is not allowed.
    """
    known = (row.given.get("group_configs") or [{}])[0]
    given = {name: value for name, value in group.items() if value is not None}
    return read_update(platform, row, {"group_configs": [{**known, **given}]})


def read_version(
    platform: Platform, body: Mapping[str, Any], version: str, given: dict[str, Any]
) -> dict[str, Any]:
    """Return the fields that a version of a service decides.

    Raises:
        ApiError: a field is missing, not allowed, or not rehearsed here.
    """
    groups = body.get("group_configs")
    if not isinstance(groups, list) or len(groups) != 1 or not isinstance(groups[0], dict):
        raise parameter("group_configs must be a list of one object")
    runtime = _object(body, "runtime_config")
    invoke = _object(runtime, "service_invoke")
    limit = _limit(_object(runtime, "service_limit"))
    websocket = str(invoke.get("protocol")) in ("WS", "WSS")
    if websocket and "requests_per_s" in limit:
        raise parameter("a service of WS or WSS cannot have a rate_limit")
    minutes = number(body, "deploy_timeout_minutes", DEPLOY_TIMEOUT.value, DEPLOY_MINUTES_V2)
    rolling = _object(_object(body, "upgrade_config"), "rolling_update")
    config = [_group(platform, groups[0], invoke, rolling, version)]
    check_weights(config)
    return {
        "config": config,
        "pool": str(groups[0].get("pool_id") or ""),
        "apis": [],
        "auth": choice(invoke, "auth_type", AUTHENTICATION_V2, AUTHENTICATION_V2[0]),
        "websocket": websocket,
        "limit": limit,
        "deploy_timeout_s": 60 * minutes,
        "version": version,
        "given": given,
    }


def _group(
    platform: Platform,
    group: Mapping[str, Any],
    invoke: Mapping[str, Any],
    rolling: Mapping[str, Any],
    version: str,
) -> Group:
    units = group.get("unit_configs")
    if not isinstance(units, list) or len(units) != 1 or not isinstance(units[0], dict):
        raise parameter("unit_configs must be a list of one object, as deploy_type is SINGLE")
    for name in ("max_surge", "max_unavailable"):
        if not PERCENT.allows(str(rolling.get(name) or _SHARE)):
            raise parameter(f"rolling_update.{name} is invalid, expected 1% to 100%")
    count = number(group, "count", 1, INSTANCES)
    surge, unavailable = read_surge(
        rolling.get("max_surge") or _SHARE, rolling.get("max_unavailable") or _SHARE, count, (1, 0)
    )
    spec = _unit(platform, units[0], invoke)
    return Group(
        title=f"{_name(spec.image)} {version}",
        weight=number(group, "weight", WEIGHT.last, WEIGHT),
        count=count,
        surge=surge,
        unavailable=unavailable,
        spec=spec,
        revision=revision_of(spec, _advanced(group, invoke)),
        given=dict(group),
    )


def _advanced(group: Mapping[str, Any], invoke: Mapping[str, Any]) -> str:
    """Return the settings besides a spec whose change restarts instances: secrets, metrics, EMS.

    A new version by itself does not: it shows as an upgrade, and starts nothing anew.
    Source: https://support.huaweicloud.com/inference-modelarts/inference2.0-modelarts-0022.html
    """
    names = [*(n for n in invoke if n.startswith("metric_api_")), "ems_enable"]
    found = {name: invoke.get(name) for name in names}
    found |= {n: group.get(n) for n in ("secret_type", "secret_name", "advanced_config")}
    # Another address is another pod template, as in Kubernetes, though the digest is the same.
    found["image"] = (group.get("unit_configs") or [{}])[0].get("image", {}).get("swr_path")
    return json.dumps({n: v for n, v in found.items() if v}, sort_keys=True)


def _unit(platform: Platform, unit: Mapping[str, Any], invoke: Mapping[str, Any]) -> InstanceSpec:
    grace, user = _object(unit, "termination_grace"), _object(unit, "security_config")
    custom = _object(unit, "custom_spec")
    protocol = choice(invoke, "protocol", PROTOCOLS_V2, PROTOCOLS_V2[0])
    protocol = "https" if protocol in ("HTTPS", "WSS") else "http"
    command = str(grace.get("pre_stop_cmd") or "")
    if len(command) > STOP_COMMAND_LENGTH.value:
        raise parameter(f"pre_stop_cmd is longer than {STOP_COMMAND_LENGTH}")
    port = number(unit, "port", number(invoke, "port", PORT.value, PORT_NUMBER), PORT_NUMBER)
    user_id = number(user, "user_id", 0, _USER_IDS)
    group_id = number(user, "group_id", 0, _USER_IDS)
    found = {role: _probe(unit, name) for role, name in _PROBES.items()}
    return InstanceSpec(
        image=_image(platform, _object(unit, "image")),
        is_remote=True,
        port=port,
        protocol=protocol,
        command=str(unit.get("cmd") or ""),
        environment=environment(unit.get("envs")),
        user=f"{user_id}:{group_id}".removesuffix(":0") if user_id else "",
        mounts=mounts_of(platform, unit.get("files")),
        memory_mib=number(custom, "memory", 0, MEMORY_MIB),
        cpus=cores(custom.get("cpu")),
        probes={role: probe.to_json() for role, probe in found.items() if probe},
        pre_stop=command,
        grace_s=number(grace, "termination_grace_period_seconds", 0, _GRACE_S),
    )


def _probe(unit: Mapping[str, Any], name: str) -> probes.Probe | None:
    health = _object(unit, name)
    if not health:
        return None
    method = choice(health, "check_method", HEALTH_METHODS, probes.HTTP)
    field, rule = ("url", PROBE_URL) if method == probes.HTTP else ("cmd", PROBE_COMMAND)
    if not rule.allows(health.get(field)):
        raise parameter(f"{name}.{field} is invalid: {str(health.get(field))[:80]!r}")
    choice(health, "protocol", ("HTTP", "HTTPS"), "HTTP")
    for number_name in PROBE_NUMBERS:
        try:
            number(health, number_name, 1, PROBE_NUMBER)
        except ApiError as error:
            raise parameter(f"{name}.{error.message.partition('. ')[2]}") from error
    return probes.inference_2_0(health)


def _image(platform: Platform, image: Mapping[str, Any]) -> str:
    known = platform.state.get(Image, str(image.get("id") or ""))
    path = str(image.get("swr_path") or (known.swr_path if known else ""))
    host, _, rest = path.partition("/")
    if host != platform.registry.host or "/" not in rest or ":" not in rest:
        expected = f"{platform.registry.host}/organization/image:tag"
        raise parameter(f"image.swr_path is {path[:80]!r}, expected {expected}")
    return _pinned(platform, path)


def _pinned(platform: Platform, path: str) -> str:
    """Return an address by digest: a version keeps its image when its tag is pushed again.

    Inferred: the pages say it of models. What is not there fails when it is pulled.
    """
    name, _, tag = path.rpartition(":")
    with suppress(Unavailable):
        if found := platform.registry.manifest(name.partition("/")[2], tag):
            return f"{name}@{found.digest}"
    return path


def _name(image: str) -> str:
    return image.rpartition("/")[2].partition("@")[0].partition(":")[0]


def _limit(limit: Mapping[str, Any]) -> dict[str, float]:
    """Return what replaces the gateway's own limits."""
    found: dict[str, float] = {}
    if size := number(limit, "request_size_limit", 0, LIMITS_V2["request_size_limit"]):
        found["body_bytes"] = size * MIB
    if timeout_s := number(limit, "request_timeout", 0, LIMITS_V2["request_timeout"]):
        found["timeout_s"] = timeout_s
    rate = _object(limit, "rate_limit")
    if many := number(rate, "num", 0, _RATE):
        found["requests_per_s"] = many / _PER_S[choice(rate, "unit", tuple(_PER_S), "SECONDS")]
    return found


def _object(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = given.get(name) or {}
    if not isinstance(value, dict):
        raise parameter(f"{name} must be an object")
    return value
