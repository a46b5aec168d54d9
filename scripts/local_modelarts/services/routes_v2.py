"""Routes of v2 (Inference 2.0) about services, and the JSON of services.

Paths and fields: the ``infer`` operations of ``huaweicloudsdkmodelarts.v1.ModelArtsClient``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from custom_image.platform_api import DEPLOY_TYPES_V2, SERVICE_TYPES_V2
from local_modelarts.errors import no_service, parameter
from local_modelarts.http.messages import Answer, Call, Calls
from local_modelarts.notebooks.responses import page
from local_modelarts.platform import Platform
from local_modelarts.runtime.states import CONCERNING, RUNNING, UPGRADING
from local_modelarts.services.backend import Services
from local_modelarts.services.requests_v2 import read_service, read_update
from local_modelarts.services.responses import access_address, caller_endpoint, event_documents
from local_modelarts.storage.resources import Instance, Service
from local_modelarts.storage.specs import Group

_SERVICES: Final = "/v2/{project_id}/services"
_GENERATION: Final = 2
_PAGE: Final = 10


def inference_calls(platform: Platform, services: Services) -> Calls:
    """Return the calls of Inference 2.0."""

    def find(call: Call) -> Service:
        return find_v2(services, call.path["service_id"])

    def show(row: Service, call: Call) -> Answer:
        address = access_address(row, caller_endpoint(platform, call.headers))
        return Answer(service_document(row, services.instances(row.id), address))

    def create(call: Call) -> Answer:
        return show(services.create(read_service(platform, call.body)), call)

    def update(call: Call) -> Answer:
        row = find(call)
        fields = read_update(platform, row, call.body)
        return show(services.update(row.id, fields, in_alarm=False), call)

    def list_services(call: Call) -> Answer:
        query = call.query
        rows = [
            row
            for row in services.find(_GENERATION)
            if query.get("name", "") in row.name
            and query.get("id") in (None, "", row.id)
            and query.get("status") in (None, "", row.status)
            and query.get("type") in (None, "", _type(row))
        ]
        if query.get("sort_dir") == "ASC":
            rows.reverse()
        return Answer(page([service_item(row) for row in rows], query, _PAGE))

    def delete(call: Call) -> Answer:
        ids = call.body.get("service_ids")
        if not isinstance(ids, list) or not ids:
            raise parameter("service_ids must be a list of at least one id")
        deleted = []
        for service_id in ids:
            deleted.append(services.delete(find_v2(services, str(service_id)).id))
        return Answer({"service_responses": [service_document(row, [], "") for row in deleted]})

    def events(call: Call) -> Answer:
        row, query = find(call), dict(call.query)
        query["event_type"] = query.get("event_type", "").lower()
        query["event_info"] = query.get("event_info_key", "")
        query["order"] = query.get("sort_dir", "").lower()
        found = event_documents(services.events_of(row.id), query)
        return Answer(page([_event(row, event) for event in found], call.query, _PAGE))

    one = f"{_SERVICES}/{{service_id}}"
    return [
        ("POST", _SERVICES, create),
        ("GET", _SERVICES, list_services),
        ("POST", f"{_SERVICES}/delete", delete),
        ("GET", one, lambda call: show(find(call), call)),
        ("PUT", one, update),
        ("POST", f"{one}/start", lambda call: show(services.start(find(call).id), call)),
        ("POST", f"{one}/stop", lambda call: show(services.stop(find(call).id), call)),
        ("GET", f"{one}/events", events),
    ]


def find_v2(services: Services, service_id: str) -> Service:
    """Return a service of v2.

    Raises:
        ApiError: there is none.
    """
    row = services.show(service_id)
    if row.generation != _GENERATION:
        raise no_service(service_id)
    return row


def service_document(row: Service, instances: list[Instance], address: str) -> dict[str, Any]:
    """Return a service as ``ShowInferServiceResponse`` declares it."""
    given = row.given
    is_deployed = row.status in (RUNNING, CONCERNING, UPGRADING)
    return {
        "id": row.id,
        "name": row.name,
        "workspace_id": row.workspace_id,
        "type": _type(row),
        "deploy_type": DEPLOY_TYPES_V2[0],
        "status": row.status,
        "failure_reason": row.error_msg,
        "version": {
            "id": f"{row.id}-{row.version}",
            "version": row.version,
            "description": row.description,
            "runtime_config": given.get("runtime_config"),
            "upgrade_config": given.get("upgrade_config"),
            "instance_groups": [_group(row, entry, instances) for entry in row.config],
            "deploy_timeout_minutes": row.deploy_timeout_s // 60,
        },
        "predict_url": [{"type": "PUBLIC", "urls": [address]}] if is_deployed and address else [],
        "tags": given.get("tags") or [],
        "deploy_timeout_minutes": row.deploy_timeout_s // 60,
        "schedule": [],
        "create_at": str(row.create_at),
        "update_at": str(row.update_at),
        "frozen_infos": [],
    }


def service_item(row: Service) -> dict[str, Any]:
    """Return a service as it stands in a list."""
    return {
        "id": row.id,
        "name": row.name,
        "status": row.status,
        "version": row.version,
        "version_count": len(row.versions),
        "description": row.description,
        "type": _type(row),
        "deploy_type": DEPLOY_TYPES_V2[0],
        "user_name": "local",
        "workspace_id": row.workspace_id,
        "create_at": row.create_at,
        "update_at": row.update_at,
        "auth_type": row.auth,
        "tags": [],
        "schedule": [],
        "frozen_infos": [],
    }


def _type(row: Service) -> str:
    return SERVICE_TYPES_V2[row.asynchronous]


def _group(row: Service, entry: Group, instances: list[Instance]) -> dict[str, Any]:
    return {
        **entry.given,
        "id": f"{row.id}-{entry.group}",
        "name": f"deployment-{entry.group}",
        "count": entry.count,
        "weight": entry.weight,
        "version": row.version,
        "status": row.status,
        "running_count": sum(instance.status == "READY" for instance in instances),
    }


def _event(row: Service, event: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": f"{row.id}-{event['occur_time']}",
        "service_id": row.id,
        "service_version_id": f"{row.id}-{row.version}",
        "event_count": 1,
        "event_type": event["event_type"].upper(),
        "event_info": event["event_info"],
        "event_info_cn": event["event_info"],
        "create_at": event["occur_time"],
        "update_at": event["occur_time"],
    }
