"""Checks of a request of v2 (Inference 2.0), in the form of the SDK's ``to_dict``.

Source: the docstrings of huaweicloudsdkmodelarts 3.1.219, which are the API reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from custom_image.cloud.validation.checks import characters, in_range, refuse
from custom_image.platform_api import (
    DEPLOY_TYPES_V2,
    INSTANCES,
    LIMITS_V2,
    PERCENT,
    PROBE_NUMBER,
    PROBE_NUMBERS,
    PROBE_URL,
    PROBES_V2,
    SERVICE_VERSION_V2,
)
from custom_image.specification import (
    HEALTH_COMMAND_FORBIDDEN,
    HEALTH_TEXT_LENGTH,
    STOP_COMMAND_LENGTH,
    VERSION_RANGE_2_0,
)


def inference_2_0_service(body: Mapping[str, Any]) -> None:
    """Refuse a service of Inference 2.0, in the form of the SDK's ``to_dict``."""
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
            mounts(unit.get("files") or [])
            stop_command((unit.get("termination_grace") or {}).get("pre_stop_cmd") or "")
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


def stop_command(command: str) -> None:
    """Refuse a stop command that is too long; what it does in the image, a rule judges."""
    longest = STOP_COMMAND_LENGTH
    if len(command) > longest.value:
        refuse("stop command", f"at most {longest}", f"{len(command)} characters", "Use a script.")


def mounts(files: Sequence[Mapping[str, Any]]) -> None:
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
