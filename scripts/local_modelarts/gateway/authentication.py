"""Authentication of a service's callers: token, signature or app in v1; token or API key in v2.

Sources: https://support.huaweicloud.com/inference-modelarts/inference-modelarts-0025.html and
inference-modelarts-0097.md (v1), https://support.huaweicloud.com/modelarts_faq/modelarts_05_0025.html
(v2: no signature, no app).
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from custom_image.specification import MIB, SIGNED_BODY
from local_modelarts.errors import wrong_api_key, wrong_signature
from local_modelarts.gateway.refusals import V1, V2, body_too_large, wrong_app
from local_modelarts.gateway.request import Request
from local_modelarts.http.aksk_signature import ALGORITHM, UNSIGNED, check_signature
from local_modelarts.http.api_keys import ApiKeys
from local_modelarts.http.iam_tokens import Tokens
from local_modelarts.platform import Platform
from local_modelarts.storage.paths import Identity
from local_modelarts.storage.resources import Service

APP_CODE: Final = "x-apig-appcode"
APP_KEY: Final = "apikey"
_BEARER: Final = "bearer "


class Authentication:
    """Checks who calls."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._tokens = Tokens(platform.identity, platform.settings.token_s)
        self._api_keys = ApiKeys(platform)

    async def check(self, request: Request, row: Service, limit_bytes: int) -> bytes | None:
        """Check a request to a service; return its body where it was read for that.

        What proves the caller is taken out of the headers that an instance is sent.

        Raises:
            ApiError: 401, 403 or 413.
        """
        if row.auth == "NONE":
            return None
        if row.auth == "API_KEY":
            request.hide("authorization")
            scheme, key = _split(request.headers.get("authorization", ""))
            if scheme != _BEARER:
                raise wrong_api_key("the header Authorization: Bearer API_KEY is missing")
            self._api_keys.check(key, row.id)
            return None
        if token := request.headers.get("x-auth-token"):
            self._tokens.check(token)
            return None
        if row.generation == V2:
            raise wrong_signature("x-auth-token not found")
        for name in (APP_CODE, APP_KEY):
            if given := request.headers.get(name):
                request.hide(name)
                if not hmac.compare_digest(
                    given.encode(), app_of(self._platform.identity)[name].encode()
                ):
                    raise wrong_app(f"app not found, {name} is wrong")
                return None
        return await self._check_signature(request, limit_bytes)

    async def _check_signature(self, request: Request, limit_bytes: int) -> bytes | None:
        is_read = (
            request.headers.get("authorization", "").startswith(ALGORITHM)
            and request.headers.get("x-sdk-content-sha256") != UNSIGNED
        )
        most_bytes = min(limit_bytes, SIGNED_BODY.value * MIB)
        if is_read and request.declared_bytes > most_bytes:
            raise body_too_large(V1)
        body = await request.read(most_bytes) if is_read else None
        identity, settings = self._platform.identity, self._platform.settings
        check_signature(
            request.method,
            request.raw_path,
            request.query,
            request.headers,
            # Not read, as its hash is not signed: then all that counts is that there is one.
            b"unread" if body is None else body,
            keys={identity.access_key: identity.secret_key},
            age_s=settings.signature_age_s,
        )
        return body


def app_of(identity: Identity) -> dict[str, str]:
    """Return the one app that is authorized for every service of v1, by the headers it is named in.

    Inferred: on the platform an app is made in the console and authorized for a service.
    """
    return {
        name: hmac.new(identity.secret_key.encode(), name.encode(), hashlib.sha256).hexdigest()[:32]
        for name in (APP_CODE, APP_KEY)
    }


def _split(authorization: str) -> tuple[str, str]:
    scheme = authorization[: len(_BEARER)].lower()
    return scheme, authorization[len(_BEARER) :].strip()
