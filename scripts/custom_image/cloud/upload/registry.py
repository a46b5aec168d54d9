"""A client of a registry that sends blobs and a manifest, as an engine's push does.

Source: https://distribution.github.io/distribution/spec/api/
"""

from __future__ import annotations

import base64
import hashlib
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import InsecureRequestWarning

from custom_image.errors import Unavailable
from custom_image.registry_challenge import read_challenge, token_of

_TIMEOUT_S: Final = (20.0, 300.0)  # to connect; of silence


@dataclass(frozen=True)
class Blob:
    """What a registry stores by its digest."""

    digest: str
    size_bytes: int


class Registry:
    """One repository of a registry, with the login of one who may push.

    Raises, in all that it does:
        Unavailable: the registry refuses, or does not answer.
    """

    def __init__(self, host: str, repository: str, user: str, password: str) -> None:
        self._host = host
        self._repository = repository
        self._login = (user, password)
        self._token = ""
        self._session = requests.Session()
        # As an engine does: https://docs.docker.com/reference/cli/dockerd/#insecure-registries
        self._is_local = (urlsplit(f"//{host}").hostname or "").startswith(("127.", "localhost"))
        self._scheme = "https"

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def find(self, digest: str) -> Blob | None:
        """Return a blob that is there, or None."""
        answer = self._ask("HEAD", self._path("blobs", digest), expected=(200, 404))
        if answer.status_code == 404:
            return None
        return Blob(digest, int(answer.headers.get("Content-Length", 0)))

    def send(self, chunks: Iterable[bytes]) -> Blob:
        """Send a blob while it arrives; its digest and size are known at the end."""
        started = self._ask("POST", self._path("blobs", "uploads/"), expected=(202,))
        counted = _Counted(chunks)
        sent = self._ask(
            "PATCH",
            self._location(started),
            expected=(202,),
            data=iter(counted),
            headers={"Content-Type": "application/octet-stream"},
            is_repeatable=False,
        )
        blob = counted.blob
        self._ask("PUT", self._location(sent), expected=(201,), params={"digest": blob.digest})
        return blob

    def put_manifest(self, tag: str, media_type: str, manifest: bytes) -> None:
        """Put a manifest under a tag."""
        headers = {"Content-Type": media_type}
        path = self._path("manifests", tag)
        self._ask("PUT", path, expected=(201,), data=manifest, headers=headers)

    def _path(self, kind: str, name: str) -> str:
        return f"{self._scheme}://{self._host}/v2/{self._repository}/{kind}/{name}"

    def _location(self, answer: requests.Response) -> str:
        return urljoin(answer.url, answer.headers.get("Location", ""))

    def _ask(
        self,
        method: str,
        url: str,
        *,
        expected: tuple[int, ...],
        is_repeatable: bool = True,
        **options: Any,
    ) -> requests.Response:
        answer = self._request(method, url, **options)
        if answer.status_code == 401 and is_repeatable:
            self._token = self._new_token(answer)
            answer = self._request(method, url, **options)
        if answer.status_code not in expected:
            raise Unavailable(
                f"registry {self._host} refuses {self._repository}: {_words(answer)}\n"
                "What has arrived is not sent again: push once more when that is fixed."
            )
        return answer

    def _request(self, method: str, url: str, **options: Any) -> requests.Response:
        headers = dict(options.pop("headers", {}))
        if self._scheme == "http":
            url = url.replace(f"https://{self._host}", f"http://{self._host}", 1)
        if self._token and urlsplit(url).netloc == self._host:
            headers["Authorization"] = self._token
        try:
            # Any certificate will do on this machine, where a registry may also speak plain HTTP.
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", InsecureRequestWarning)
                return self._session.request(
                    method,
                    url,
                    headers=headers,
                    timeout=_TIMEOUT_S,
                    verify=not self._is_local,
                    **options,
                )
        except requests.exceptions.SSLError as error:
            if not self._is_local or not url.startswith("https://"):
                raise Unavailable(
                    f"registry {self._host} shows no good certificate: {error}"
                ) from error
            self._scheme = "http"
            return self._request(method, url, headers=headers, **options)
        except requests.exceptions.RequestException as error:
            raise Unavailable(f"registry {self._host} does not answer: {error}") from error

    def _new_token(self, refused: requests.Response) -> str:
        challenge = read_challenge(refused.headers.get("WWW-Authenticate", ""))
        if challenge is None:
            return f"Basic {base64.b64encode(':'.join(self._login).encode()).decode()}"
        query = challenge.query(f"repository:{self._repository}:pull,push")
        answer = self._request("GET", challenge.realm, params=query, auth=self._login)
        try:
            found = answer.json() if answer.ok else {}
        except ValueError:
            found = {}
        token = token_of(found)
        if not token:
            raise Unavailable(f"registry {self._host} refuses the login: {_words(answer)}")
        return f"Bearer {token}"


class _Counted:
    """Chunks that pass, and what they come to."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._hash = hashlib.sha256()
        self._size = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._hash.update(chunk)
            self._size += len(chunk)
            if chunk:  # an empty one would end the body
                yield chunk

    @property
    def blob(self) -> Blob:
        return Blob(f"sha256:{self._hash.hexdigest()}", self._size)


def _words(answer: requests.Response) -> str:
    """Return a registry's own words for a refusal, in its form or in any other."""
    try:
        error = answer.json()["errors"][0]
        said = f"{error.get('code', '')}: {error.get('message', '')}".strip(": ")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        said = " ".join(answer.text.split())[:200]
    return f"{answer.status_code} {said}".strip()
