"""JSON of models, services and their events in the answers of v1.

Source: "Obtaining Service Details" and "Querying Model Details" of the API reference,
https://support.huaweicloud.com/intl/en-us/api-modelarts/ShowService.html
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from local_modelarts.gateway.request import PREFIXES
from local_modelarts.platform import Platform, endpoint
from local_modelarts.runtime.states import SERVING, classic_name
from local_modelarts.storage.resources import Event, Instance, Model, Service
from local_modelarts.storage.specs import Group


def model_document(row: Model, owner: str) -> dict[str, Any]:
    """Return a model as the API shows it."""
    return {
        "model_id": row.id,
        "model_name": row.name,
        "model_version": row.version,
        "model_type": row.type,
        "model_status": row.status.lower(),
        "model_size": row.size_bytes,
        "description": row.description,
        "source_type": "custom",
        "source_location": row.source_location,
        "source_copy": str(row.source_copy).lower(),
        "image_address": row.source_location,
        "install_type": [kind.replace("real-time", "realtime") for kind in row.install_type],
        "request_mode": row.request_mode,
        "model_algorithm": row.config.get("model_algorithm", ""),
        "apis": json.dumps(row.config.get("apis") or []),
        "config": json.dumps(row.config),
        "cmd": row.command,
        "workspace_id": row.workspace_id,
        "tenant": owner,
        "project": owner,
        "owner": owner,
        "create_at": row.create_at,
        "error_msg": row.error_msg,
        "tunable": False,
        "market_flag": False,
        "publishable_flag": False,
    }


def service_document(
    row: Service,
    models: Mapping[str, Model],
    instances: Sequence[Instance],
    endpoint: str,
    owner: str,
) -> dict[str, Any]:
    """Return a real-time service as the API shows it.

    ``models``: by id; ``instances``: those that live.
    """
    return {
        **service_summary(row, owner),
        "config": [_entry(entry, models, instances) for entry in row.config],
        "progress": _progress(row, instances),
        "access_address": access_address(row, endpoint),
        "cluster_id": row.pool,
        "error_msg": row.error_msg,
        "additional_properties": {},
        "is_shared": False,
        "shared_count": 0,
        "invocation_times": 0,
        "failed_times": 0,
        "operation_time": row.update_at,
    }


def service_summary(row: Service, owner: str) -> dict[str, Any]:
    """Return a service as it stands in a list."""
    return {
        "service_id": row.id,
        "service_name": row.name,
        "description": row.description,
        "infer_type": row.infer_type,
        "status": classic_name(row.status),
        "workspace_id": row.workspace_id,
        "tenant": owner,
        "project": owner,
        "owner": owner,
        "publish_at": row.create_at,
        "update_time": row.update_at,
        "transition_at": row.update_at,
        "is_opened_sample_collection": False,
        "is_free": False,
    }


def access_address(row: Service, endpoint: str) -> str:
    """Return where a service is called."""
    return f"{endpoint}{PREFIXES[row.generation]}{row.id}"


def caller_endpoint(platform: Platform, headers: Mapping[str, str]) -> str:
    """Return the address of this platform as whoever sent these headers sees it."""
    gateway = endpoint(platform, platform.gateway)
    asked = headers.get("host", "")
    return gateway if asked and gateway.endswith(f"//{asked}") else endpoint(platform, "127.0.0.1")


def event_documents(rows: Sequence[Event], query: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the events that a query asks for; newest first, or as it says."""
    found = [
        {
            "event_type": row.status,
            "event_info": row.event_info,
            "occur_time": row.create_at,
        }
        for row in rows
        if query.get("event_type") in (None, "", row.status)
        and query.get("event_info", "") in row.event_info
        and _time(query, "start_time", 0) <= row.create_at <= _time(query, "end_time", 2**63)
    ]
    return found[::-1] if query.get("order") == "asc" else found


def timeline(instances: Sequence[Instance]) -> list[dict[str, Any]]:
    """Return what has happened to the instances of a service, in the order of time; our own."""
    entries = [
        {"instance": row.name, "model": row.title, **entry}
        for row in instances
        for entry in row.timeline
    ]
    return sorted(entries, key=lambda entry: float(entry["at"]))


def _entry(
    entry: Group, models: Mapping[str, Model], instances: Sequence[Instance]
) -> dict[str, Any]:
    model = models.get(entry.model_id)
    ready = [i for i in instances if i.status == "READY" and i.revision == entry.revision]
    given = entry.given
    return {
        "model_id": entry.model_id,
        "model_name": model.name if model else "",
        "model_version": model.version if model else "",
        "source_type": "custom",
        "specification": given.get("specification") or "",
        "custom_spec": given.get("custom_spec") or {},
        "status": "ready" if len(ready) == entry.count else "notReady",
        "weight": entry.weight,
        "instance_count": entry.count,
        "scaling": False,
        "envs": entry.spec.environment,
        "additional_properties": given.get("additional_properties") or {},
        "support_debug": False,
        **{name: given[name] for name in ("pool_name", "cluster_id") if given.get(name)},
    }


def _progress(row: Service, instances: Sequence[Instance]) -> int:
    """Return how far a deployment is, in percent; how it is counted is inferred."""
    if row.status not in SERVING:
        return 0
    revisions = {entry.revision for entry in row.config}
    wanted: int = sum(entry.count for entry in row.config)
    ready: int = sum(i.status == "READY" and i.revision in revisions for i in instances)
    return min(100, 100 * ready // max(1, wanted))


def _time(query: Mapping[str, str], name: str, default: int) -> int:
    value = query.get(name, "")
    return int(value) if value.isdecimal() else default
