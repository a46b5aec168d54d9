"""Credentials of a prediction: a signature or a token in v1; an API key or a token in v2.

Source: https://support.huaweicloud.com/modelarts_faq/modelarts_05_0025.html (2026-09-15)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import requests

from custom_image.cloud.api.credentials import find_api_key, find_token
from custom_image.errors import CloudRefused, Unavailable, UsageError
from custom_image.platform_api import API_KEY_LIFE_H, TOKEN_METHOD, TOKENS
from custom_image.specification import AUTHENTICATION_V2, SIGNED_BODY

if TYPE_CHECKING:
    from custom_image.cloud.api.client import Cloud

V1: Final = "v1"
V2: Final = "v2"
TOKEN, API_KEY, NONE = AUTHENTICATION_V2
TOKEN_HEADER: Final = "X-Auth-Token"
KEY_HEADER: Final = "Authorization"
_MB: Final = 2**20
_ANSWER_TIMEOUT_S: Final = 10


@dataclass(frozen=True)
class Access:
    """How a service is called.

    Attributes:
        authentication: of v2: ``TOKEN``, ``API_KEY`` or ``NONE``.
    """

    cloud: Cloud
    generation: str = V1
    authentication: str = TOKEN

    def headers(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, token: str = ""
    ) -> dict[str, str]:
        """Return the headers of a request to the gateway, with what proves who calls.

        ``token``: of IAM; empty for that of the environment, or for what the service asks for.

        Raises:
            UsageError: the service asks for a token and none is there, or the body is too large to
                be signed.
            CloudRefused: no temporary API key is made.
        """
        if self.generation == V2 and self.authentication == NONE:
            return dict(headers)
        if self.generation == V2 and self.authentication == API_KEY and not token:
            return {**headers, KEY_HEADER: f"Bearer {find_api_key() or self._temporary_key()}"}
        if token := token or find_token():
            return {**headers, TOKEN_HEADER: token}
        if self.generation == V2:
            return {**headers, TOKEN_HEADER: self._token()}
        if len(body) > SIGNED_BODY.value * _MB:
            raise UsageError(
                f"the request: expected at most {SIGNED_BODY} where it is signed, "
                f"found {len(body) / _MB:.1f} MB.\nSet MODELARTS_TOKEN to a token of IAM."
            )
        return signed_headers(self.cloud, method, url, headers, body)

    def _temporary_key(self) -> str:
        """Return an API key of one hour, made once for a client."""
        if not self.cloud.temporary_api_key:
            from huaweicloudsdkmodelarts.v1 import (
                CreateInferTempApiKeyRequest,
                CreateTempApiKeyReq,
            )

            body = CreateTempApiKeyReq(expire_time=API_KEY_LIFE_H.first)
            made = self.cloud.ask(
                lambda: self.cloud.modelarts.create_infer_temp_api_key(
                    CreateInferTempApiKeyRequest(body=body)
                ),
                what="make a temporary API key",
            )
            self.cloud.temporary_api_key = str(made.api_key) if made else "API_KEY"
        return self.cloud.temporary_api_key

    def _token(self) -> str:
        """Return a token of the local ModelArts, which makes one for whoever has its keys."""
        platform = self.cloud.platform
        if platform is None:
            raise UsageError(
                "the service: expected a token of IAM, found none.\n"
                "Set MODELARTS_TOKEN to one, or deploy it with --auth API_KEY."
            )
        keys = self.cloud.keys
        pair = {"access": {"key": keys.ak}, "secret": {"key": keys.sk}}
        identity = {"methods": [TOKEN_METHOD], TOKEN_METHOD: pair}
        url = f"{platform.endpoint}{TOKENS}"
        try:
            answer = requests.post(
                url, json={"auth": {"identity": identity}}, timeout=_ANSWER_TIMEOUT_S
            )
        except requests.RequestException as error:
            raise Unavailable(f"POST {url}: {error}") from error
        if answer.status_code != HTTPStatus.CREATED:
            raise CloudRefused(f"POST {url}: {answer.status_code} {answer.text[:200]}")
        return answer.headers["X-Subject-Token"]


def signed_headers(
    cloud: Cloud, method: str, url: str, headers: Mapping[str, str], body: bytes
) -> dict[str, str]:
    """Return the headers of a request to the gateway of v1, signed by the SDK."""
    from huaweicloudsdkcore.sdk_request import SdkRequest

    parts = urlsplit(url)
    request = SdkRequest(
        method=method.upper(),
        schema=parts.scheme,
        host=parts.netloc,
        resource_path=parts.path,
        query_params=[],
        header_params=dict(headers),
        body=body,
    )
    return dict(cloud.keys.sign_request(request).header_params)
