"""From a classic service (v1) and its model to the request that deploys the same with v2.

Sources: CreateService and CreateModel of the API reference; ``ServiceCreateRequest`` of
huaweicloudsdkmodelarts 3.1.219. The platform's own mapping tables (inference2.0-modelarts-0080)
could not be read, so which field becomes which is inferred.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from custom_image.cloud.lookup import model_of
from custom_image.cloud.models import show_model
from custom_image.cloud.services.api_v1 import options_of
from custom_image.cloud.services.api_v2 import ApiV2
from custom_image.cloud.services.deploy import deploy
from custom_image.cloud.services.service import DeployOptions, Service
from custom_image.errors import UsageError
from custom_image.platform_api import REAL_TIME, SERVICE_TYPES_V2, SERVICES

if TYPE_CHECKING:
    from custom_image.cloud.api.client import Cloud
    from custom_image.cloud.model import Model

CARRIED: Final = "carried over"
CHANGED: Final = "changed"
NONE: Final = "no counterpart"
_SERVICE_KEYS: Final = ("service_name", "config")
_MODEL_KEYS: Final = ("model_name", "model_version", "source_location", "config")
_WITHOUT: Final = {
    "vpc_id": "v2 services are reached through the pool's network",
    "subnet_network_id": "v2 services are reached through the pool's network",
    "security_group_id": "v2 services are reached through the pool's network",
    "cluster_id": "named by pool_id",
    "schedule": "stop the service by a schedule of your own",
    "service_secrets": "name them anew as secret_type and secret_name",
}
_APIS: Final = "v2 passes every path and method to the container"


@dataclass(frozen=True)
class Moved:
    """What became of one field.

    Attributes:
        before: the field of v1.
        after: the field of v2; empty where it has none.
        how: carried over, changed, or no counterpart.
    """

    before: str
    after: str
    how: str
    note: str = ""


@dataclass(frozen=True)
class Migration:
    """A classic service as a request of v2, and what became of each of its fields."""

    name: str
    model: Model
    options: DeployOptions = field(repr=False)
    is_asynchronous: bool
    request: Mapping[str, Any] = field(repr=False)
    moved: tuple[Moved, ...]

    def deploy(self, cloud: Cloud) -> Service:
        """Deploy it with v2.

        Raises:
            CloudRefused: the platform refuses, or the deployment fails; with a bundle.
            Unavailable: it does not answer.
        """
        return deploy(
            self.model,
            self.name,
            options=self.options,
            asynchronous=self.is_asynchronous,
            generation="v2",
            cloud=cloud,
        )

    def __str__(self) -> str:
        width = max(len(entry.before) for entry in self.moved)
        lines = [f"{self.name}: a request of v2, from {len(self.moved)} fields of v1"]
        for entry in self.moved:
            words = ", ".join(word for word in (entry.how, entry.note) if word)
            arrow = f" -> {entry.after}" if entry.after else ""
            lines.append(f"  {entry.before:<{width}}  {words}{arrow}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = "".join(
            "<tr>"
            + "".join(
                f"<td style='text-align:left'>{escape(text)}</td>"
                for text in (entry.before, entry.after, entry.how, entry.note)
            )
            + "</tr>"
            for entry in self.moved
        )
        head = "<tr><th>v1</th><th>v2</th><th></th><th></th></tr>"
        return f"<p><b>{escape(self.name)}</b></p><table>{head}{rows}</table>"


def migrate(
    service: Mapping[str, Any], model: Mapping[str, Any], cloud: Cloud, *, name: str = ""
) -> Migration:
    """Return a classic service as a request of v2; nothing is sent.

    Args:
        service: as ShowService answers it, or CreateService takes it.
        model: as ShowModel answers it, of the service's one model.
        cloud: for which endpoint.
        name: of the new service; empty for the old one's with ``-v2``.

    Raises:
        UsageError: one of the two is something else, or v2 would refuse what they say.
    """
    _require(service, _SERVICE_KEYS, "the service")
    _require(model, _MODEL_KEYS, "the model")
    parts = service["config"]
    if not isinstance(parts, list) or len(parts) != 1 or not isinstance(parts[0], Mapping):
        found = len(parts) if isinstance(parts, list) else type(parts).__name__
        raise UsageError(
            f"the service: expected one model under config, found {found}.\n"
            "A v2 service is made of one image: migrate each model as a service of its own."
        )
    if service.get("infer_type", REAL_TIME) != REAL_TIME:
        raise UsageError(
            f"the service: expected infer_type real-time, found {service['infer_type']!r}.\n"
            "v2 has no batch services: keep it with --generation v1."
        )
    known = model_of(model)
    count = int(parts[0].get("instance_count") or 1)
    before = options_of(service)
    options = DeployOptions(
        **{
            **vars(before),
            "max_surge": _share(before.max_surge, count, "100%"),
            "max_unavailable": _share(before.max_unavailable, count, "1%"),
            "mounts": {f"{path.rstrip('/')}/": address for path, address in before.mounts.items()},
            "writable": bool(before.mounts),  # v1 has no read-only mounts
        }
    )
    new_name = name or f"{service['service_name']}-v2"
    request = ApiV2(cloud).request(known, new_name, options, asynchronous=known.is_asynchronous)
    moved = (*_of_service(service, parts[0], options), *_of_model(model))
    return Migration(new_name, known, options, known.is_asynchronous, request, moved)


def find_v1(cloud: Cloud, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a classic service and its model as the platform shows them.

    Raises:
        UsageError: there is no such service.
    """
    what = f"find the service {name}"
    query = {"service_name": name, "infer_type": REAL_TIME}
    listed = cloud.call("GET", SERVICES, query=query, what=what).get("services") or []
    ids = [s["service_id"] for s in listed if s.get("service_name") == name]
    if not ids:
        raise UsageError(
            f"service {name}: expected a classic service (v1), found none of this name.\n"
            "Name one that `custom-image predict NAME FILE --generation v1` can ask."
        )
    service = cloud.call("GET", f"{SERVICES}/{ids[0]}", what=what)
    models = [part.get("model_id", "") for part in service.get("config") or []]
    return service, show_model(cloud, str(models[0]) if models else "", name)


def read_json(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file.

    Raises:
        UsageError: it cannot be read, or holds something else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: expected a JSON file, found none ({error}).") from error
    if not isinstance(document, dict):
        raise UsageError(f"{path}: expected a JSON object, found {type(document).__name__}.")
    return document


def _require(document: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    missing = [key for key in keys if not document.get(key)]
    if missing:
        found = ", ".join(sorted(map(str, document))[:8]) or "nothing"
        raise UsageError(
            f"{where}: expected {', '.join(keys)}; {', '.join(missing)} is missing, "
            f"found {found}.\nSave what ShowService and ShowModel answer."
        )


def _share(value: str, count: int, default: str) -> str:
    """Return a number of instances, or a share, as v2 wants it: 1% to 100%."""
    if value in ("", None):
        return default
    text = str(value)
    if text.endswith("%"):
        percent = float(text[:-1])
    else:
        number = float(text)
        percent = 100 * (number if 0 < number < 1 else number / count)
    return f"{min(100, max(1, math.ceil(percent)))}%"


def _of_service(
    service: Mapping[str, Any], part: Mapping[str, Any], options: DeployOptions
) -> list[Moved]:
    more = part.get("additional_properties") or {}
    unit = "group_configs[0].unit_configs[0]"
    found = [Moved("service_name", "name", CHANGED, "two services cannot share a name")]
    if service.get("description"):
        found.append(Moved("description", "description", CARRIED))
    for before, after in (
        ("instance_count", "group_configs[0].count"),
        ("specification", f"{unit}.flavor"),
        ("custom_spec", f"{unit}.custom_spec"),
        ("envs", f"{unit}.envs"),
        ("pool_name", "group_configs[0].pool_id"),
        ("weight", "group_configs[0].weight"),
    ):
        if part.get(before) not in (None, "", {}):
            found.append(Moved(f"config[0].{before}", after, CARRIED))
    timeout = f"v1 does not show it: {options.deploy_timeout_min} min, the platform's own"
    if part.get("deploy_timeout_in_seconds"):
        timeout = "in minutes, rounded up"
    before = "config[0].deploy_timeout_in_seconds"
    found.append(Moved(before, "deploy_timeout_minutes", CHANGED, timeout))
    grace = f"{unit}.termination_grace.termination_grace_period_seconds"
    is_said = "termination_grace_period_seconds" in more
    note = "" if is_said else f"v1 grants {options.grace_s} s, v2 30 s where it is not said"
    before = "config[0].additional_properties.termination_grace_period_seconds"
    found.append(Moved(before, grace, CARRIED if is_said else CHANGED, note))
    for before in ("max_surge", "max_unavailable"):
        if more.get(before) not in (None, ""):
            after = f"upgrade_config.rolling_update.{before}"
            value = getattr(options, before)
            note = f"as a share, {value}" + ("; v2 knows no 0" if more[before] in (0, "0") else "")
            found.append(Moved(f"config[0].additional_properties.{before}", after, CHANGED, note))
    if more.get("persistent_volumes"):
        before = "config[0].additional_properties.persistent_volumes"
        found.append(Moved(before, f"{unit}.files", CARRIED))
    if options.websocket:
        after = "runtime_config.service_invoke.protocol"
        found.append(Moved("additional_properties.websocket_upgrade", after, CHANGED, "WS or WSS"))
    after = "runtime_config.service_invoke.auth_type"
    note = f"{options.authentication}; v2 knows no signature and no app"
    found.append(Moved("AK/SK and APP authentication", after, CHANGED, note))
    for before, note in _WITHOUT.items():
        if service.get(before) not in (None, "", [], {}):
            found.append(Moved(before, "", NONE, note))
    if more.get("load_balancer_policy"):
        note = "choose service_invoke.strategy anew"
        found.append(Moved("load_balancer_policy", "", NONE, note))
    return found


def _of_model(model: Mapping[str, Any]) -> list[Moved]:
    config = model["config"]
    document = json.loads(config) if isinstance(config, str) else config
    unit = "group_configs[0].unit_configs[0]"
    found = [Moved("model.source_location", f"{unit}.image.swr_path", CARRIED)]
    if model.get("cmd"):
        found.append(Moved("model.cmd", f"{unit}.cmd", CARRIED))
    for before, after in (
        ("health", "readiness_health and liveness_health"),
        ("startup_health", "startup_health"),
        ("readiness_health", "readiness_health"),
    ):
        if document.get(before):
            note = "a success is 200 to 399 there, and what fails is restarted"
            found.append(Moved(f"model.config.{before}", f"{unit}.{after}", CHANGED, note))
    if document.get("apis"):
        found.append(Moved("model.config.apis", "", NONE, _APIS))
    if document.get("metrics"):
        found.append(Moved("model.config.metrics", "", NONE, "it is kept with the model"))
    if model.get("request_mode") == "async":
        found.append(Moved("model.request_mode", "type", CHANGED, SERVICE_TYPES_V2[1]))
    return found
