"""Logins of SWR, and the tokens that the registry asks for.

A temporary login holds until a moment that its password itself names, so nothing is stored. The
registry sends its clients here for a token (the Distribution project's token protocol), which
says for an hour what they may do: anything in organizations that exist, nothing elsewhere.

Source: https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import ssl
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import jwt

from local_modelarts.registry.certificates import Certificates
from local_modelarts.storage.paths import Identity

SERVICE: Final = "local-modelarts-registry"
ISSUER: Final = "local-modelarts"
_TOKEN_LIFETIME_S: Final = 3600
_STAMP_LENGTH: Final = 8


@dataclass(frozen=True)
class Login:
    """A user and a password for ``docker login``.

    Attributes:
        expires_at: UTC, seconds.
    """

    user: str
    password: str
    expires_at: int

    def __repr__(self) -> str:
        return f"Login(user={self.user!r}, password='***', expires_at={self.expires_at})"


class Logins:
    """Makes and checks logins and tokens."""

    def __init__(self, identity: Identity, certificates: Certificates) -> None:
        self._identity = identity
        self._key = certificates.key.read_bytes()
        leaf = ssl.PEM_cert_to_DER_cert(certificates.certificate.read_text())
        self._chain = [base64.b64encode(leaf).decode()]

    def temporary(self, project: str, lifetime_s: int) -> Login:
        """Return a login for a project (by name) that holds for ``lifetime_s``."""
        expires_at = int(time.time()) + lifetime_s
        stamp = f"{expires_at:0{_STAMP_LENGTH}x}"
        user = f"{project}@{self._identity.access_key}"
        return Login(user, stamp + self._seal(self._identity.access_key + stamp), expires_at)

    def allows(self, user: str, password: str) -> bool:
        """Tell whether a temporary login still holds, or a long-term one is right.

        The long-term password is HMAC-SHA256 of the access key with the secret key:
        https://docs.otc.t-systems.com/software-repository-container/umn/image_management/obtaining_a_long-term_docker_login_command.html
        """
        if user.rpartition("@")[2] != self._identity.access_key or not password.isascii():
            return False
        if hmac.compare_digest(password, self._seal(self._identity.access_key)):
            return True
        stamp, seal = password[:_STAMP_LENGTH], password[_STAMP_LENGTH:]
        if not hmac.compare_digest(seal, self._seal(self._identity.access_key + stamp)):
            return False
        return time.time() < int(stamp, 16)

    def token(self, access: Collection[dict[str, Any]]) -> str:
        """Return a token that the registry accepts for these accesses."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "sub": self._identity.access_key,
            "aud": SERVICE,
            "iat": now,
            "nbf": now - 10,
            "exp": now + _TOKEN_LIFETIME_S,
            "jti": uuid.uuid4().hex,
            "access": list(access),
        }
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"x5c": self._chain})

    def _seal(self, text: str) -> str:
        secret = self._identity.secret_key.encode()
        return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()


def read_scopes(scopes: Collection[str], organizations: Collection[str]) -> list[dict[str, Any]]:
    """Return what of the asked-for scopes ``repository:org/name:pull,push`` is granted."""
    granted = []
    for scope in scopes:
        kind, _, rest = scope.partition(":")
        name, _, actions = rest.rpartition(":")
        if kind == "repository" and name.partition("/")[0] in organizations:
            granted.append({"type": kind, "name": name, "actions": actions.split(",")})
    return granted
