"""The images of an organization, as a registry lists them.

Source: https://distribution.github.io/distribution/spec/api/#listing-repositories
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from custom_image.errors import UsageError
from custom_image.registry_client import RegistryClient

_ADVICE: Final = (
    "It lists its images to nobody, or not to you: `docker login` first, or write the images "
    "into a file."
)


def list_images(organization: str) -> Iterator[str]:
    """Yield ``registry/organization/name:tag`` for every tag of an organization.

    The login is that of ``docker login`` on this machine; it is used to list, and goes nowhere
    else.

    Args:
        organization: ``registry.example.com/team/``.

    Raises:
        UsageError: it names no registry.
        Unavailable: the registry does not answer, or refuses.
    """
    host, _, prefix = organization.partition("/")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.-]*(:\d+)?", host) or not re.search(r"[.:]", host):
        raise UsageError(
            f"{organization} names no registry; expected registry.example.com/organization/"
        )
    with RegistryClient(host, *_login(host), advice=_ADVICE) as registry:
        for name in registry.pages("/v2/_catalog", "repositories", "registry:catalog:*"):
            if name.startswith(prefix):
                scope = f"repository:{name}:pull"
                for tag in registry.pages(f"/v2/{name}/tags/list", "tags", scope):
                    yield f"{host}/{name}:{tag}"


def _login(host: str) -> tuple[str, str]:
    import docker.auth

    found = docker.auth.load_config().resolve_authconfig(host) or {}
    name, password = found.get("Username") or found.get("username"), found.get("password")
    password = password or found.get("Password")
    return (name, password) if name and password else ("", "")
