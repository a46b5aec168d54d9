"""Tokens for ``X-Auth-Token``: made for whoever has the keys, checked without being stored.

Of IAM's ways to get one only ``hw_ak_sk`` is here, because a local platform has no passwords.
Source: https://support.huaweicloud.com/intl/en-us/api-iam/iam_30_0001.html; the method itself is
inferred.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from custom_image.platform_api import TOKEN_METHOD
from local_modelarts.errors import wrong_signature
from local_modelarts.http.messages import Answer, Call
from local_modelarts.storage.paths import Identity

_STAMP: Final = "%Y-%m-%dT%H:%M:%S.000000Z"


class Tokens:
    """Makes and checks tokens."""

    def __init__(self, identity: Identity, lifetime_s: int) -> None:
        self._identity = identity
        self._lifetime_s = lifetime_s

    def make(self) -> tuple[str, float]:
        """Return a token and when it expires (UTC, seconds)."""
        expires_at = time.time() + self._lifetime_s
        text = f"{int(expires_at):x}.{secrets.token_hex(16)}"
        return f"{text}.{self._seal(text)}", expires_at

    def check(self, token: str) -> None:
        """Refuse a token that is not ours, or is too old.

        Raises:
            ApiError: 401.
        """
        text, _, seal = token.rpartition(".")
        if not token.isascii() or not hmac.compare_digest(seal, self._seal(text)):
            raise wrong_signature("decrypt token fail")
        expires_at = int(text.partition(".")[0], 16)
        if time.time() >= expires_at:
            stamp = datetime.fromtimestamp(expires_at, UTC).strftime(_STAMP)
            raise wrong_signature(f"token expires, expires_at={stamp}")

    def create(self, call: Call) -> Answer:
        """Answer a request for a token.

        Raises:
            ApiError: 401; the keys are not ours.
        """
        given = _member(call.body, "auth", "identity", TOKEN_METHOD)
        keys = (_member(given, "access").get("key"), _member(given, "secret").get("key"))
        if keys != (self._identity.access_key, self._identity.secret_key):
            raise wrong_signature("the keys are not known; this platform knows hw_ak_sk only")
        token, expires_at = self.make()
        body = {
            "token": {
                "methods": [TOKEN_METHOD],
                "issued_at": datetime.now(UTC).strftime(_STAMP),
                "expires_at": datetime.fromtimestamp(expires_at, UTC).strftime(_STAMP),
                "project": {"id": self._identity.project_id, "name": "local"},
            }
        }
        return Answer(body, 201, {"X-Context-Token": token})

    def _seal(self, text: str) -> str:
        key = f"token {self._identity.secret_key}".encode()
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _member(document: object, *names: str) -> Mapping[str, Any]:
    for name in names:
        document = document.get(name) if isinstance(document, Mapping) else None
    return document if isinstance(document, Mapping) else {}
