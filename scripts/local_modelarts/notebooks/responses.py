"""JSON of notebook instances and images in the platform's answers.

Source: the models ``NotebookResp`` and ``ImageResponse`` of huaweicloudsdkmodelarts 3.1.219.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from custom_image.specification import (
    GROUP_ID,
    NOTEBOOK_MOUNTS,
    NOTEBOOK_VOLUME,
    USER_ID,
    USER_NAME,
)
from local_modelarts.storage.resources import Image, Notebook
from local_modelarts.validation import whole

BUILD_IN: Final = "BUILD_IN"
DEDICATED: Final = "DEDICATED"
_IMAGE_FIELDS: Final = (
    "arch",
    "create_at",
    "description",
    "dev_services",
    "id",
    "name",
    "namespace",
    "origin",
    "resource_categories",
    "service_type",
    "size",
    "status",
    "status_message",
    "swr_path",
    "tag",
    "type",
    "update_at",
    "visibility",
    "workspace_id",
    "flavor_type",
)


def image_document(row: Image) -> dict[str, Any]:
    """Return an image as the API shows it. ``size`` is in bytes, as in the platform's samples."""
    document = {field: getattr(row, field) for field in _IMAGE_FIELDS}
    document |= {"swr_instance_id": None, "tags": []}
    if row.type == BUILD_IN:
        document |= {"show_name": row.name, "show_tag": row.tag}
    return document


def notebook_document(row: Notebook, image: Image | None, *, url: str, user: str) -> dict[str, Any]:
    """Return a notebook instance as the API shows it."""
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "status": row.status,
        "fail_reason": row.fail_reason,
        "action_progress": _progress(row.status),
        "flavor": row.flavor,
        "feature": row.feature,
        "image": image_document(image) if image else {"id": row.image_id},
        "lease": {
            "create_at": row.create_at,
            "duration": row.lease_ends_at - row.create_at,
            "enable": True,
            "type": row.lease_type,
            "update_at": row.update_at,
        },
        "volume": {
            "category": row.volume.get("category", "EVS"),
            "ownership": row.volume.get("ownership", "MANAGED"),
            "capacity": row.volume.get("capacity", NOTEBOOK_VOLUME.value),
            "mount_path": f"{NOTEBOOK_MOUNTS[0]}/",
        },
        "endpoints": [{"service": "NOTEBOOK", "uri": url}],
        "url": url,
        "token": row.token,
        "billing_items": ["COMPUTE", "STORAGE"] if row.status == "RUNNING" else ["STORAGE"],
        "run_user": {
            "uid": USER_ID.value,
            "gid": GROUP_ID.value,
            "user_name": USER_NAME.value,
            "group_name": "users",
        },
        "user": {"id": user, "name": "local", "domain": {"id": user, "name": "local"}},
        "user_id": user,
        "workspace_id": row.workspace_id,
        "data_volumes": [],
        "tags": [],
    }


def page(documents: Sequence[Mapping[str, Any]], query: Mapping[str, str], limit: int) -> Any:
    """Return one page of a list; ``offset`` counts documents (inferred)."""
    size = whole(query.get("limit", "")) or limit
    offset = whole(query.get("offset", "")) or 0
    return {
        "current": offset // size,
        "data": list(documents[offset : offset + size]),
        "pages": -(-len(documents) // size),
        "size": size,
        "total": len(documents),
    }


def _progress(status: str) -> list[dict[str, Any]]:
    """Return the four steps of an instance's start; which is reached is inferred."""
    state = {"CREATING": "PROCESSING", "STARTING": "PROCESSING"}.get(status, "COMPLETED")
    if status in ("CREATE_FAILED", "START_FAILED"):
        state = "FAILED"
    steps = ("prepare storage", "prepare compute resources", "configure network", "initialize")
    last = len(steps)
    return [
        {"step": number, "status": state if number == last else "COMPLETED", "description": text}
        for number, text in enumerate(steps, 1)
    ]
