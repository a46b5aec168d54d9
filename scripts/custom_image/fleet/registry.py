"""The images of an organization, as a registry lists them.

Source: https://distribution.github.io/distribution/spec/api/#listing-repositories
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import requests

from custom_image.errors import Unavailable, UsageError
from custom_image.registry_challenge import read_challenge, token_of

_TIMEOUT_S: Final = 20.0
_PAGE: Final = 100
_LOOPBACK: Final = ("localhost", "127.0.0.1")


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
    registry = _Registry(host)
    for name in registry.pages("/v2/_catalog", "repositories", "registry:catalog:*"):
        if name.startswith(prefix):
            scope = f"repository:{name}:pull"
            for tag in registry.pages(f"/v2/{name}/tags/list", "tags", scope):
                yield f"{host}/{name}:{tag}"


class _Registry:
    def __init__(self, host: str) -> None:
        scheme = "http" if host.partition(":")[0] in _LOOPBACK else "https"
        self._host, self._base = host, f"{scheme}://{host}"
        self._session = requests.Session()
        self._login = _login(host)
        self._tokens: dict[str, str] = {}

    def pages(self, path: str, member: str, scope: str) -> Iterator[str]:
        """Yield what the pages of a listing hold."""
        url: str | None = f"{self._base}{path}?n={_PAGE}"
        while url:
            answer = self._get(url, scope)
            yield from answer.json().get(member) or ()
            following = answer.links.get("next", {}).get("url")
            url = urljoin(url, following) if following else None
            if url and not url.startswith(f"{self._base}/"):
                raise Unavailable(f"registry {self._host} leads to another host: {url}")

    def _get(self, url: str, scope: str) -> requests.Response:
        answer = self._ask(url, headers=self._authorization(scope))
        if answer.status_code == 401 and scope not in self._tokens:
            self._tokens[scope] = self._token(answer.headers.get("WWW-Authenticate", ""), scope)
            answer = self._ask(url, headers=self._authorization(scope))
        if answer.status_code != 200:
            raise Unavailable(
                f"registry {self._host} answers {answer.status_code} to {urlsplit(url).path}.\n"
                "It lists its images to nobody, or not to you: `docker login` first, or write "
                "the images into a file."
            )
        return answer

    def _authorization(self, scope: str) -> dict[str, str]:
        return {"Authorization": token} if (token := self._tokens.get(scope)) else {}

    def _token(self, header: str, scope: str) -> str:
        """Return the header that a challenge asks for."""
        challenge = read_challenge(header)
        if challenge is None:
            basic = requests.Request("GET", self._base, auth=self._login).prepare()
            return str(basic.headers.get("Authorization", ""))
        realm = challenge.realm
        if not realm.startswith(("https://", f"{self._base}/")):
            raise Unavailable(f"registry {self._host} asks for its login at {realm or 'no place'}.")
        answer = self._ask(realm, params=challenge.query(scope), auth=self._login)
        found: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
        return f"Bearer {token_of(found)}"

    def _ask(self, url: str, **options: Any) -> requests.Response:
        try:
            return self._session.get(url, timeout=_TIMEOUT_S, allow_redirects=False, **options)
        except requests.RequestException as error:
            raise Unavailable(
                f"registry {self._host} does not answer ({type(error).__name__})."
            ) from error


def _login(host: str) -> tuple[str, str] | None:
    import docker.auth

    found = docker.auth.load_config().resolve_authconfig(host) or {}
    name, password = found.get("Username") or found.get("username"), found.get("password")
    password = password or found.get("Password")
    return (name, password) if name and password else None
