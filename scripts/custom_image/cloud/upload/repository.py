"""A repository of a registry that takes blobs and a manifest, as from an engine's push.

By hand: oras wants each layer as a file first, as benchmarks/libraries.md shows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import urljoin

import requests

from custom_image.registry_client import Blob, RegistryClient

_SILENCE_S: Final = 300.0
_ADVICE: Final = "What has arrived is not sent again: push once more when that is fixed."


class Repository(RegistryClient):
    """One repository of a registry, with the login of one who may push."""

    def __init__(self, host: str, name: str, user: str, password: str) -> None:
        super().__init__(host, user, password, advice=_ADVICE, silence_s=_SILENCE_S)
        self._name = name
        self._scope = f"repository:{name}:pull,push"

    def find(self, digest: str) -> Blob | None:
        """Return a blob that is there, or None."""
        return self.find_blob(self._name, digest, self._scope)

    def send(self, chunks: Iterable[bytes]) -> Blob:
        """Send a blob while it arrives; its digest and size are known at the end."""
        path = f"/v2/{self._name}/blobs/uploads/"
        started = self.ask("POST", path, self._scope, expected=(202,))
        counted = _Counted(chunks)
        sent = self.ask(
            "PATCH",
            _location(started),
            self._scope,
            expected=(202,),
            data=iter(counted),
            headers={"Content-Type": "application/octet-stream"},
            is_repeatable=False,
        )
        blob = counted.blob
        query = {"digest": blob.digest}
        self.ask("PUT", _location(sent), self._scope, expected=(201,), params=query)
        return blob

    def put_manifest(self, tag: str, media_type: str, manifest: bytes) -> None:
        """Put a manifest under a tag."""
        headers = {"Content-Type": media_type}
        path = f"/v2/{self._name}/manifests/{tag}"
        self.ask("PUT", path, self._scope, expected=(201,), data=manifest, headers=headers)


def _location(answer: requests.Response) -> str:
    return urljoin(answer.url, answer.headers.get("Location", ""))


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
