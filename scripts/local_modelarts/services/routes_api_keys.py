"""Routes of v2 about API keys; paths as in the SDK's ``infer_api_key`` calls."""

from __future__ import annotations

from typing import Any, Final

from local_modelarts.http.api_keys import ApiKeys
from local_modelarts.http.messages import Answer, Call, Calls
from local_modelarts.notebooks.responses import page
from local_modelarts.platform import Platform
from local_modelarts.services.backend import Services

_KEYS: Final = "/v2/{project_id}/services/api-keys"
_BOUND: Final = "/v2/{project_id}/services/{service_id}/api-keys"
_PAGE: Final = 10


def api_key_calls(platform: Platform, services: Services) -> Calls:
    """Return the calls about API keys; they come before those about services."""
    keys = ApiKeys(platform)

    def create(call: Call) -> Answer:
        row, text = keys.create(call.body)
        return Answer({**keys.document(row), "api_key": text})

    def create_temporary(call: Call) -> Answer:
        row, text = keys.create_temporary(call.body)
        shown = {"expire_time": row.ends_at, "create_time": row.create_at}
        return Answer({"api_key": text, **shown})

    def list_keys(call: Call) -> Answer:
        found = [keys.document(row) for row in keys.find(call.query)]
        return Answer(page(found, call.query, _PAGE))

    def delete(call: Call) -> Answer:
        keys.delete(call.path["key_id"])
        return Answer({}, 200)

    def bind(call: Call, *, bound: bool) -> Answer:
        service_id = services.show(call.path["service_id"]).id
        keys.bind(service_id, call.path["key_id"], bound=bound)
        return Answer({})

    def bind_all(call: Call, *, bound: bool) -> Answer:
        service_id = services.show(call.path["service_id"]).id
        done, failed = keys.bind_all(service_id, call.body, bound=bound)
        answer: dict[str, Any] = {
            "total": len(done) + len(failed),
            "success_count": len(done),
            "success_items": [keys.document(row) for row in done],
            "failure_count": len(failed),
            "failure_items": failed,
        }
        return Answer(answer)

    return [
        ("POST", _KEYS, create),
        ("POST", f"{_KEYS}/temp", create_temporary),
        ("GET", _KEYS, list_keys),
        ("DELETE", f"{_KEYS}/{{key_id}}", delete),
        ("POST", f"{_BOUND}/batch-bind", lambda call: bind_all(call, bound=True)),
        ("POST", f"{_BOUND}/batch-unbind", lambda call: bind_all(call, bound=False)),
        ("POST", f"{_BOUND}/{{key_id}}/bind", lambda call: bind(call, bound=True)),
        ("POST", f"{_BOUND}/{{key_id}}/unbind", lambda call: bind(call, bound=False)),
    ]
