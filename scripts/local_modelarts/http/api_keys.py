"""API keys of v2: made, shown once, bound to services, checked by their hash, forgotten.

Source: docstrings of ``CreateApiKeyReq``, ``ApiKeyResponseV2``, ``CreateTempApiKeyReq`` in
huaweicloudsdkmodelarts 3.1.219, and inference2.0-modelarts-0008 (2026-09-08): at most 100 keys.
What is answered when a key is made is inferred: the SDK's answer declares no field.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Final

from custom_image.platform_api import API_KEY_FIELDS, API_KEY_LIFE_H
from custom_image.specification import API_KEY_BATCH, API_KEY_COUNT
from local_modelarts.errors import ApiError, api_key_not_bound, parameter, wrong_api_key
from local_modelarts.platform import Platform
from local_modelarts.storage.clock import now_ms
from local_modelarts.storage.resources import ApiKey, Service
from local_modelarts.validation import check, choice

USER: Final = "USER"
SERVICE_SCOPE: Final = "SERVICE"
TEMPORARY: Final = "TEMPORARY"
_ALIVE: Final = "ACTIVE"


class ApiKeys:
    """The API keys of the one account that there is."""

    def __init__(self, platform: Platform, now: Callable[[], int] = now_ms) -> None:
        self._platform = platform
        self._state = platform.state
        self._now_ms = now

    def create(self, body: Mapping[str, Any]) -> tuple[ApiKey, str]:
        """Make a key; return it and, this once, its text.

        Raises:
            ApiError: a field is not allowed, the name is taken, or there are too many.
        """
        check(body, API_KEY_FIELDS, required=("name",))
        scope = choice(body, "scope", (USER, SERVICE_SCOPE), USER)
        with self._state.transaction():
            known = self.find({})
            if any(row.name == body["name"] for row in known):
                raise parameter(f"name {body['name']} is that of another API key")
            if len(known) >= API_KEY_COUNT.value:
                raise ApiError(
                    400, "ModelArts.0113", f"At most {API_KEY_COUNT.value} API keys are allowed."
                )
            return self._add(
                name=body["name"], description=body.get("description") or "", scope=scope
            )

    def create_temporary(self, body: Mapping[str, Any]) -> tuple[ApiKey, str]:
        """Make a key that ends by itself; return it and, this once, its text.

        Raises:
            ApiError: ``expire_time`` is no whole number of hours in its range.
        """
        given: Any = body.get("expire_time")
        if not API_KEY_LIFE_H.allows(given):
            raise parameter(f"expire_time is {given!r:.40}, expected {API_KEY_LIFE_H} hours")
        ends_at = self._now_ms() + int(given) * 3_600_000
        return self._add(name="", description="", scope=TEMPORARY, ends_at=ends_at)

    def find(self, query: Mapping[str, str]) -> list[ApiKey]:
        """Return the keys that a query asks for, newest first; temporary ones are never listed."""
        service_id = query.get("service_id", "")
        with_users = query.get("with_user_scope", "").lower() == "true"
        return [
            row
            for row in self._state.find(ApiKey)
            if row.scope != TEMPORARY
            and query.get("name", "") in row.name
            and query.get("scope") in (None, "", row.scope)
            and query.get("key_id") in (None, "", row.id)
            and (not service_id or service_id in row.services or (with_users and row.scope == USER))
        ]

    def delete(self, key_id: str) -> None:
        """Delete a key, which is refused from now on.

        Raises:
            ApiError: there is none.
        """
        self._state.remove(ApiKey, self.show(key_id).id)

    def show(self, key_id: str) -> ApiKey:
        """Return a key.

        Raises:
            ApiError: there is none.
        """
        row = self._state.get(ApiKey, key_id)
        if row is None or row.scope == TEMPORARY:
            raise ApiError(404, "ModelArts.0104", f"Parameter error. No API key {key_id[:40]!r}.")
        return row

    def bind(self, service_id: str, key_id: str, *, bound: bool = True) -> ApiKey:
        """Bind a key to a service, or unbind it. Idempotent.

        Raises:
            ApiError: there is no such key, or it is one of all services.
        """
        with self._state.transaction():
            row = self.show(key_id)
            if row.scope != SERVICE_SCOPE:
                raise parameter(f"API key {row.name} is of scope {USER}: it opens every service")
            services = [known for known in row.services if known != service_id]
            services += [service_id] if bound else []
            return self._state.change(ApiKey, key_id, (_ALIVE,), services=services)

    def bind_all(
        self, service_id: str, body: Mapping[str, Any], *, bound: bool = True
    ) -> tuple[list[ApiKey], list[dict[str, str]]]:
        """Bind several keys, or unbind them; return those that were, and why the others were not.

        Raises:
            ApiError: ``key_ids`` is no list of at most ten ids.
        """
        items = body.get("key_ids")
        ids = (
            [i.get("key_id") if isinstance(i, dict) else None for i in items or []]
            if isinstance(items, list)
            else []
        )
        if not 1 <= len(ids) <= API_KEY_BATCH.value or not all(isinstance(i, str) for i in ids):
            raise parameter(
                f'key_ids must hold 1 to {API_KEY_BATCH.value} objects {{"key_id": ...}}'
            )
        done, failed = [], []
        for key_id in map(str, ids):
            try:
                done.append(self.bind(service_id, key_id, bound=bound))
            except ApiError as error:
                failed.append(
                    {"key_id": key_id, "error_code": error.code, "error_msg": error.message}
                )
        return done, failed

    def check(self, key: str, service_id: str) -> None:
        """Refuse a key that does not open a service.

        Raises:
            ApiError: 401; there is none such, or it has ended. 403; it is not bound to the service.
        """
        digest = _digest(key)
        row = next((r for r in self._state.find(ApiKey) if r.digest == digest), None)
        if row is None:
            raise wrong_api_key("no such API key")
        if row.ends_at and self._now_ms() >= row.ends_at:
            raise wrong_api_key("the API key has expired")
        if row.scope == SERVICE_SCOPE and service_id not in row.services:
            raise api_key_not_bound()

    def document(self, row: ApiKey) -> dict[str, Any]:
        """Return a key as ``ApiKeyResponseV2`` declares it; never its text."""
        identity = self._platform.identity
        services = {s: self._state.get(Service, s) for s in row.services}
        return {
            "key_id": row.id,
            "name": row.name,
            "description": row.description,
            "create_time": str(row.create_at),
            "scope": row.scope,
            "domain_id": identity.project_id,
            "project_id": identity.project_id,
            "services": [
                {"id": service_id, "name": found.name}
                for service_id, found in services.items()
                if found
            ],
            "workspace_id": "0",
        }

    def _add(self, **fields: Any) -> tuple[ApiKey, str]:
        key = f"ma-{secrets.token_urlsafe(32)}"
        self._sweep()
        fields = {"ends_at": 0, "services": [], "digest": _digest(key)} | fields
        return self._state.add(ApiKey, uuid.uuid4().hex, _ALIVE, **fields), key

    def _sweep(self) -> None:
        """Forget temporary keys that ended an hour ago and more: until then they say so."""
        for row in self._state.find(ApiKey):
            if row.ends_at and self._now_ms() >= row.ends_at + 3_600_000:
                self._state.remove(ApiKey, row.id)


def _digest(key: str) -> str:
    # The key is 256 bits of chance: a plain hash can no more be reversed than a slow one.
    return hashlib.sha256(key.encode()).hexdigest()
