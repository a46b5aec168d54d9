"""The AK/SK signature ``SDK-HMAC-SHA256`` of a call, computed again from the request.

Source: https://support.huaweicloud.com/intl/en-us/devg-apisign/api-sign-algorithm.html, and
``huaweicloudsdkcore.signer.signer``, whose requests must pass unchanged. By hand: the
SDK only signs, and nothing public checks.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import parse_qsl, quote, unquote

from local_modelarts.errors import wrong_signature

ALGORITHM: Final = "SDK-HMAC-SHA256"
_DATE_FORMAT: Final = "%Y%m%dT%H%M%SZ"
_AUTHORIZATION: Final = re.compile(
    rf"{ALGORITHM} Access=(?P<access>[^,\s]+), ?"
    r"SignedHeaders=(?P<headers>[^,\s]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
UNSIGNED: Final = "UNSIGNED-PAYLOAD"


def check_signature(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    keys: Mapping[str, str],
    age_s: int,
) -> str:
    """Return the access key that signed a request.

    ``path`` and ``query`` are as sent, percent-encoded; ``headers`` stand under lower-case names,
    ``keys`` (secrets) under access keys. The request's date and this clock may be ``age_s`` apart.

    Raises:
        ApiError: 401; there is no signature, it is too old, of an unknown key, or wrong.
    """
    match = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if match is None:
        raise wrong_signature("x-auth-token not found")  # what the gateway looks for next
    access = match["access"]
    if access not in keys:
        raise wrong_signature(f"Get secretKey failed,ak:{access},err:ak not exist")
    date = headers.get("x-sdk-date", "")
    signed = match["headers"].split(";")
    if not {"host", "x-sdk-date"} <= set(signed) or not _is_recent(date, age_s):
        raise wrong_signature("verify aksk signature fail, the signature is expired or undated")
    payload = headers.get("x-sdk-content-sha256") if "x-sdk-content-sha256" in signed else None
    digest = hashlib.sha256(body).hexdigest()
    if payload not in (None, UNSIGNED, digest):
        raise wrong_signature("verify aksk signature fail, the body is not the one signed")
    canonical = "\n".join(
        [
            method.upper(),
            _canonical_path(path),
            _canonical_query(query),
            *(f"{name}:{headers.get(name, '').strip()}" for name in signed),
            "",
            match["headers"],
            payload if payload and body else digest,
        ]
    )
    if not hmac.compare_digest(_sign(canonical, date, keys[access]), match["signature"]):
        raise wrong_signature("verify aksk signature fail")
    return access


def _sign(canonical: str, date: str, secret: str) -> str:
    text = f"{ALGORITHM}\n{date}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    return hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()


def _is_recent(date: str, age_s: int) -> bool:
    try:
        then = datetime.strptime(date, _DATE_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return False
    return abs((datetime.now(UTC) - then).total_seconds()) <= age_s


def _canonical_path(path: str) -> str:
    canonical = "/".join(quote(part, safe="~") for part in unquote(path).split("/"))
    return canonical if canonical.endswith("/") else f"{canonical}/"


def _canonical_query(query: str) -> str:
    pairs = sorted(parse_qsl(query, keep_blank_values=True))
    return "&".join(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in pairs)
