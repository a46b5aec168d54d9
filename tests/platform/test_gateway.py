"""The gateway: who calls, how much, how long, and what becomes of connections and bodies."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator

import pytest
import requests
from gateway_bench import IDENTITY, SERVICE_ID, Bench, after, bench, echo, error, reply
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.sdk_request import SdkRequest

from local_modelarts.http.iam_tokens import Tokens


@pytest.fixture(scope="module")
def shared() -> Iterator[Bench]:
    with bench(predict_timeout_s=2) as found:
        yield found


@pytest.fixture
def gate(shared: Bench) -> Bench:
    """A gateway that gives up after 2 s, before a server that echoes."""
    shared.route(echo)
    return shared


# --- who calls ------------------------------------------------------------------------------------


def signed(gate: Bench, body: str = "{}", secret: str = "SECRET") -> dict[str, str]:
    """Return the headers of a request that the SDK has signed."""
    request = SdkRequest(
        method="POST",
        schema="http",
        host=f"127.0.0.1:{gate.port}",
        resource_path=f"/v1/infers/{SERVICE_ID}",
        uri=f"/v1/infers/{SERVICE_ID}",
        query_params=[],
        header_params={"Content-Type": "application/json"},
        body=body,
    )
    keys = BasicCredentials(IDENTITY.access_key, secret, IDENTITY.project_id)
    headers: dict[str, str] = keys.sign_request(request).header_params
    return headers


def test_a_signed_request_and_one_with_a_token_come_through(gate: Bench) -> None:
    gate.route(echo, auth="TOKEN")
    token, _ = Tokens(IDENTITY, 60).make()

    assert requests.post(gate.url, "{}", headers=signed(gate)).status_code == 200
    answer = requests.post(gate.url, b"abc", headers={"X-Auth-Token": token})

    assert answer.text.startswith("POST / HTTP/1.1|3|")
    assert "x-auth-token" not in answer.text, "an instance is not told the caller's token"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"X-Auth-Token": "made-up"}, "decrypt token fail"),
        ({"X-Auth-Token": ""}, "x-auth-token not found"),
        ({"X-Auth-Token": Tokens(IDENTITY, -1).make()[0]}, "token expires, expires_at="),
    ],
    ids=["wrong token", "no token", "expired token"],
)
def test_a_wrong_token_is_refused_in_the_gateways_words(
    change: dict[str, str], words: str, gate: Bench
) -> None:
    gate.route(echo, auth="TOKEN")

    found = error(requests.post(gate.url, b"abc", headers=change))

    assert found[:2] == (401, "APIG.0301")
    assert found[2].startswith(f"Incorrect IAM authentication information: {words}")


def test_a_wrong_signature_is_refused(gate: Bench) -> None:
    gate.route(echo, auth="TOKEN")
    expired = signed(gate) | {"X-Sdk-Date": "20200101T000000Z"}

    for headers, body in (
        (signed(gate, secret="wrong"), "{}"),
        (signed(gate), '{"another": "body"}'),
        (expired, "{}"),
    ):
        found = error(requests.post(gate.url, body, headers=headers))
        assert found[:2] == (401, "APIG.0301")
        assert "verify aksk signature fail" in found[2]


# --- where to -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("", 200, ""),
        ("/", 200, ""),
        ("/predict", 404, "APIG.0101"),
        ("//", 404, "APIG.0101"),
        ("/%2e%2e/", 404, "APIG.0101"),
    ],
)
def test_only_the_declared_paths_are_there(path: str, status: int, code: str, gate: Bench) -> None:
    answer = requests.post(f"{gate.url}{path}", b"x")

    assert answer.status_code == status
    if code:
        assert error(answer)[1] == code


def test_another_method_an_unknown_service_and_none_are_refused(gate: Bench) -> None:
    base = gate.url.rpartition("/")[0]

    assert error(requests.get(gate.url)) == (405, "APIG.0101", "Method Not Allowed")
    assert error(requests.post(f"{base}/unknown", b"x")) == (
        404,
        "APIG.0101",
        "The API does not exist or has not been published in the environment",
    )
    assert error(requests.post(f"{base}/", b"x"))[:2] == (400, "ModelArts.4201")


def test_a_service_without_a_ready_instance_is_unavailable(gate: Bench) -> None:
    gate.route()

    assert error(requests.post(gate.url, b"x"))[:2] == (503, "ModelArts.4203")


def test_path_query_and_headers_reach_the_instance(gate: Bench) -> None:
    gate.route(echo, apis=[])

    answer = requests.get(f"{gate.url}/a%20b/c?x=1&y=%2F", headers={"X-Mine": "1"})

    line, size, headers = answer.text.split("|")
    assert (line, size) == ("GET /a%20b/c?x=1&y=%2F HTTP/1.1", "0")
    assert "x-mine" in headers
    assert answer.headers["X-Served-By"] == "model 1.0.0 instance-0"


# --- how much, how long ---------------------------------------------------------------------------


def test_a_body_of_13_mb_is_refused_and_one_of_12_is_not(gate: Bench) -> None:
    refusal = (413, "APIG.0201", "Request entity too large")

    def chunks(mib: int) -> Iterator[bytes]:
        yield from (bytes(1 << 20) for _ in range(mib))

    assert error(requests.post(gate.url, bytes(13 << 20))) == refusal
    assert f"|{12 << 20}|" in requests.post(gate.url, bytes(12 << 20)).text
    assert f"|{12 << 20}|" in requests.post(gate.url, chunks(12)).text
    assert error(requests.post(gate.url, chunks(13))) == refusal


def test_a_service_of_v2_sets_its_own_limits(gate: Bench) -> None:
    gate.route(echo, limit={"body_bytes": 10, "requests_per_s": 0.02}, generation=2)

    assert error(requests.post(gate.url, bytes(11)))[:2] == (413, "ModelArts.4104")
    assert requests.post(gate.url, bytes(10)).status_code == 200
    assert error(requests.post(gate.url, bytes(10)))[:2] == (429, "ModelArts.4206")


def test_an_answer_that_comes_too_late_is_4205(gate: Bench) -> None:
    """The limit of 40 s, here set to 2 s."""
    gate.route(after(5, reply(b"late")))
    began = time.monotonic()

    found = error(requests.post(gate.url, b"x"))

    assert 2 <= time.monotonic() - began < 5
    assert found == (504, "ModelArts.4205", "Connection time out.")


@pytest.mark.true_time
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("pause_s", "status"), [(39, 200), (41, 504)])
def test_an_answer_after_39_s_arrives_and_one_after_41_s_does_not(
    pause_s: int, status: int
) -> None:
    with bench() as gate:
        gate.route(after(pause_s, reply(b"slow")))

        assert requests.post(gate.url, b"x", timeout=60).status_code == status


def test_the_traffic_limit_holds_for_each_service() -> None:
    with bench(requests_per_s=5) as gate:
        gate.route(echo)
        with requests.Session() as session:
            codes = Counter(session.post(gate.url, b"x").status_code for _ in range(60))

    assert codes[200] >= 5
    assert codes[429] >= 10
