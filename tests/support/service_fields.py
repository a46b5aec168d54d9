"""The fields of a service of the local platform, as a request would have given them."""

from __future__ import annotations

from typing import Any

SERVICE_FIELDS: dict[str, Any] = {
    "name": "mnist",
    "generation": 1,
    "infer_type": "real-time",
    "description": "",
    "workspace_id": "0",
    "asynchronous": False,
    "given": {},
    "version": "",
    "versions": [],
    "auth": "NONE",
    "websocket": False,
    "limit": {},
    "config": [],
    "pool": "",
    "apis": [{"url": "/", "method": "POST"}],
    "deploy_timeout_s": 1200,
}
