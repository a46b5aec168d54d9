"""Real-time services of the classic generation: calls that the SDK lacks, signed by its core.

Source: https://support.huaweicloud.com/intl/en-us/api-modelarts/CreateService.html
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from custom_image.cloud import validation
from custom_image.cloud.api.client import Cloud
from custom_image.cloud.api.credentials import status_of
from custom_image.cloud.conversion import to_protocol
from custom_image.cloud.model import Model
from custom_image.cloud.services.access import V1
from custom_image.cloud.services.service import DeployOptions, Seen
from custom_image.cloud.validation.checks import refuse
from custom_image.errors import CloudRefused
from custom_image.platform_api import EVENTS, REAL_TIME, SERVICES, WEIGHT

_LISTED: Final = 1000
_NOT_THERE: Final = (404,)
_PLANNED_URL: Final = "https://GATEWAY/v1/infers/SERVICE_ID"


class ApiV1:
    """The calls about real-time services."""

    generation = V1

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def request(
        self, model: Model, name: str, options: DeployOptions, *, asynchronous: bool
    ) -> dict[str, Any]:
        """Return the body of a request to create this service.

        Raises:
            UsageError: the platform would refuse it.
        """
        body = {
            "service_name": name,
            "infer_type": REAL_TIME,
            "description": options.description,
            "config": [_part(model, options)],
            "additional_properties": {"websocket_upgrade": True} if options.websocket else {},
        }
        validation.service_v1(body)
        _refuse_unfit(model, options, asynchronous=asynchronous)
        return {key: value for key, value in body.items() if value not in ("", {})}

    def find(self, name: str) -> Seen | None:
        """Return the service of this name, or None."""
        query = {"service_name": name, "infer_type": REAL_TIME, "limit": _LISTED}
        found = self._cloud.call("GET", SERVICES, query=query, what=f"list services {name}")
        for listed in found.get("services") or []:
            if listed.get("service_name") == name and listed.get("infer_type") == REAL_TIME:
                return self.show(str(listed["service_id"]))
        return None

    def create(self, body: Mapping[str, Any]) -> str:
        """Begin to deploy a service and return its id."""
        what = f"deploy {body['service_name']}"
        planned = {"service_id": "SERVICE_ID"}
        return str(
            self._cloud.call("POST", SERVICES, body, what=what, planned=planned)["service_id"]
        )

    def update(self, seen: Seen, body: Mapping[str, Any]) -> None:
        """Begin a rolling update to what a request to create the service would ask for."""
        change = {"config": body["config"]}
        what = f"update {body['service_name']}"
        self._cloud.call("PUT", f"{SERVICES}/{seen.id}", change, what=what)

    def restart(self, seen: Seen) -> None:
        """Begin to start a service that was stopped."""
        change = {"status": "running"}
        self._cloud.call("PUT", f"{SERVICES}/{seen.id}", change, what="start the service")

    def show(self, service_id: str, planned: Mapping[str, Any] | None = None) -> Seen | None:
        """Return a service as it is now; None where there is none any more.

        ``planned`` is the request that a dry run takes for granted.
        """
        answer = {**(planned or {}), "status": "running", "access_address": _PLANNED_URL}
        path, what = f"{SERVICES}/{service_id}", "show the service"
        try:
            shown = self._cloud.call("GET", path, what=what, planned=answer)
        except CloudRefused as error:
            if status_of(error) in _NOT_THERE:
                return None
            raise
        parts = shown.get("config") or []
        return Seen(
            id=service_id,
            status=str(shown.get("status", "")).lower(),
            url=str(shown.get("access_address") or ""),
            content=self.content(shown),
            is_ready=all(part.get("status", "ready") in ("ready", "running") for part in parts),
            version="",
            options=options_of(shown),
        )

    def content(self, document: Mapping[str, Any]) -> object:
        """Return what tells services apart, of a request or of one that is shown."""
        return [
            (part.get("model_id"), part.get("instance_count"), dict(part.get("envs") or {}))
            for part in document.get("config") or []
        ]

    def events(self, service_id: str) -> list[dict[str, Any]]:
        """Return what has happened to a service, oldest first."""
        path = f"{SERVICES}/{service_id}{EVENTS}"
        found = self._cloud.call("GET", path, what="show the events of the service")
        return sorted(found.get("events") or [], key=lambda event: event.get("occur_time", 0))

    def pod_events(self, service_id: str) -> list[dict[str, Any]]:
        """Return nothing: v1 shows no events of instances."""
        return []

    def delete(self, service_id: str) -> None:
        """Begin to delete a service. Idempotent."""
        try:
            self._cloud.call("DELETE", f"{SERVICES}/{service_id}", what="delete the service")
        except CloudRefused as error:
            if status_of(error) not in _NOT_THERE:
                raise


def options_of(shown: Mapping[str, Any]) -> DeployOptions:
    """Return how a service was deployed, for an update that keeps it."""
    part = (shown.get("config") or [{}])[0]
    more = part.get("additional_properties") or {}
    volumes = more.get("persistent_volumes") or []
    default = DeployOptions()
    return DeployOptions(
        instances=int(part.get("instance_count") or default.instances),
        environment=dict(part.get("envs") or {}),
        flavor=str(part.get("specification") or default.flavor),
        custom_spec=dict(part.get("custom_spec") or {}),
        deploy_timeout_min=math.ceil(
            int(part.get("deploy_timeout_in_seconds") or 60 * default.deploy_timeout_min) / 60
        ),
        pool=str(part.get("pool_name") or part.get("cluster_id") or shown.get("pool_name") or ""),
        max_surge=_said(more.get("max_surge")),
        max_unavailable=_said(more.get("max_unavailable")),
        grace_s=int(more.get("termination_grace_period_seconds") or default.grace_s),
        description=str(shown.get("description") or ""),
        mounts={volume["mount_path"]: volume["source_address"] for volume in volumes},
        websocket=bool((shown.get("additional_properties") or {}).get("websocket_upgrade")),
    )


def _said(number: object) -> str:
    """Return a number of instances, or a share, as text; 0 is one, None is none."""
    return "" if number is None else str(number)


def _refuse_unfit(model: Model, options: DeployOptions, *, asynchronous: bool) -> None:
    """Refuse what v1 cannot do with this model, though the request has the right form."""
    if options.stop_command:
        remediation = "Let the image heed SIGTERM, or deploy with v2."
        refuse("stop_command", "none: v1 sends SIGTERM alone", options.stop_command, remediation)
    if options.mounts and not options.pool:
        remediation = "Name one with pool, or put the files into the image."
        refuse("mounts", "a dedicated resource pool", "the public pool", remediation)
    if asynchronous:
        validation.async_service(REAL_TIME, to_protocol(model.config))
    if options.websocket:
        validation.websocket(collects_data=asynchronous)
    if asynchronous != model.is_asynchronous:
        expected, found = ("later", "at once")[:: 1 if asynchronous else -1]
        remediation = (
            "A classic model is published for one of the two; publish a version that fits."
        )
        where = f"model {model.name} {model.version}"
        refuse(where, f"one that answers {expected}", f"one that answers {found}", remediation)


def _part(model: Model, options: DeployOptions) -> dict[str, Any]:
    """Return ``config[0]``: the model and all that its instances are made of."""
    more: dict[str, Any] = {"termination_grace_period_seconds": options.grace_s}
    for name in ("max_surge", "max_unavailable"):
        if getattr(options, name) != "":
            more[name] = getattr(options, name)
    if options.mounts:
        more["persistent_volumes"] = [
            {
                "name": f"mount-{number}",
                "mount_path": path,
                # The page knows sfs_turbo alone; the console offers OBS, so the word is inferred.
                "storage_type": "obs" if address.startswith("obs://") else "sfs_turbo",
                "source_address": address,
            }
            for number, (path, address) in enumerate(options.mounts.items())
        ]
    part: dict[str, Any] = {
        "model_id": model.id,
        "weight": WEIGHT.last,
        "specification": options.flavor,
        "instance_count": options.instances,
        "envs": dict(options.environment),
        "deploy_timeout_in_seconds": options.deploy_timeout_min * 60,
        "additional_properties": more,
    }
    if options.custom_spec:
        part["custom_spec"] = dict(options.custom_spec)
    if options.pool:
        part["pool_name"] = options.pool
    return part
