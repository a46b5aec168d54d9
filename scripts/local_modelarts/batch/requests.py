"""Checks of a request for a batch service, and the JSON of such a service.

Source: CreateService and ShowService,
https://docs.otc.t-systems.com/modelarts/api-ref/service_management/deploying_services.html.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from custom_image.model_config import Api, ModelConfig
from custom_image.platform_api import BATCH, INSTANCES, SERVICE_FIELDS
from custom_image.specification import (
    DEPLOY_TIMEOUT,
    INFERENCE_URL,
    SERVICE_FLAVOR,
)
from local_modelarts.batch.inputs import check_source
from local_modelarts.batch.mapping import make_mapping
from local_modelarts.errors import parameter, wrong_install_type
from local_modelarts.platform import Platform
from local_modelarts.services.models import find_published
from local_modelarts.storage.obs import Obs
from local_modelarts.storage.resources import Batch, Model
from local_modelarts.validation import check

_SHOWN: Final = (
    "model_id",
    "model_name",
    "model_version",
    "specification",
    "instance_count",
    "envs",
    "src_type",
    "src_path",
    "dest_path",
    "req_uri",
    "mapping_type",
    "mapping_rule",
)


def read_request(platform: Platform, obs: Obs, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a batch service, of a request to create it.

    Raises:
        ApiError: a field is missing or not allowed, the model is none for batches, or a path is
            not there.
    """
    check(body, SERVICE_FIELDS, required=("service_name",))
    config = body.get("config")
    if not isinstance(config, list) or len(config) != 1 or not isinstance(config[0], dict):
        raise parameter("config of a batch service must have exactly one entry")
    entry: dict[str, Any] = config[0]
    model = find_published(platform, entry.get("model_id"))
    if BATCH not in model.install_type:
        raise wrong_install_type(model.name)
    count = entry.get("instance_count")
    if not INSTANCES.allows(count):
        raise parameter(f"instance_count is {count!r}, expected {INSTANCES} instances")
    environment = entry.get("envs") or {}
    if not isinstance(environment, dict):
        raise parameter("envs is no JSON object")
    make_mapping(find_api(model, entry), entry.get("mapping_type"), entry.get("mapping_rule"))
    check_source(obs, entry)
    _check_destination(obs, entry)
    timeout_s = entry.get("deploy_timeout_in_seconds") or DEPLOY_TIMEOUT.value * 60
    if type(timeout_s) is not int:
        raise parameter(f"deploy_timeout_in_seconds is {timeout_s!r}, expected a whole number")
    return {
        "name": body["service_name"],
        "description": body.get("description") or "",
        "workspace_id": str(body.get("workspace_id") or "0"),
        "infer_type": BATCH,
        "deploy_timeout_s": timeout_s,
        "config": [
            {
                **entry,
                "model_name": model.name,
                "model_version": model.version,
                "specification": entry.get("specification") or SERVICE_FLAVOR.value,
                "envs": {str(name): str(value) for name, value in environment.items()},
            }
        ],
    }


def find_api(model: Model, entry: Mapping[str, Any]) -> Api:
    """Return the api that a batch asks.

    Raises:
        ApiError: the model has none at ``req_uri``.
    """
    uri = entry.get("req_uri") or INFERENCE_URL.value
    apis = ModelConfig.model_validate(model.config).apis
    found = next((api for api in apis if api.url == uri), None)
    if found is None:
        urls = ", ".join(api.url for api in apis) or "none"
        raise parameter(f"req_uri is {str(uri)[:80]!r}, the model's apis are {urls}")
    return found


def batch_document(row: Batch, *, progress: int, project_id: str) -> dict[str, Any]:
    """Return a batch service as the API shows it.

    ``progress`` is documented for the status deploying; while the status is running it is the
    share of the inputs that are done, in percent (inferred).
    """
    entry = {name: row.config[0].get(name) for name in _SHOWN}
    entry |= {n: at for n in ("start_time", "finished_time") if (at := getattr(row, n))}
    return {
        "service_id": row.id,
        "service_name": row.name,
        "description": row.description,
        "tenant": project_id,
        "project": project_id,
        "owner": project_id,
        "publish_at": row.create_at,
        "update_time": row.update_at,
        "infer_type": BATCH,
        "workspace_id": row.workspace_id,
        "status": row.status,
        "progress": progress,
        "error_msg": row.error_msg,
        "config": [{name: value for name, value in entry.items() if value is not None}],
        "is_shared": False,
        "shared_count": 0,
        "invocation_times": 0,
        "failed_times": 0,
    }


def _check_destination(obs: Obs, entry: Mapping[str, Any]) -> None:
    """Refuse an output folder that is not there, or that is the input's, within or around it."""
    destination = obs.folder(str(entry.get("dest_path") or "")).resolve()
    if entry.get("src_type"):  # a manifest may name files of any folder
        return
    source = obs.path(str(entry.get("src_path") or "")).resolve()
    if source.is_relative_to(destination) or destination.is_relative_to(source):
        raise parameter("dest_path must be a folder apart from src_path")
