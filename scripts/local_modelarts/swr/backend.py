"""SWR: logins, organizations, repositories and tags, in front of the real registry."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from custom_image.platform_api import ORGANIZATION_FIELDS, REPOSITORY_FIELDS
from local_modelarts.errors import SwrError, swr_exists, swr_not_empty, swr_not_found
from local_modelarts.platform import Platform
from local_modelarts.registry.client import Manifest
from local_modelarts.registry.logins import Login
from local_modelarts.storage.resources import Organization, Repository
from local_modelarts.validation import check_swr

_MANAGE: Final = 7
_CREATOR: Final = "local"


class Swr:
    """The registry's management API."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._state = platform.state
        self._registry = platform.registry

    # --- logins -----------------------------------------------------------------------------------

    def login(self, project: str) -> tuple[dict[str, Any], dict[str, str]]:
        """Return body and headers of a temporary login."""
        login = self._platform.logins.temporary(project or "local", self._platform.settings.login_s)
        auth = base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
        return {"auths": {self._registry.host: {"auth": auth}}}, self._headers(login)

    def _headers(self, login: Login) -> dict[str, str]:
        command = f"docker login -u {login.user} -p {login.password} {self._registry.host}"
        expires = datetime.fromtimestamp(login.expires_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"X-Swr-Dockerlogin": command, "X-Swr-Expireat": expires}

    # --- organizations ----------------------------------------------------------------------------

    def create_organization(self, body: Mapping[str, Any]) -> None:
        """Create an organization.

        Raises:
            SwrError: its name is not allowed or taken, or the quota is used up.
        """
        check_swr(body, ORGANIZATION_FIELDS)
        name = body["namespace"]
        if name == "library":
            raise SwrError(400, "SVCSTG.SWR.4000014", "Invalid API parameters. library is reserved")
        with self._state.transaction():
            if self._state.get(Organization, name):
                raise swr_exists(f"organization {name}")
            if len(self._state.find(Organization)) >= self._platform.settings.organizations:
                raise SwrError(
                    403, "SVCSTG.SWR.4030000", "The quota of organizations is used up."
                )  # the code is inferred
            self._state.add(Organization, name, "ACTIVE")

    def organizations(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the organizations, or the one that is asked for."""
        wanted = query.get("namespace") or _filter(query).get("namespace", "")
        rows = sorted(self._state.find(Organization), key=lambda row: row.id)
        return [_organization(row) for row in rows if wanted in ("", row.id)]

    def organization(self, name: str) -> dict[str, Any]:
        """Return one organization.

        Raises:
            SwrError: there is none of that name.
        """
        row = self._state.get(Organization, name)
        if row is None:
            raise swr_not_found(f"organization {name}")
        return _organization(row)

    def delete_organization(self, name: str) -> None:
        """Delete an organization without repositories.

        Raises:
            SwrError: there is none of that name, or it is not empty.
        """
        self.organization(name)
        if self._names(name):
            raise swr_not_empty("organization")
        self._state.remove(Organization, name)

    # --- repositories -----------------------------------------------------------------------------

    def create_repository(self, organization: str, body: Mapping[str, Any]) -> None:
        """Create an empty repository; a push does the same.

        Raises:
            SwrError: there is no such organization, or the name is not allowed or taken.
        """
        self.organization(organization)
        check_swr(body, REPOSITORY_FIELDS)
        full = f"{organization}/{body['repository']}"
        with self._state.transaction():
            if self._state.get(Repository, full):
                raise swr_exists(f"repository {full}")
            fields = {k: body.get(k) for k in ("is_public", "category", "description")}
            self._state.add(Repository, full, "ACTIVE", **fields)

    def repositories(self, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the repositories that a query asks for."""
        asked = dict(query) | _filter(query)
        found = []
        for organization in self._state.find(Organization):
            if asked.get("namespace", "") not in ("", organization.id):
                continue
            for full in self._names(organization.id):
                if asked.get("name", "") in full.partition("/")[2]:
                    found.append(self._repository(full, with_tags=True))
        return sorted(found, key=lambda document: str(document["path"]))

    def repository(self, organization: str, name: str) -> dict[str, Any]:
        """Return one repository.

        Raises:
            SwrError: there is none of that name.
        """
        return self._repository(self._full(organization, name))

    def delete_repository(self, organization: str, name: str) -> None:
        """Delete a repository without tags.

        Raises:
            SwrError: there is none of that name, or it is not empty.
        """
        full = self._full(organization, name)
        if self._registry.tags(full):
            raise swr_not_empty("image repository")
        self._state.remove(Repository, full)

    # --- tags -------------------------------------------------------------------------------------

    def tags(self, organization: str, name: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the tags of a repository.

        Raises:
            SwrError: there is no such repository.
        """
        full = self._full(organization, name)
        wanted = query.get("tag") or _filter(query).get("tag", "")
        documents = []
        for tag in self._registry.tags(full):
            manifest = self._registry.manifest(full, tag) if wanted in ("", tag) else None
            if manifest:
                # The list spells it with a capital: ``ShowReposTagResp`` of the SDK.
                documents.append(self._tag(full, tag, manifest) | {"Tag": tag})
        return documents

    def tag(self, organization: str, name: str, tag: str) -> dict[str, Any]:
        """Return one tag.

        Raises:
            SwrError: there is none of that name.
        """
        full = self._full(organization, name)
        manifest = self._registry.manifest(full, tag)
        if manifest is None:
            raise swr_not_found(f"{full}:{tag}")
        return self._tag(full, tag, manifest)

    def delete_tag(self, organization: str, name: str, tag: str) -> None:
        """Delete one tag; others of the same image stay.

        Raises:
            SwrError: there is none of that name.
        """
        full = self._full(organization, name)
        if not self._registry.delete_tag(full, tag):
            raise swr_not_found(f"{full}:{tag}")

    # --- documents --------------------------------------------------------------------------------

    def _names(self, organization: str) -> list[str]:
        """Return the full names of the repositories: those with tags, and those created empty."""
        created = {row.id for row in self._state.find(Repository)}
        pushed = {full for full in self._registry.repositories() if self._registry.tags(full)}
        return sorted(n for n in created | pushed if n.partition("/")[0] == organization)

    def _full(self, organization: str, name: str) -> str:
        # A name with a slash is written with a dollar sign in a path: the API reference.
        full = f"{organization}/{name.replace('$', '/')}"
        self.organization(organization)
        if full not in self._names(organization):
            raise swr_not_found(full)
        return full

    def _repository(self, full: str, *, with_tags: bool = False) -> dict[str, Any]:
        row = self._state.get(Repository, full)
        organization, _, name = full.partition("/")
        tags = self._registry.tags(full)
        created = _date(row.create_at if row else 0)
        document = {
            "name": name,
            "category": (row and row.category) or "other",
            "description": (row and row.description) or "",
            "is_public": bool(row and row.is_public),
            "num_images": len(tags),
            "num_download": 0,
            "size": sum(m.size_bytes for tag in tags if (m := self._registry.manifest(full, tag))),
            "url": "",
            "path": f"{self._registry.host}/{full}",
            "internal_path": f"{self._registry.host}/{full}",
        }
        if with_tags:
            return document | {
                "namespace": organization,
                "tags": tags,
                "domain_name": _CREATOR,
                "created_at": created,
                "updated_at": created,
                "status": False,
                "total_range": len(tags),
            }
        return document | {
            "id": _number(full),
            "ns_id": _number(organization),
            "creator_name": _CREATOR,
            "creator_id": self._platform.identity.id,
            "domain_id": self._platform.identity.id,
            "created": created,
            "updated": created,
            "priority": 0,
        }

    def _tag(self, full: str, tag: str, manifest: Manifest) -> dict[str, Any]:
        content = json.loads(manifest.text)
        path = f"{self._registry.host}/{full}:{tag}"
        return {
            "id": _number(path),
            "repo_id": _number(full),
            "tag": tag,
            "image_id": content.get("config", {}).get("digest", "").removeprefix("sha256:"),
            "manifest": manifest.text,
            "digest": manifest.digest,
            "schema": content.get("schemaVersion", 2),
            "path": path,
            "internal_path": path,
            "size": manifest.size_bytes,
            "is_trusted": False,
            "created": _date(0),
            "updated": _date(0),
            "domain_id": self._platform.identity.id,
            "tag_type": int(manifest.is_list),
        }


def _organization(row: Organization) -> dict[str, Any]:
    return {
        "id": _number(row.id),
        "name": row.id,
        "creator_name": _CREATOR,
        "auth": _MANAGE,
    }


def _filter(query: Mapping[str, str]) -> dict[str, str]:
    """Read ``name::value|name::value``."""
    parts = (part.partition("::") for part in query.get("filter", "").split("|"))
    return {name: value for name, _, value in parts if name}


def _number(text: str) -> int:
    """Return the number that SWR would have given to this name; stable, and else of no meaning."""
    return zlib.crc32(text.encode())


def _date(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
