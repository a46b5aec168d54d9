"""Signatures and logins, against the official SDK's own signer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest
from huaweicloudsdkcore.signer.signer import Signer
from hypothesis import given, settings
from hypothesis import strategies as st

from local_modelarts.errors import ApiError
from local_modelarts.http.aksk_signature import check_signature
from local_modelarts.registry.certificates import ensure_certificates
from local_modelarts.registry.logins import Logins, read_scopes
from local_modelarts.storage.paths import Identity

KEYS = {"KNOWN": "secret"}
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=12)


def signed(
    method: str = "POST",
    parts: list[str] | None = None,
    query: list[tuple[str, object]] | None = None,
    body: str = "",
    headers: dict[str, str] | None = None,
    secret: str = "secret",
) -> tuple[str, str, str, dict[str, str], bytes]:
    """Return the request that the SDK would send: method, path, query, headers, body."""
    path = "/" + "/".join(quote(part, safe="") for part in (parts or ["v1", "images"]))
    request = SdkRequest(
        method=method,
        schema="http",
        host="127.0.0.1:8080",
        resource_path=path,
        query_params=query or [],
        header_params={"Content-Type": "application/json"} | (headers or {}),
        body=body,
        stream=False,
        signing_algorithm=None,
    )
    request = Signer(BasicCredentials("KNOWN", secret, "project")).sign(request)
    uri, _, sent_query = request.uri.partition("?")
    lower = {name.lower(): value for name, value in request.header_params.items()}
    content = request.body if isinstance(request.body, bytes) else (request.body or "").encode()
    return method, uri, sent_query, lower, content


def check(request: tuple[str, str, str, dict[str, str], bytes]) -> str:
    return check_signature(*request, keys=KEYS, age_s=900)


@settings(max_examples=200, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    parts=st.lists(WORDS.filter(lambda part: "/" not in part), min_size=1, max_size=4),
    query=st.lists(st.tuples(WORDS.filter(bool), WORDS | st.booleans() | st.integers())),
    body=WORDS,
)
def test_whatever_the_sdk_signs_is_accepted(method, parts, query, body) -> None:
    unique = list({name: (name, value) for name, value in query}.values())

    assert check(signed(method, parts, unique, body)) == "KNOWN"


@pytest.mark.parametrize(
    "tamper",
    [
        lambda m, p, q, h, b: ("GET", p, q, h, b),
        lambda m, p, q, h, b: (m, p + "x", q, h, b),
        lambda m, p, q, h, b: (m, p, "type=ALL", h, b),
        lambda m, p, q, h, b: (m, p, q, h | {"host": "elsewhere"}, b),
        lambda m, p, q, h, b: (m, p, q, h | {"x-sdk-date": in_a_minute()}, b),
        lambda m, p, q, h, b: (m, p, q, h, b'{"is_force": true}'),
        lambda m, p, q, h, b: (m, p, q, h, b""),
    ],
    ids=["method", "path", "query", "host", "date", "body", "no body"],
)
def test_a_request_that_was_changed_on_its_way_is_refused(tamper) -> None:
    request = signed(query=[("type", "DEDICATED")], body='{"is_force": false}')
    assert check(request) == "KNOWN"

    with pytest.raises(ApiError, match="verify aksk signature fail"):
        check(tamper(*request))


def in_a_minute() -> str:
    return (datetime.now(UTC) + timedelta(minutes=1)).strftime("%Y%m%dT%H%M%SZ")


def dated(minutes: float) -> dict[str, str]:
    moment = datetime.now(UTC) + timedelta(minutes=minutes)
    return {"X-Sdk-Date": moment.strftime("%Y%m%dT%H%M%SZ")}


@pytest.mark.parametrize("minutes", [-16, 16, -60 * 24])
def test_a_signature_whose_date_is_more_than_15_minutes_off_is_refused(minutes: float) -> None:
    with pytest.raises(ApiError, match="expired"):
        check(signed(headers=dated(minutes)))


@pytest.mark.parametrize("minutes", [-14, 14])
def test_a_signature_whose_date_is_less_than_15_minutes_off_is_accepted(minutes: float) -> None:
    assert check(signed(headers=dated(minutes))) == "KNOWN"


@pytest.mark.parametrize(
    "header",
    ["", "Basic YTpi", "SDK-HMAC-SHA256 Access=KNOWN", "V11-HMAC-SHA256 Credential=KNOWN/x"],
)
def test_a_request_that_is_not_signed_this_way_is_refused(header: str) -> None:
    method, path, query, headers, body = signed()

    with pytest.raises(ApiError) as refused:
        check((method, path, query, headers | {"authorization": header}, body))
    assert (refused.value.status, refused.value.code) == (401, "APIG.0301")


def test_a_signature_that_leaves_out_the_date_is_refused() -> None:
    method, path, query, headers, body = signed()
    header = headers["authorization"].replace("x-sdk-date", "content-type")

    with pytest.raises(ApiError, match="expired or undated"):
        check((method, path, query, headers | {"authorization": header}, body))


# --- logins of the registry -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def logins(tmp_path_factory: pytest.TempPathFactory) -> Logins:
    certificates = ensure_certificates(Path(tmp_path_factory.mktemp("certificates")))
    return Logins(Identity("id", "project", "KNOWN", "secret", 1, 2), certificates)


def test_a_temporary_login_ends_when_it_says(logins: Logins) -> None:
    lasting, ended = logins.temporary("local", 60), logins.temporary("local", -1)

    assert logins.allows(lasting.user, lasting.password)
    assert not logins.allows(ended.user, ended.password)
    assert not logins.allows(lasting.user, ended.password[:8] + lasting.password[8:])
    assert not logins.allows("local@OTHER", lasting.password)
    assert lasting.password not in repr(lasting)


def test_only_repositories_of_organizations_that_exist_are_granted() -> None:
    asked = [
        "repository:team/a/b:pull,push",
        "repository:other/a:pull",
        "registry:catalog:*",
        "nonsense",
    ]

    assert read_scopes(asked, {"team"}) == [
        {"type": "repository", "name": "team/a/b", "actions": ["pull", "push"]}
    ]


def test_secrets_are_in_no_repr() -> None:
    assert "secret'" not in repr(Identity("id", "project", "KNOWN", "secret", 1, 2))
