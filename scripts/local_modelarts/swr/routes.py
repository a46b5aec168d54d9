"""Routes of the SWR API, and the token server that the registry sends its clients to.

Paths and status codes: the operations of ``huaweicloudsdkswr.v2.SwrClient``.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from local_modelarts.http.messages import Answer, Call, Calls
from local_modelarts.platform import Platform
from local_modelarts.registry.logins import read_scopes
from local_modelarts.storage.resources import Organization
from local_modelarts.swr.backend import Swr
from local_modelarts.validation import whole

_MANAGE: Final = "/v2/manage"
_NAMESPACE: Final = f"{_MANAGE}/namespaces/{{namespace}}"
_REPOSITORY: Final = f"{_NAMESPACE}/repos/{{repository}}"


def swr_calls(swr: Swr) -> Calls:
    """Return the calls of SWR's management API."""

    def login(call: Call) -> Answer:
        body, headers = swr.login(call.query.get("projectname", ""))
        return Answer(body, 200, headers)

    def create_organization(call: Call) -> Answer:
        swr.create_organization(call.body)
        return Answer({}, 201)

    def delete_organization(call: Call) -> Answer:
        swr.delete_organization(call.path["namespace"])
        return Answer(None, 204)

    def create_repository(call: Call) -> Answer:
        swr.create_repository(call.path["namespace"], call.body)
        return Answer({}, 201)

    def delete_repository(call: Call) -> Answer:
        swr.delete_repository(call.path["namespace"], call.path["repository"])
        return Answer(None, 204)

    def list_tags(call: Call) -> Answer:
        return _ranged(swr.tags(call.path["namespace"], call.path["repository"], call.query), call)

    def show_tag(call: Call) -> Answer:
        return Answer(swr.tag(call.path["namespace"], call.path["repository"], call.path["tag"]))

    def delete_tag(call: Call) -> Answer:
        swr.delete_tag(call.path["namespace"], call.path["repository"], call.path["tag"])
        return Answer(None, 204)

    return [
        ("POST", f"{_MANAGE}/utils/secret", login),
        ("POST", f"{_MANAGE}/utils/authorizationtoken", login),
        ("POST", f"{_MANAGE}/namespaces", create_organization),
        (
            "GET",
            f"{_MANAGE}/namespaces",
            lambda call: Answer({"namespaces": swr.organizations(call.query)}),
        ),
        ("GET", _NAMESPACE, lambda call: Answer(swr.organization(call.path["namespace"]))),
        ("DELETE", _NAMESPACE, delete_organization),
        ("POST", f"{_NAMESPACE}/repos", create_repository),
        ("GET", f"{_MANAGE}/repos", lambda call: _ranged(swr.repositories(call.query), call)),
        (
            "GET",
            _REPOSITORY,
            lambda call: Answer(swr.repository(call.path["namespace"], call.path["repository"])),
        ),
        ("DELETE", _REPOSITORY, delete_repository),
        ("GET", f"{_REPOSITORY}/tags", list_tags),
        ("GET", f"{_REPOSITORY}/tags/{{tag}}", show_tag),
        ("DELETE", f"{_REPOSITORY}/tags/{{tag}}", delete_tag),
    ]


def registry_token(platform: Platform) -> Calls:
    """Return the call by which a registry's client proves who it is: no signature, but a login."""

    def token(call: Call) -> Answer:
        user, password = _basic(call.headers.get("authorization", ""))
        if not platform.logins.allows(user, password):
            # As registries word it: the engine shows this to its user.
            refusal = {"code": "UNAUTHORIZED", "message": "authentication required"}
            return Answer({"errors": [refusal]}, 401)
        scopes = [s for scope in call.query.getlist("scope") for s in scope.split()]  # type: ignore[attr-defined]
        organizations = {row.id for row in platform.state.find(Organization)}
        return Answer({"token": platform.logins.token(read_scopes(scopes, organizations))})

    return [("GET", "/registry/token", token)]


def _basic(header: str) -> tuple[str, str]:
    kind, _, value = header.partition(" ")
    if kind.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password


def _ranged(documents: list[dict[str, Any]], call: Call) -> Answer:
    """Return one part of a list; the header tells which: ``0-99/250``."""
    offset = whole(call.query.get("offset", "")) or 0
    found = whole(call.query.get("limit", ""))
    limit = 100 if found is None else found
    part = documents[offset : offset + limit]
    last = offset + max(len(part) - 1, 0)
    return Answer(part, 200, {"Content-Range": f"{offset}-{last}/{len(documents)}"})
