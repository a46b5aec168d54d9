"""A client of a registry's API: logins and tokens, documents, blobs, listings.

Source: https://distribution.github.io/distribution/spec/api/ and
https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

import base64
import re
import warnings
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final, Self
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import InsecureRequestWarning

from custom_image.errors import Unavailable

_CONNECT_S: Final = 20.0
_SILENCE_S: Final = 20.0
_PAGE: Final = 100
_PARAMETER: Final = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Blob:
    """What a registry stores by its digest; of a layer, the compressed one."""

    digest: str
    size_bytes: int


class RegistryClient:
    """One registry, with a login or without one; to be closed.

    A token is asked for when the registry wants one, by scope: ``repository:org/name:pull``.

    Raises, in all that it does:
        Unavailable: the registry does not answer, or refuses.
    """

    def __init__(
        self,
        host: str,
        user: str = "",
        password: str = "",
        *,
        advice: str = "",
        silence_s: float = _SILENCE_S,
        adapter: HTTPAdapter | None = None,
    ) -> None:
        """``advice`` ends the message of a refusal; ``adapter`` leads there by another way."""
        self.host = host
        self._login = (user, password) if user else None
        self._advice = advice
        self._timeout_s = (_CONNECT_S, silence_s)
        self._tokens: dict[str, str] = {}
        self._plain: set[str] = set()
        self._session = requests.Session()
        if adapter:
            self._session.trust_env = False  # the proxies of this machine are not on that way
            self._session.mount("https://", adapter)
            self._session.mount("http://", adapter)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.host!r})"

    def find_blob(self, repository: str, digest: str, scope: str) -> Blob | None:
        """Return a blob that is there, or None."""
        path = f"/v2/{repository}/blobs/{digest}"
        answer = self.ask("HEAD", path, scope, expected=(200, 404))
        if answer.status_code == 404:
            return None
        return Blob(digest, int(answer.headers.get("Content-Length", 0)))

    def document(self, path: str, scope: str, accept: str = "*/*") -> dict[str, Any]:
        """Return a JSON document; empty where there is none."""
        return self._json(
            self.ask("GET", path, scope, expected=(200, 404), headers={"Accept": accept})
        )

    def pages(
        self, path: str, member: str, scope: str, *, expected: Collection[int] = (200,)
    ) -> Iterator[str]:
        """Yield what the pages of a listing hold."""
        url: str | None = f"{path}?n={_PAGE}"
        while url:
            answer = self.ask("GET", url, scope, expected=expected, allow_redirects=False)
            yield from self._json(answer).get(member) or ()
            following = answer.links.get("next", {}).get("url")
            url = urljoin(answer.url, following) if following else None
            if url and urlsplit(url).netloc != self.host:
                raise Unavailable(f"registry {self.host} leads to another host: {url}")

    def ask(
        self,
        method: str,
        path: str,
        scope: str,
        *,
        expected: Collection[int] = (200,),
        is_repeatable: bool = True,
        **options: Any,
    ) -> requests.Response:
        """Return an answer of an expected status; asked again with a new token where one is wanted.

        Args:
            method: of HTTP.
            path: or a whole URL, as a ``Location`` is.
            scope: what a token is asked for.
            expected: statuses that are no refusal.
            is_repeatable: the body can be sent twice.
            options: of :meth:`requests.Session.request`.
        """
        url = urljoin(f"https://{self.host}", path)
        if is_its_own := urlsplit(url).netloc == self.host:
            url = urlsplit(url)._replace(scheme="https").geturl()  # no token goes out in the clear
        answer = self._request(method, url, self._tokens.get(scope, "") * is_its_own, **options)
        if answer.status_code == 401 and is_its_own and is_repeatable:
            self._tokens[scope] = self._authorization(answer, scope)
            answer = self._request(method, url, self._tokens[scope], **options)
        if answer.status_code not in expected:
            raise self._refused(f"refuses {scope.split(':')[1]}", answer)
        return answer

    def _authorization(self, refused: requests.Response, scope: str) -> str:
        """Return the header that a challenge asks for."""
        header = refused.headers.get("WWW-Authenticate", "")
        basic = base64.b64encode(":".join(self._login or ()).encode()).decode()
        authorization = f"Basic {basic}" if basic else ""
        if not header.lower().startswith("bearer"):
            return authorization
        asked = dict(_PARAMETER.findall(header))
        realm = asked.get("realm", "")
        parts = urlsplit(realm)
        # A login goes out encrypted, or stays on this machine.
        is_local = is_loopback(self.host) and is_loopback(parts.netloc)
        if parts.scheme != "https" and not (parts.scheme == "http" and is_local):
            raise Unavailable(
                f"registry {self.host} asks for its login at {realm or 'no place'}; "
                "expected an https:// address."
            )
        query = {"service": asked.get("service", ""), "scope": scope}
        answer = self._request("GET", realm, authorization, params=query, allow_redirects=False)
        found = self._json(answer) if answer.ok else {}
        token = found.get("token") or found.get("access_token")
        if not token:
            raise self._refused("refuses the login", answer)
        return f"Bearer {token}"

    def _request(
        self, method: str, url: str, authorization: str, **options: Any
    ) -> requests.Response:
        parts = urlsplit(url)
        if parts.netloc in self._plain:
            url = parts._replace(scheme="http").geturl()

        def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
            if authorization:
                request.headers["Authorization"] = authorization
            return request

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", InsecureRequestWarning)
                return self._session.request(
                    method,
                    url,
                    auth=sign,  # and so no login of ~/.netrc
                    timeout=self._timeout_s,
                    verify=not is_loopback(parts.netloc),
                    **options,
                )
        except requests.exceptions.SSLError as error:
            # As Docker does: on loopback a registry may also speak plain HTTP, and nowhere else.
            if not is_loopback(parts.netloc) or not url.startswith("https://"):
                raise Unavailable(
                    f"registry {self.host} shows no good certificate: {error}"
                ) from error
            self._plain.add(parts.netloc)
            return self._request(method, url, authorization, **options)
        except requests.exceptions.RequestException as error:
            raise Unavailable(f"registry {self.host} does not answer: {error}") from error

    def _json(self, answer: requests.Response) -> dict[str, Any]:
        if answer.status_code == 404:
            return {}
        try:
            found = answer.json()
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise self._refused("answers no JSON object", answer)
        return found

    def _refused(self, what: str, answer: requests.Response) -> Unavailable:
        """Return an error with the registry's own words, in its form or in any other."""
        try:
            error = answer.json()["errors"][0]
            said = f"{error.get('code', '')}: {error.get('message', '')}".strip(": ")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            said = " ".join(answer.text.split())[:200]
        told = f"{answer.status_code} {said}".strip()
        return Unavailable(f"registry {self.host} {what}: {told}\n{self._advice}".strip())


def is_loopback(host: str) -> bool:
    """Tell whether a host, with or without a port, is one that Docker counts as insecure.

    Source: https://docs.docker.com/reference/cli/dockerd/#insecure-registries
    """
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
