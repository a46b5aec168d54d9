"""What the platform answers: to whom, to which names, and to what it does not know."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

import huaweicloudsdkswr.v2 as swr
import pytest
import requests
from huaweicloudsdkcore.exceptions.exceptions import (
    ClientRequestException,
    ServerResponseException,
)
from huaweicloudsdkmodelarts import v1 as modelarts
from local_cloud import Cloud, Rehearsal

from custom_image.engines.process import procfs


@pytest.fixture
def known(rehearsal: Rehearsal) -> Cloud:
    """The SDK's clients, for tests that leave no instance behind."""
    return rehearsal.up()


# --- who calls ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"secret_key": "wrong"}, "verify aksk signature fail"),
        ({"access_key": "NOBODY"}, "Get secretKey failed,ak:NOBODY,err:ak not exist"),
    ],
    ids=["wrong secret", "unknown access key"],
)
def test_a_wrong_key_is_refused_in_the_platforms_words(
    keys: dict[str, str], message: str, known: Cloud
) -> None:
    stranger = Cloud(known.platform, **keys)

    for call in (
        lambda: stranger.modelarts.list_image(modelarts.ListImageRequest()),
        lambda: stranger.swr.list_namespaces(swr.ListNamespacesRequest()),
    ):
        with pytest.raises(ClientRequestException) as refused:
            call()
        assert (refused.value.status_code, refused.value.error_code) == (401, "APIG.0301")
        assert refused.value.error_msg == f"Incorrect IAM authentication information: {message}"
        assert refused.value.request_id


def test_a_call_without_a_signature_is_refused(known: Cloud) -> None:
    url = f"{known.platform.endpoint}/v1/{known.platform.project_id}/images"

    answer = requests.get(url, timeout=5)

    assert (answer.status_code, answer.json()["error_code"]) == (401, "APIG.0301")


def test_another_project_is_refused(known: Cloud) -> None:
    with pytest.raises(ClientRequestException) as refused:
        known.call("GET", "/v1/0123456789abcdef/images")

    assert (refused.value.status_code, refused.value.error_code) == (403, "APIG.0302")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/{project_id}/pools"),
        ("POST", "/v1/{project_id}/training-jobs"),
        ("PUT", "/v1/{project_id}/images"),
        ("GET", "/nothing/of/the/platform"),
    ],
)
def test_an_unknown_call_is_501_and_named(method: str, path: str, known: Cloud) -> None:
    with pytest.raises(ServerResponseException) as refused:
        known.call(method, path)

    called = path.format(project_id=known.platform.project_id)
    assert refused.value.status_code == 501
    assert refused.value.error_msg == f"local_modelarts does not implement {method} {called}."


def test_it_listens_on_loopback_and_on_the_gateway_of_its_network_only(
    known: Cloud, rehearsal: Rehearsal
) -> None:
    gateway = urlsplit(known.platform.gateway_endpoint)
    registry_pid = int((rehearsal.folder / "registry/registry.pid").read_text())
    _, _, registry_port = known.platform.registry.partition(":")

    assert listening(known.platform.pid) == {
        ("127.0.0.1", gateway.port),
        (gateway.hostname, gateway.port),
        ("127.0.0.1", int(registry_port)),  # which passes on to the registry's program
    }
    assert {address for address, _ in listening(registry_pid)} == {"127.0.0.1"}
    for address in other_addresses(gateway.hostname):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, gateway.port), timeout=2).close()


def listening(pid: int) -> set[tuple[str, int]]:
    found = procfs.parse_listening(procfs.read_tcp_tables(pid))
    inodes = procfs.socket_inodes(pid)
    return {(s.address, s.port) for inode, s in found.items() if inode in inodes}


def other_addresses(gateway: str | None) -> set[str]:
    """Return the other addresses of this machine."""
    table = Path("/proc/net/fib_trie").read_text().splitlines()
    local = {
        table[number - 1].split()[-1]
        for number, line in enumerate(table)
        if "/32 host LOCAL" in line
    }
    return {address for address in local if not address.startswith("127.")} - {gateway}


# --- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "at", "over"),
    [
        ("name", "a" * 128, ["a" * 129, "", "Upper", "-a", "a-", "a b", "a/b"]),
        ("namespace", "a" * 64, ["a" * 65, "", "9a", "A", "a/b"]),
        ("tag", "T" * 64, ["t" * 65, "", "a b", "a:b"]),
        ("description", "d" * 512, ["d" * 513]),
    ],
)
def test_names_of_a_saved_image_at_and_over_their_limits(
    field: str, at: str, over: list[str], known: Cloud
) -> None:
    """What is within them gets as far as the instance, which is not there."""
    fields = {"name": "n", "namespace": "team", "tag": "t"}
    assert save_refusal(known, fields | {field: at}) == ("ModelArts.6309", False)
    for value in over:
        assert save_refusal(known, fields | {field: value}) == ("ModelArts.0104", True), value


def save_refusal(cloud: Cloud, fields: dict[str, str]) -> tuple[str, bool]:
    with pytest.raises(ClientRequestException) as refused:
        cloud.save("no-such-instance", **fields)
    assert refused.value.status_code == 400
    return refused.value.error_code, "is invalid" in refused.value.error_msg


@pytest.mark.parametrize(
    ("fields", "is_allowed"),
    [
        ({"name": "n" * 128}, True),
        ({"name": "n" * 129}, False),
        ({"name": "实例-1_a"}, True),
        ({"name": "a.b"}, False),
        ({"description": "d" * 512}, True),
        ({"description": "d" * 513}, False),
        ({"description": "a<b"}, False),
        ({"duration": 259_200_000}, True),
        ({"duration": 259_200_001}, False),
    ],
    ids=repr,
)
def test_fields_of_an_instance_at_and_over_their_limits(
    fields: dict[str, object], is_allowed: bool, known: Cloud
) -> None:
    """What is within them gets as far as the image or the instance, which is not there."""

    def call() -> None:
        if "duration" in fields:
            known.modelarts.start_notebook(modelarts.StartNotebookRequest(id="none", **fields))
        elif "name" in fields:
            known.create_notebook(image_id="none", **fields)
        else:
            request = modelarts.NotebookUpdateRequest(**fields)
            known.modelarts.update_notebook(modelarts.UpdateNotebookRequest("none", request))

    with pytest.raises(ClientRequestException) as refused:
        call()

    within = {"ModelArts.6309"} if "name" not in fields else {"ModelArts.6797"}
    assert (refused.value.error_code in within) == is_allowed
    assert is_allowed or refused.value.error_code == "ModelArts.0104"


def test_the_shortest_lease_is_the_platforms_where_nothing_else_is_set(
    rehearsal: Rehearsal,
) -> None:
    try:
        strict = rehearsal.restart("lease_shortest_ms=3600000")
        for duration_ms, code in ((3_600_000, "ModelArts.6309"), (3_599_999, "ModelArts.0104")):
            request = modelarts.StartNotebookRequest(id="none", duration=duration_ms)
            with pytest.raises(ClientRequestException) as refused:
                strict.modelarts.start_notebook(request)
            assert refused.value.error_code == code
    finally:
        rehearsal.restart()


@pytest.mark.parametrize(
    ("name", "is_allowed"),
    [
        ("a" * 64, True),
        ("a" * 65, False),
        ("a__b", True),
        ("a___b", False),
        ("a.b-c", True),
        ("a.-b", False),
        ("9a", False),
        ("a_", False),
        ("A", False),
        ("library", False),
    ],
)
def test_names_of_organizations_at_and_over_their_limits(
    name: str, is_allowed: bool, known: Cloud
) -> None:
    if is_allowed:
        known.create_organization(name)
        known.swr.delete_namespaces(swr.DeleteNamespacesRequest(namespace=name))
        return
    with pytest.raises(ClientRequestException) as refused:
        known.create_organization(name)
    assert refused.value.error_code == "SVCSTG.SWR.4000014"


@pytest.mark.parametrize(
    ("name", "is_allowed"),
    [("9" * 128, True), ("9" * 129, False), ("a/b", True), ("a//b", False), ("a-", False)],
)
def test_names_of_repositories_at_and_over_their_limits(
    name: str, is_allowed: bool, known: Cloud
) -> None:
    body = swr.CreateRepoRequestBody(repository=name, is_public=False)
    request = swr.CreateRepoRequest(namespace="team", body=body)
    if not is_allowed:
        with pytest.raises(ClientRequestException) as refused:
            known.swr.create_repo(request)
        assert refused.value.error_code == "SVCSTG.SWR.4000014"
        return
    known.swr.create_repo(request)
    path = name.replace("/", "$")
    shown = known.swr.show_repository(swr.ShowRepositoryRequest(namespace="team", repository=path))
    assert (shown.name, shown.num_images) == (name, 0)
    known.swr.delete_repo(swr.DeleteRepoRequest(namespace="team", repository=path))


# --- quotas and what is not there -----------------------------------------------------------------


def test_quotas_of_the_platform_hold_where_nothing_else_is_set(rehearsal: Rehearsal) -> None:
    try:
        strict = rehearsal.restart("organizations=1", "notebooks=0")
        with pytest.raises(ClientRequestException) as organizations:
            strict.create_organization("one-too-many")
        with pytest.raises(ClientRequestException) as notebooks:
            strict.create_notebook()
    finally:
        rehearsal.restart()

    assert organizations.value.status_code == 403
    assert notebooks.value.error_code == "ModelArts.6302"


def test_what_is_not_there_is_said_so(known: Cloud) -> None:
    for call, status_code, error_code in (
        (lambda: known.notebook("none"), 400, "ModelArts.6309"),
        (lambda: known.start("none"), 400, "ModelArts.6309"),
        (lambda: known.image("none"), 400, "ModelArts.6797"),
        (
            lambda: known.register(swr_path=f"{known.platform.registry}/team/none:1.0"),
            400,
            "ModelArts.6797",
        ),
        (lambda: known.show_tag("none", "1.0"), 404, "SVCSTG.SWR.4040010"),
        (
            lambda: known.swr.show_namespace(swr.ShowNamespaceRequest(namespace="none")),
            404,
            "SVCSTG.SWR.4040010",
        ),
    ):
        with pytest.raises(ClientRequestException) as refused:
            call()
        assert (refused.value.status_code, refused.value.error_code) == (status_code, error_code)
