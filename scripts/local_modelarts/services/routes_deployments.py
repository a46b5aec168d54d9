"""Routes of v2 about deployments, their versions, instances and pods, and their JSON.

A service of deploy type SINGLE has one deployment. Shapes: ``ShowInferDeploymentResponse`` and its
kin in huaweicloudsdkmodelarts 3.1.219.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from local_modelarts.errors import ApiError, no_service, parameter
from local_modelarts.http.messages import Answer, Call, Calls
from local_modelarts.notebooks.responses import page
from local_modelarts.platform import Platform
from local_modelarts.runtime.states import RUNNING
from local_modelarts.services.backend import Services
from local_modelarts.services.requests_v2 import read_deployment
from local_modelarts.services.routes_v2 import find_v2
from local_modelarts.storage.resources import Instance, PodEvent, Service

_ONE: Final = "/v2/{project_id}/services/{service_id}/deployments"
_PODS: Final = "/v2/{project_id}/services/{id}/deployments/{deployment_name}/instances"
_PAGE: Final = 10
_ALL: Final = "all"
_GONE: Final = "GONE"
_POD_STATES: Final = {
    "CREATING": "PENDING",
    "STARTING": "PENDING",
    "READY": "RUNNING",
    "UNREADY": "ABNORMAL",
    "TERMINATING": "RUNNING",
    _GONE: "DELETED",
}


def deployment_calls(platform: Platform, services: Services) -> Calls:
    """Return the calls about deployments and what is below them."""

    def find(call: Call) -> Service:
        row = find_v2(services, call.path["service_id"])
        if call.path.get("deployment_id", _id(row)) not in (_id(row), _name(row)):
            raise no_service(call.path["deployment_id"])
        return row

    def show(row: Service) -> Answer:
        return Answer(deployment_document(row))

    def update(call: Call) -> Answer:
        row = find(call)
        return show(services.update(row.id, read_deployment(platform, row, call.body)))

    def start(call: Call) -> Answer:
        row = services.start(find(call).id)
        # The one answer that kept its older shape in SDK 3.1.219: times as numbers.
        old = {"create_at": str(row.create_at), "update_at": row.update_at}
        return Answer({**deployment_document(row), **old})

    def scale(call: Call) -> Answer:
        row = find_v2(services, call.path["service_id"])
        given = {"count": call.body.get("count")}
        return show(services.update(row.id, read_deployment(platform, row, given)))

    def list_deployments(call: Call) -> Answer:
        return Answer(page([_item(find(call))], call.query, _PAGE))

    def versions(call: Call) -> Answer:
        row = find(call)
        return Answer(page([_version(row, v) for v in reversed(row.versions)], call.query, _PAGE))

    def forget_version(call: Call) -> Answer:
        row, version = find(call), call.path["version"]
        if version == row.version or version not in row.versions:
            raise parameter(f"version {version[:20]!r} is in use, or there is none")
        left = [known for known in row.versions if known != version]
        services.update(row.id, {"versions": left})
        return Answer({})

    def of_pods(call: Call) -> Service:
        row = find_v2(services, call.path["id"])
        if call.path.get("deployment_name", _ALL) not in (_ALL, _name(row), _id(row)):
            raise no_service(call.path["deployment_name"])
        return row

    def living(row: Service) -> list[Instance]:
        return [i for i in services.instances(row.id) if i.status != _GONE]

    def instances(call: Call) -> Answer:
        row = find_v2(services, call.path["id"])
        return Answer(page([_instance(i) for i in living(row)], call.query, _PAGE))

    def pods(call: Call) -> Answer:
        found = [i for i in living(of_pods(call)) if call.path["name"] in (_ALL, i.name)]
        return Answer(page([_pod(i) for i in found], call.query, _PAGE))

    def pod_events(call: Call) -> Answer:
        row = of_pods(call)
        wanted = {call.path["instance_name"], call.path["name"]} - {_ALL}
        named = [i for i in services.instances(row.id) if wanted <= {i.name, i.id}]
        if wanted and not named:
            raise ApiError(404, "ModelArts.0104", f"Parameter error. No pod {wanted}.")
        found = [event for i in named for event in services.pod_events(i.id)]
        return Answer([_pod_event(e) for e in sorted(found, key=lambda e: e.update_at)])

    one = f"{_ONE}/{{deployment_id}}"
    return [
        ("GET", _ONE, list_deployments),
        ("PUT", f"{_ONE}/{{deployment_name}}/scale", scale),
        ("GET", one, lambda call: show(find(call))),
        ("PUT", one, update),
        ("POST", f"{one}/start", start),
        ("POST", f"{one}/stop", lambda call: show(services.stop(find(call).id))),
        ("GET", f"{one}/versions", versions),
        ("DELETE", f"{one}/versions/{{version}}", forget_version),
        ("GET", "/v2/{project_id}/services/{id}/deployments/{name}/instances", instances),
        ("GET", f"{_PODS}/{{name}}/pods", pods),
        ("GET", f"{_PODS}/{{instance_name}}/pods/{{name}}/events", pod_events),
    ]


def deployment_document(row: Service) -> dict[str, Any]:
    """Return the deployment of a service as ``ShowInferDeploymentResponse`` declares it."""
    entry = row.config[0]
    given = entry.given
    return {
        "id": _id(row),
        "name": _name(row),
        "deployment_name": _name(row),
        "description": row.description,
        "pool_id": row.pool,
        "framework": given.get("framework") or "COMMON",
        "version": row.version,
        "version_id": f"{row.id}-{row.version}",
        "version_count": len(row.versions),
        "count": entry.count,
        "weight": entry.weight,
        "status": row.status,
        "deploy_type": "SINGLE",
        "workload_type": "DEPLOYMENT",
        "unit_configs": given.get("unit_configs") or [],
        "user_name": "local",
        "agency_name": "",
        "deployment_task_limit": None,
        "frozen_infos": [],
        "create_at": _moment(row.create_at),
        "update_at": _moment(row.update_at),
    }


def _item(row: Service) -> dict[str, Any]:
    entry = row.config[0]
    return {
        "id": _id(row),
        "name": _name(row),
        "status": row.status,
        "lts_state": "OFF",
        "weight": entry.weight,
        "traffic_ratio": "100.00%" if row.status == RUNNING else "0.00%",
        "pool_id": row.pool,
        "version": row.version,
        "deploy_type": "SINGLE",
        "create_at": row.create_at,
        "update_at": row.update_at,
        "frozen_infos": [],
    }


def _version(row: Service, version: str) -> dict[str, Any]:
    return {
        "infer_name": _id(row),
        "version": version,
        "version_status": "ACTIVE" if version == row.version else "INACTIVE",
        "description": "",
        "deploy_type": "SINGLE",
        "create_at": _moment(row.create_at),
        "update_at": _moment(row.update_at),
    }


def _instance(row: Instance) -> dict[str, Any]:
    return {
        "instance_name": row.name,
        "status": _POD_STATES[row.status],
        "weight": 100,
        "pod_count": 1,
        "running_pod_count": int(row.status == "READY"),
        "update_at": row.update_at,
    }


def _pod(row: Instance) -> dict[str, Any]:
    return {
        "pod_id": row.id,
        "pod_name": row.name,
        "pod_node_ip": row.address,
        "pod_node_name": "local",
        "pod_role": "COMMON",
        "pod_role_name": "COMMON",
        "status": _POD_STATES[row.status],
        "update_time": row.update_at,
    }


def _pod_event(event: PodEvent) -> dict[str, Any]:
    return {
        "count": event.count,
        "first_timestamp": _moment(event.create_at),
        "last_timestamp": _moment(event.update_at),
        "message": event.message,
        "reason": event.reason,
        "reporting_component": "kubelet",
        "type": event.status,
    }


def _id(row: Service) -> str:
    return f"{row.id}-{row.config[0].group}"


def _name(row: Service) -> str:
    return f"deployment-{row.config[0].group}"


def _moment(ms: int) -> str:
    # The SDK reads no offset: it adds a Z by itself.
    return datetime.fromtimestamp(ms / 1000, UTC).replace(tzinfo=None).isoformat()
