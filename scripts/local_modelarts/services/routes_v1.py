"""Routes of v1: models and services, and what only the local platform has.

Paths: the chapters "Model Management" and "Service Management" of the API reference,
https://support.huaweicloud.com/intl/en-us/api-modelarts/. The SDK has no methods for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

from custom_image.platform_api import (
    BATCH,
    EVENTS,
    INFER_TYPES,
    LOGS,
    MODELS,
    REAL_TIME,
    SERVICE_FIELDS,
    SERVICES,
    TIMELINE,
    V1_PREFIX,
)
from local_modelarts.errors import ApiError, parameter
from local_modelarts.http.messages import Answer, Call, Calls
from local_modelarts.platform import Platform
from local_modelarts.services.backend import Services
from local_modelarts.services.models import Models
from local_modelarts.services.requests_v1 import read_config, read_service
from local_modelarts.services.responses import (
    caller_endpoint,
    event_documents,
    model_document,
    service_document,
    service_summary,
    timeline,
)
from local_modelarts.storage.resources import Batch, Model, Service
from local_modelarts.validation import check, whole

_MODELS: Final = f"{V1_PREFIX}{MODELS}"
_SERVICES: Final = f"{V1_PREFIX}{SERVICES}"
_CLASSIC: Final = 1
_PAGE: Final = 1000


class BatchServices(Protocol):
    """The services whose ``infer_type`` is ``batch``."""

    def create(self, body: Mapping[str, Any]) -> Batch:
        """Begin to run a batch service."""

    def show(self, service_id: str) -> Batch | None:
        """Return a batch service, or None."""

    def list(self) -> list[Batch]:
        """Return all batch services."""

    def update(self, service_id: str, body: Mapping[str, Any]) -> Batch:
        """Stop or start a batch service."""

    def delete(self, service_id: str) -> Batch:
        """Delete a batch service."""

    def document(self, row: Batch) -> dict[str, Any]:
        """Return a batch service as the API shows it."""


def model_calls(platform: Platform, models: Models) -> Calls:
    """Return the calls about models."""
    owner = platform.identity.project_id

    def show(row: Model) -> Answer:
        return Answer(model_document(row, owner))

    def list_models(call: Call) -> Answer:
        rows = models.find(call.query)
        page = _page(rows, call.query)
        return Answer(
            {
                "total_count": len(rows),
                "count": len(page),
                "models": [model_document(row, owner) for row in page],
            }
        )

    def delete(call: Call) -> Answer:
        model_id = call.path["id"]
        try:
            models.delete(model_id)
        except ApiError as error:
            failed = {"model_id": model_id, "error_code": error.code, "error_msg": error.message}
            return Answer({"delete_success_list": [], "delete_failed_list": [failed]})
        return Answer({"delete_success_list": [model_id], "delete_failed_list": []})

    def events(call: Call) -> Answer:
        found = event_documents(models.events(call.path["id"]), call.query)
        return Answer({"model_id": call.path["id"], "count": len(found), "events": found})

    one = f"{_MODELS}/{{id}}"
    return [
        ("POST", _MODELS, lambda call: Answer({"model_id": models.create(call.body).id})),
        ("GET", _MODELS, list_models),
        ("GET", one, lambda call: show(models.show(call.path["id"]))),
        ("DELETE", one, delete),
        ("GET", f"{one}{EVENTS}", events),
    ]


def service_calls(
    platform: Platform, services: Services, batches: BatchServices | None = None
) -> Calls:
    """Return the calls about services."""
    owner, state = platform.identity.project_id, platform.state

    def find_batch(call: Call) -> Batch | None:
        return batches.show(call.path["id"]) if batches else None

    def document(row: Service, address: str) -> dict[str, Any]:
        ids = {entry.model_id for entry in row.config}
        models = {model_id: model for model_id in ids if (model := state.get(Model, model_id))}
        return service_document(row, models, services.instances(row.id), address, owner)

    def create(call: Call) -> Answer:
        kind = call.body.get("infer_type")
        if kind == BATCH and batches:
            service_id = batches.create(call.body).id
        elif kind == REAL_TIME:
            service_id = services.create(read_service(platform, call.body)).id
        else:
            raise parameter(f"infer_type is {kind!r}, expected {' or '.join(INFER_TYPES)}")
        return Answer({"service_id": service_id, "resource_ids": [service_id]})

    def show(call: Call) -> Answer:
        if batches and (batch := find_batch(call)):
            return Answer(batches.document(batch))
        return Answer(
            document(
                _classic(services.show(call.path["id"])), caller_endpoint(platform, call.headers)
            )
        )

    def list_services(call: Call) -> Answer:
        query = call.query
        rows: list[tuple[Service | Batch, dict[str, Any]]] = [
            (row, service_summary(row, owner)) for row in services.find(_CLASSIC)
        ]
        rows += [(row, batches.document(row)) for row in batches.list()] if batches else []
        found = [
            shown
            for row, shown in rows
            if query.get("service_name", "") in shown["service_name"]
            and query.get("service_id") in (None, "", shown["service_id"])
            and query.get("infer_type") in (None, "", shown["infer_type"])
            and query.get("status") in (None, "", shown["status"])
            and query.get("model_id") in (None, "", *_model_ids(row))
        ]
        page = _page(found, query)
        return Answer({"total_count": len(found), "count": len(page), "services": page})

    def update(call: Call) -> Answer:
        service_id, body = call.path["id"], call.body
        if batches and find_batch(call):
            batches.update(service_id, body)
            return Answer({})
        _classic(services.show(service_id))
        wanted = body.get("status")
        if wanted == "stopped":
            services.stop(service_id)
        elif wanted == "running":
            services.start(service_id)
        elif wanted not in (None, ""):
            raise parameter(f"status is {wanted!r}, expected running or stopped")
        else:
            check(body, SERVICE_FIELDS, required=())
            fields = read_config(platform, body["config"]) if body.get("config") else {}
            if body.get("description") is not None:
                fields["description"] = body["description"]
            if not fields:
                raise parameter("one of status, config and description is required")
            services.update(service_id, fields)
        return Answer({})

    def delete(call: Call) -> Answer:
        if batches and find_batch(call):
            batches.delete(call.path["id"])
        else:
            services.delete(_classic(services.show(call.path["id"])).id)
        return Answer({})

    def events(call: Call) -> Answer:
        batch = find_batch(call)
        row = batch or services.show(call.path["id"])
        found = event_documents(services.events_of(row.id), call.query)
        page = _page(found, call.query)
        return Answer(
            {
                "service_id": row.id,
                "service_name": row.name,
                "total_count": len(found),
                "count": len(page),
                "events": page,
            }
        )

    one = f"{_SERVICES}/{{id}}"
    return [
        ("POST", _SERVICES, create),
        ("GET", _SERVICES, list_services),
        ("GET", one, show),
        ("PUT", one, update),
        ("DELETE", one, delete),
        ("GET", f"{one}{EVENTS}", events),
    ]


def local_calls(services: Services) -> Calls:
    """Return what the platform has in its console or in another service; unsigned, our own."""
    return [
        (
            "GET",
            LOGS,
            lambda call: Answer(services.logs(call.path["id"])),
        ),
        (
            "GET",
            TIMELINE,
            lambda call: Answer({"entries": timeline(services.instances(call.path["id"]))}),
        ),
    ]


def _classic(row: Service) -> Service:
    """Return a service of the classic API.

    Raises:
        ApiError: it is one of Inference 2.0.
    """
    if row.generation != _CLASSIC:
        raise ApiError(404, "ModelArts.3502", f"Service {row.id} does not exist.")
    return row


def _page(rows: list[Any], query: Mapping[str, str], size: int = _PAGE) -> list[Any]:
    """Return one page; ``offset`` counts pages, as the API reference says."""
    found = whole(query.get("limit", ""))
    limit = size if found is None else found
    offset = whole(query.get("offset", "")) or 0
    return rows[offset * limit : (offset + 1) * limit] if limit else rows


def _model_ids(row: Service | Batch) -> list[str]:
    if isinstance(row, Batch):
        return [str(entry.get("model_id")) for entry in row.config]
    return [entry.model_id for entry in row.config]
