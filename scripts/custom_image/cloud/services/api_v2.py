"""Services of Inference 2.0, by the SDK's own methods.

A service is made of an image, not of a model: the model is where this tool keeps the image's
address and the health checks that become probes.

Source: the docstrings of huaweicloudsdkmodelarts 3.1.219.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from custom_image.cloud import validation
from custom_image.cloud.api.client import Cloud
from custom_image.cloud.api.credentials import status_of
from custom_image.cloud.conversion import to_probes, to_protocol
from custom_image.cloud.model import Model
from custom_image.cloud.services.access import API_KEY, V2
from custom_image.cloud.services.service import DeployOptions, Seen
from custom_image.cloud.validation.checks import refuse
from custom_image.errors import CloudRefused
from custom_image.platform_api import (
    DEPLOY_TYPES_V2,
    REAL_TIME,
    SERVICE_TYPES_V2,
    WEIGHT,
    next_version,
)
from custom_image.specification import VERSION_RANGE_2_0

_LISTED: Final = 500
_UNIT: Final = "unit"
_EVENTS: Final = 500
_ALL: Final = "all"
_SFS: Final = "efs://"


class ApiV2:
    """The calls about services of Inference 2.0."""

    generation = V2

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def request(
        self, model: Model, name: str, options: DeployOptions, *, asynchronous: bool
    ) -> dict[str, Any]:
        """Return the body of a request to create this service.

        Raises:
            UsageError: the platform would refuse it.
        """
        grace_s = max(options.grace_s, _exit_s(options.environment))
        protocol, probes = to_protocol(model.config), to_probes(model.config)
        if options.websocket:
            validation.websocket(has_limit=asynchronous)
            protocol = {"http": "ws", "https": "wss"}[protocol]
        if asynchronous:
            validation.async_service(REAL_TIME, protocol)
        body = _compact(
            {
                "name": name,
                "version": VERSION_RANGE_2_0[0],
                "description": options.description,
                "type": SERVICE_TYPES_V2[asynchronous],
                "deploy_type": DEPLOY_TYPES_V2[0],
                "deploy_timeout_minutes": options.deploy_timeout_min,
                "group_configs": [_group(model, options, probes, grace_s)],
                "runtime_config": {
                    "service_invoke": {
                        "port": model.port,
                        "protocol": protocol.upper(),
                        "auth_type": options.authentication,
                    },
                    **_limit(options),
                },
                "upgrade_config": {
                    "type": "ROLLING",
                    "rolling_update": {
                        "max_surge": options.max_surge or "100%",
                        "max_unavailable": options.max_unavailable or "1%",
                    },
                },
            }
        )
        validation.service_v2(body)
        return body

    def find(self, name: str) -> Seen | None:
        """Return the service of this name, or None."""
        from huaweicloudsdkmodelarts.v1 import ListInferServicesRequest

        request = ListInferServicesRequest(name=name, limit=_LISTED)
        found = self._cloud.ask(
            lambda: self._cloud.modelarts.list_infer_services(request),
            what=f"list services {name}",
        )
        for listed in (found.data if found else None) or []:
            if listed.name == name:
                return self.show(str(listed.id))
        return None

    def create(self, body: Mapping[str, Any]) -> str:
        """Begin to deploy a service and return its id."""
        from huaweicloudsdkmodelarts.v1 import CreateInferServiceRequest

        request = CreateInferServiceRequest(body=dict(body))
        created = self._cloud.ask(
            lambda: self._cloud.modelarts.create_infer_service(request),
            what=f"deploy {body['name']}",
        )
        return str(created.id) if created else "SERVICE_ID"

    def update(self, seen: Seen, body: Mapping[str, Any]) -> None:
        """Begin a rolling update, under the next version of the service.

        Raises:
            UsageError: there is no next version.
        """
        from huaweicloudsdkmodelarts.v1 import UpdateInferServiceRequest

        kept = ("name", "group_configs", "runtime_config", "upgrade_config", "description")
        change = {name: body[name] for name in (*kept, "deploy_timeout_minutes") if name in body}
        change["version"] = next_version(seen.version or VERSION_RANGE_2_0[0])
        if not change["version"]:
            remediation = "Deploy a service of another name."
            refuse("version", f"one before {VERSION_RANGE_2_0[1]}", seen.version, remediation)
        validation.service_form_v2({**body, **change})
        request = UpdateInferServiceRequest(service_id=seen.id, body=change)
        self._cloud.ask(
            lambda: self._cloud.modelarts.update_infer_service(request),
            what=f"update {body['name']}",
        )

    def restart(self, seen: Seen) -> None:
        """Begin to start a service that was stopped."""
        from huaweicloudsdkmodelarts.v1 import StartInferServiceRequest

        request = StartInferServiceRequest(service_id=seen.id)
        self._cloud.ask(
            lambda: self._cloud.modelarts.start_infer_service(request), what="start the service"
        )

    def show(self, service_id: str, planned: Mapping[str, Any] | None = None) -> Seen | None:
        """Return a service as it is now; None where there is none any more."""
        from huaweicloudsdkmodelarts.v1 import ShowInferServiceRequest

        request = ShowInferServiceRequest(service_id=service_id)
        try:
            shown = self._cloud.ask(
                lambda: self._cloud.modelarts.show_infer_service(request), what="show the service"
            )
        except CloudRefused as error:
            if status_of(error) == 404:
                return None
            raise
        if shown is None:  # a dry run
            content = self.content(planned or {})
            kept = DeployOptions()
            return Seen(service_id, "running", "https://GATEWAY", content, True, "", kept)
        version = shown.version
        groups = [group.to_dict() for group in (version.instance_groups if version else None) or []]
        runtime = version.runtime_config.to_dict() if version and version.runtime_config else {}
        urls = {url.type: (url.urls or [""])[0] for url in shown.predict_url or []}
        return Seen(
            id=service_id,
            status=str(shown.status or "").lower(),
            url=str(urls.get("PUBLIC") or next(iter(urls.values()), "")),
            content=self.content({"group_configs": groups, "runtime_config": runtime}),
            is_ready=True,
            version=str(version.version if version else ""),
            options=_options(groups[0] if groups else {}, runtime),
            is_asynchronous=shown.type == SERVICE_TYPES_V2[1],
        )

    def content(self, document: Mapping[str, Any]) -> object:
        """Return what tells services apart, of a request or of one that is shown."""
        invoke = (document.get("runtime_config") or {}).get("service_invoke") or {}
        found = []
        for group in document.get("group_configs") or []:
            unit = (group.get("unit_configs") or [{}])[0]
            image = (unit.get("image") or {}).get("swr_path")
            files = [
                (file.get("mount_path"), file.get("address")) for file in unit.get("files") or []
            ]
            grace = unit.get("termination_grace") or {}
            found.append(
                (
                    image,
                    group.get("count"),
                    dict(unit.get("envs") or {}),
                    unit.get("cmd") or "",
                    files,
                    grace.get("pre_stop_cmd") or "",
                    invoke.get("auth_type") or API_KEY,
                )
            )
        return found

    def events(self, service_id: str) -> list[dict[str, Any]]:
        """Return what has happened to a service, oldest first, in the form of the classic calls."""
        from huaweicloudsdkmodelarts.v1 import ListInferServiceEventsRequest

        request = ListInferServiceEventsRequest(service_id=service_id, limit=_EVENTS)
        found = self._cloud.ask(
            lambda: self._cloud.modelarts.list_infer_service_events(request),
            what="show the events of the service",
        )
        events = [
            {
                "event_type": str(event.event_type or "").lower(),
                "event_info": str(event.event_info or ""),
                "occur_time": int(event.update_at or event.create_at or 0),
            }
            for event in (found.data if found else None) or []
        ]
        return sorted(events, key=lambda event: int(str(event["occur_time"])))

    def pod_events(self, service_id: str) -> list[dict[str, Any]]:
        """Return what has happened to the instances of a service, oldest first."""
        from huaweicloudsdkmodelarts.v1 import (
            ListInferDeploymentPodEventsRequest,
            ListInferDeploymentsRequest,
        )

        asked = ListInferDeploymentsRequest(service_id=service_id)
        listed = self._cloud.ask(
            lambda: self._cloud.modelarts.list_infer_deployments(asked),
            what="list the deployments of the service",
        )
        deployments = (listed.data if listed else None) or []
        if not deployments:
            return []
        request = ListInferDeploymentPodEventsRequest(
            id=service_id, deployment_name=deployments[0].name, instance_name=_ALL, name=_ALL
        )
        found = self._cloud.ask(
            lambda: self._cloud.modelarts.list_infer_deployment_pod_events(request),
            what="show the events of the instances",
        )
        return [event.to_dict() for event in (found.body if found else None) or []]

    def delete(self, service_id: str) -> None:
        """Begin to delete a service. Idempotent."""
        from huaweicloudsdkmodelarts.v1 import BatchDeleteInferServicesRequest

        request = BatchDeleteInferServicesRequest(body={"service_ids": [service_id]})
        try:
            self._cloud.ask(
                lambda: self._cloud.modelarts.batch_delete_infer_services(request),
                what="delete the service",
            )
        except CloudRefused as error:
            if status_of(error) != 404:
                raise


def _limit(options: DeployOptions) -> dict[str, Any]:
    """Return ``service_limit``, where there is any."""
    limit = {"request_timeout": options.request_timeout_s} if options.request_timeout_s else {}
    return {"service_limit": limit} if limit else {}


def _exit_s(environment: Mapping[str, str]) -> int:
    """Return how long an image takes to end that is told so in the runtime's own words."""
    text = str(environment.get("EXIT_SECONDS", ""))
    return math.ceil(float(text)) if re.fullmatch(r"\d{1,5}(\.\d+)?", text) else 0


def _options(group: Mapping[str, Any], runtime: Mapping[str, Any]) -> DeployOptions:
    """Return how a service was deployed, for an update that keeps it."""
    unit = (group.get("unit_configs") or [{}])[0]
    stopping = unit.get("termination_grace") or {}
    grace = stopping.get("termination_grace_period_seconds")
    invoke, limit = (runtime.get(n) or {} for n in ("service_invoke", "service_limit"))
    files = unit.get("files") or []
    default = DeployOptions()
    return DeployOptions(
        instances=int(group.get("count") or default.instances),
        environment=dict(unit.get("envs") or {}),
        flavor=str(unit.get("flavor") or default.flavor),
        custom_spec={k: v for k, v in (unit.get("custom_spec") or {}).items() if v is not None},
        pool=str(group.get("pool_id") or ""),
        grace_s=int(grace or default.grace_s),
        stop_command=str(stopping.get("pre_stop_cmd") or ""),
        authentication=str(invoke.get("auth_type") or default.authentication),
        request_timeout_s=int(limit.get("request_timeout") or 0),
        mounts={file["mount_path"]: _address(file) for file in files},
        writable=any(not file.get("read_only") for file in files),
        websocket=str(invoke.get("protocol")) in ("WS", "WSS"),
    )


def _group(
    model: Model, options: DeployOptions, probes: Mapping[str, Any], grace_s: int
) -> dict[str, Any]:
    unit = {
        "name": _UNIT,
        "image": {"source": "SWR", "swr_path": model.image, "category": "CPU"},
        "flavor": options.flavor,
        "custom_spec": dict(options.custom_spec),
        "port": model.port,
        "envs": dict(options.environment),
        "cmd": model.command,
        "termination_grace": _compact(
            {
                "pre_stop_cmd": options.stop_command,
                "termination_grace_period_seconds": grace_s,
            }
        ),
        "files": [
            _file(path, address, read_only=not options.writable)
            for path, address in options.mounts.items()
        ],
        **probes,
    }
    return _compact(
        {
            "pool_id": options.pool,
            "count": options.instances,
            "weight": WEIGHT.last,
            "framework": "COMMON",
            "unit_configs": [_compact(unit)],
        }
    )


def _file(path: str, address: str, *, read_only: bool) -> dict[str, Any]:
    """Return one entry of ``files``."""
    is_sfs = address.startswith(_SFS)
    name, _, folder = address.removeprefix(_SFS).partition("/")
    place = {"source": "EFS", "address": name} if is_sfs else {"source": "OBS", "address": address}
    if is_sfs and folder:
        place["efs_sub_path"] = f"/{folder}"
    return {**place, "mount_path": path, "read_only": read_only}


def _address(file: Mapping[str, Any]) -> str:
    address = str(file.get("address") or "")
    if str(file.get("source")).upper() != "EFS":
        return address
    return f"{_SFS}{address}{file.get('efs_sub_path') or ''}"


def _compact(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value not in ("", [], {}, None)}
