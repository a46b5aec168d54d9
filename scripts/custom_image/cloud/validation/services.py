"""Checks of a whole request for a service, of v1 and of v2.

Source of v2: the docstrings of huaweicloudsdkmodelarts 3.1.219, which are the API reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from custom_image.cloud.validation import fields
from custom_image.cloud.validation.checks import among, characters, in_range, refuse
from custom_image.platform_api import (
    BATCH,
    DEPLOY_TYPES_V2,
    INSTANCES,
    LIMITS_V2,
    PERCENT,
    PROBE_NUMBER,
    PROBE_NUMBERS,
    PROBE_URL,
    PROBES_V2,
    SERVICE_VERSION_V2,
    WEIGHT,
)
from custom_image.specification import (
    AUTHENTICATION_V2,
    HEALTH_COMMAND_FORBIDDEN,
    HEALTH_TEXT_LENGTH,
    STOP_COMMAND_LENGTH,
    VERSION_RANGE_2_0,
)


def service_v1(body: Mapping[str, Any]) -> None:
    """Refuse the body of a request for a real-time service of v1."""
    fields.service_name(str(body.get("service_name") or ""))
    fields.description(str(body.get("description") or ""), of="service")
    for part in body["config"]:
        more = part["additional_properties"]
        fields.environment(part["envs"])
        fields.deploy_timeout(part["deploy_timeout_in_seconds"] // 60)
        fields.termination_grace(more["termination_grace_period_seconds"])
        fields.mount_paths(
            [volume["mount_path"] for volume in more.get("persistent_volumes") or []]
        )
    service_config(body["config"], body["infer_type"])


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


def service_v2(body: Mapping[str, Any]) -> None:
    """Refuse the body of a request for a service of v2."""
    fields.service_name(str(body.get("name") or ""), is_v2=True)
    fields.description(str(body.get("description") or ""), of="v2")
    fields.deploy_timeout(body["deploy_timeout_minutes"], is_v2=True)
    authentication = body["runtime_config"]["service_invoke"]["auth_type"]
    among("authentication", authentication, AUTHENTICATION_V2, "v2 knows no other.")
    for unit in body["group_configs"][0]["unit_configs"]:
        fields.environment(unit.get("envs") or {}, is_v2=True)
        fields.termination_grace(unit["termination_grace"]["termination_grace_period_seconds"])
        fields.mount_paths([file["mount_path"] for file in unit.get("files") or []], is_v2=True)
    service_form_v2(body)


def service_form_v2(body: Mapping[str, Any]) -> None:
    """Refuse the version, groups, probes or limits of v2, in the form of the SDK's ``to_dict``."""
    version = str(body.get("version") or VERSION_RANGE_2_0[0])
    if not SERVICE_VERSION_V2.allows(version):
        refuse("version", " to ".join(VERSION_RANGE_2_0), version, "Begin with 1.0.0.")
    groups = body.get("group_configs") or []
    if len(groups) > 1:
        refuse("group_configs", "at most one", len(groups), "Make the others deployments.")
    for group in groups:
        units = group.get("unit_configs") or []
        if body.get("deploy_type") == DEPLOY_TYPES_V2[0] and len(units) != 1:
            refuse("unit_configs", "one, as deploy_type is SINGLE", len(units), "Keep one.")
        in_range("group_configs[0].count", group.get("count") or 1, INSTANCES)
        for unit in units:
            _mounts(unit.get("files") or [])
            _stop_command((unit.get("termination_grace") or {}).get("pre_stop_cmd") or "")
            for name in PROBES_V2:
                if unit.get(name):
                    _probe(name, unit[name])
    rolling = (body.get("upgrade_config") or {}).get("rolling_update") or {}
    for name, share in rolling.items():
        if share is not None and not PERCENT.allows(str(share)):
            refuse(f"rolling_update.{name}", "1% to 100%", share, "Write it as 100%.")
    limit = (body.get("runtime_config") or {}).get("service_limit") or {}
    for name, bounds in LIMITS_V2.items():
        if limit.get(name) is not None:
            in_range(f"service_limit.{name}", limit[name], bounds)


def _stop_command(command: str) -> None:
    """Refuse a stop command that is too long; what it does in the image, a rule judges."""
    longest = STOP_COMMAND_LENGTH
    if len(command) > longest.value:
        refuse("stop command", f"at most {longest}", f"{len(command)} characters", "Use a script.")


def _mounts(files: Sequence[Mapping[str, Any]]) -> None:
    """Refuse to mount one file system of SFS Turbo twice in a service."""
    systems = [f.get("address") for f in files if str(f.get("source")).upper() == "EFS"]
    for system in systems:
        if systems.count(system) > 1:
            remediation = "Use another file system, or mount its common folder once."
            refuse("files", "each SFS Turbo file system once", f"{system} twice", remediation)


def _probe(where: str, probe: Mapping[str, Any]) -> None:
    command, url = probe.get("cmd") or "", probe.get("url") or ""
    longest = HEALTH_TEXT_LENGTH
    if max(len(command), len(url)) > longest.value:
        refuse(where, f"at most {longest}", f"{len(command or url)} characters", "Shorten it.")
    if probe.get("check_method") == "EXEC":
        if not command:
            refuse(f"{where}.cmd", "a command, as the method is EXEC", "none", "Add it.")
        if found := characters(command, HEALTH_COMMAND_FORBIDDEN.value):
            refuse(f"{where}.cmd", "a plain command", found, "Put it into a script.")
    elif not PROBE_URL.allows(url):
        refuse(f"{where}.url", "a plain path: letters, digits, - _ / :", url, "Serve it there.")
    for name in PROBE_NUMBERS:
        if probe.get(name) is not None:
            in_range(f"{where}.{name}", probe[name], PROBE_NUMBER)
