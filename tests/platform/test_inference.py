"""Inference 2.0 by the official SDK's own methods."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import requests
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkmodelarts import v1 as modelarts
from local_cloud import QUICK, Cloud, Rehearsal, wait_for
from local_models import docker
from local_services import DRAIN, seven, token

HEALTH = modelarts.Health(
    check_method="HTTP",
    url="/health",
    initial_delay_seconds=1,
    period_seconds=1,
    timeout_seconds=5,
    failure_threshold=500,
)

GRACE = modelarts.TerminationGrace(termination_grace_period_seconds=200)
"""Longer than what DRAIN asks for: the platform's own 30 s would be less."""


def group(address: str, **fields: Any) -> modelarts.GroupConfig:
    unit = {
        "image": modelarts.ImageInfo(source="SWR", swr_path=address),
        "envs": DRAIN,
        "termination_grace": GRACE,
        "port": 8080,
        "startup_health": HEALTH,
        "readiness_health": HEALTH,
        "custom_spec": modelarts.CustomResourceSpec(cpu=1, memory=1024),
        "security_config": modelarts.ServiceSecurityConfig(user_id=1000, group_id=100),
    } | fields
    return modelarts.GroupConfig(
        pool_id="pool", count=1, weight=100, unit_configs=[modelarts.UnitConfig(**unit)]
    )


class Inference:
    """One service of Inference 2.0."""

    def __init__(self, cloud: Cloud, name: str, address: str, **fields: Any) -> None:
        self.client = cloud.modelarts
        body = {
            "name": name,
            "type": "REAL_TIME",
            "deploy_type": "SINGLE",
            "group_configs": [group(address)],
        } | fields
        request = modelarts.CreateInferServiceRequest(body=modelarts.ServiceCreateRequest(**body))
        self.id = self.client.create_infer_service(request).id

    def show(self) -> Any:
        return self.client.show_infer_service(modelarts.ShowInferServiceRequest(service_id=self.id))

    def settled(self) -> Any:
        busy = ("DEPLOYING", "UPGRADING", "STOPPING")
        return wait_for(lambda: s if (s := self.show()).status not in busy else None, "it rests")

    def update(self, **fields: Any) -> None:
        body = modelarts.ServiceUpdateRequest(**fields)
        self.client.update_infer_service(
            modelarts.UpdateInferServiceRequest(service_id=self.id, body=body)
        )

    def events(self) -> list[str]:
        request = modelarts.ListInferServiceEventsRequest(service_id=self.id, limit=100)
        return [event.event_info for event in self.client.list_infer_service_events(request).data]

    def pods(self) -> list[Any]:
        request = modelarts.ListInferDeploymentPodsRequest(
            id=self.id, deployment_name="deployment-0", name="all"
        )
        found: list[Any] = self.client.list_infer_deployment_pods(request).data
        return found

    def pod_events(self) -> list[Any]:
        request = modelarts.ListInferDeploymentPodEventsRequest(
            id=self.id, deployment_name="deployment-0", instance_name="all", name="all"
        )
        found: list[Any] = self.client.list_infer_deployment_pod_events(request).body
        return found

    def delete(self) -> Any:
        body = modelarts.DeleteServicesRequest(service_ids=[self.id])
        request = modelarts.BatchDeleteInferServicesRequest(body=body)
        return self.client.batch_delete_infer_services(request).service_responses


@pytest.fixture(scope="module")
def service(quick: Cloud, serving_address: str) -> Iterator[Inference]:
    service = Inference(quick, "digits-2", serving_address)
    assert service.settled().status == "RUNNING", service.events()
    yield service
    service.delete()


def predict(quick: Cloud, service: Inference) -> requests.Response:
    headers = {"X-Auth-Token": token(quick)}
    return requests.post(service.show().predict_url[0].urls[0], headers=headers, **seven())


def test_a_service_is_deployed_and_answers(quick: Cloud, service: Inference) -> None:
    answer = predict(quick, service)

    assert answer.json() == {"mnist_result": 7}
    shown = service.show()
    assert (shown.version.version, shown.type, shown.predict_url[0].type) == (
        "1.0.0",
        "REAL_TIME",
        "PUBLIC",
    )
    running = shown.version.instance_groups[0]
    assert (running.running_count, running.unit_configs[0].port) == (1, 8080)
    listed = service.client.list_infer_services(modelarts.ListInferServicesRequest(name="digits-2"))
    assert [(item.id, item.status) for item in listed.data] == [(service.id, "RUNNING")]


def test_its_instances_and_deployments_can_be_listed(service: Inference) -> None:
    deployments = service.client.list_infer_deployments(
        modelarts.ListInferDeploymentsRequest(service_id=service.id)
    ).data
    pods = service.client.list_infer_deployment_pods(
        modelarts.ListInferDeploymentPodsRequest(
            id=service.id, deployment_name=deployments[0].name, name="all"
        )
    ).data

    assert [deployment.traffic_ratio for deployment in deployments] == ["100.00%"]
    assert [pod.status for pod in pods] == ["RUNNING"]


def test_a_higher_version_replaces_it_without_a_break(
    quick: Cloud, service: Inference, serving_address: str
) -> None:
    before = predict(quick, service).headers["X-Served-By"]
    changed = group(serving_address, envs={**DRAIN, "LEVEL": "1"})
    service.update(version="1.0.1", group_configs=[changed])
    while service.show().status == "UPGRADING":
        assert predict(quick, service).status_code == 200
    after = wait_for(
        lambda: (
            found if (found := predict(quick, service).headers["X-Served-By"]) != before else None
        ),
        "the new version answers",
    )

    assert service.show().version.version == "1.0.1"
    assert after.split()[:2] == ["serving", "1.0.1"]
    with pytest.raises(ClientRequestException) as refused:
        service.update(version="1.0.1", group_configs=[group(serving_address)])
    assert "1.0.1 exists already" in refused.value.error_msg


def test_a_version_that_changes_no_instance_shows_as_an_upgrade_and_restarts_nothing(
    quick: Cloud, service: Inference
) -> None:
    before = [event for event in service.events() if "starting model" in event]
    invoke = modelarts.ServiceInvokeUpdateRequest(auth_type="TOKEN", protocol="HTTP")
    limit = modelarts.ServiceLimit(request_timeout=100)
    runtime = modelarts.RuntimeConfigUpdateRequest(service_invoke=invoke, service_limit=limit)

    service.update(version="1.0.9", runtime_config=runtime)

    assert service.settled().status == "RUNNING"
    assert service.show().version.version == "1.0.9"
    assert [event for event in service.events() if "starting model" in event] == before
    assert "The service has been updated." in service.events()


def test_an_update_that_does_not_start_is_rolled_back(
    quick: Cloud, service: Inference, serving_address: str
) -> None:
    before = service.show().version.version
    broken = group(serving_address.replace(":1.0", ":nothing"))

    service.update(version="9.9.9", group_configs=[broken])

    assert service.settled().status == "RUNNING"
    assert service.show().version.version == before
    assert any(event.startswith("Failed to update the service.") for event in service.events())
    wait_for(lambda: predict(quick, service).status_code == 200, "the old version answers")


def test_a_changed_description_starts_nothing_anew(quick: Cloud, service: Inference) -> None:
    before = service.events()

    service.update(description="digits, still")

    assert service.show().status == "RUNNING"
    assert service.show().version.description == "digits, still"
    assert service.events() == before
    wait_for(lambda: predict(quick, service).status_code == 200, "it answers")


def test_a_failing_startup_probe_restarts_the_container(quick: Cloud, serving_address: str) -> None:
    never = modelarts.Health(url="/nothing", initial_delay_seconds=1, period_seconds=1)
    unit = group(serving_address, startup_health=never)
    service = Inference(quick, "restarting", serving_address, group_configs=[unit])
    try:
        wait_for(
            lambda: any("failed its startup probe; it is restarted" in e for e in service.events()),
            "it is restarted",
        )
        assert service.show().status == "DEPLOYING"
    finally:
        service.delete()


def test_a_failing_liveness_probe_restarts_the_container(
    quick: Cloud, serving_address: str
) -> None:
    asked = {"url": "/health", "initial_delay_seconds": 1, "period_seconds": 1}
    strict = modelarts.Health(**asked, timeout_seconds=2, failure_threshold=2)
    service = Inference(
        quick,
        "frozen",
        serving_address,
        group_configs=[group(serving_address, liveness_health=strict)],
    )
    try:
        assert service.settled().status == "RUNNING", service.events()
        name = predict(quick, service).headers["X-Served-By"].split()[-1]
        born = docker("inspect", "--format", "{{.Id}}", name)

        docker("pause", name)

        restarted = "failed its liveness probe; it is restarted"
        wait_for(lambda: any(restarted in e for e in service.events()), "it is restarted")
        wait_for(lambda: predict(quick, service).status_code == 200, "it answers again")
        name = predict(quick, service).headers["X-Served-By"].split()[-1]
        assert docker("inspect", "--format", "{{.Id}}", name) != born
        assert service.show().status == "RUNNING"
    finally:
        service.delete()


def test_a_probe_that_hangs_fails_and_holds_up_no_other(quick: Cloud, serving_address: str) -> None:
    asked = {"check_method": "EXEC", "initial_delay_seconds": 1, "period_seconds": 1}
    hangs = modelarts.Health(**asked, cmd="sleep 600", timeout_seconds=1, failure_threshold=2)
    service = Inference(
        quick,
        "hanging",
        serving_address,
        group_configs=[group(serving_address, liveness_health=hangs)],
    )
    try:
        assert service.settled().status == "RUNNING", service.events()
        failed = "the liveness health check failed: sleep 600: not done within 1 s"
        wait_for(lambda: any(failed in e for e in service.events()), "its probe fails")
    finally:
        service.delete()


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("touch /tmp/stopping && sleep 0.1", ""),
        ("kill -TERM 1", ""),
        ("/bin/sh -c 'exit 0'", ""),
        # The page's own samples: dash knows no SIG before a name, and pgrep is in no slim image.
        ("kill -SIGTERM $(pgrep -f app.py)", "exited with"),
        ("trap 'exit 0' SIGTERM", "exited with"),
        ("/bin/sh -c /opt/stop.sh", "exited with"),
    ],
)
def test_a_stop_command_is_run_by_the_images_own_sh(
    command: str, fault: str, quick: Cloud, serving_address: str
) -> None:
    grace = modelarts.TerminationGrace(pre_stop_cmd=command, termination_grace_period_seconds=200)
    unit = group(serving_address, termination_grace=grace, envs={"DRAIN_SECONDS": "0"})
    service = Inference(quick, "stopping", serving_address, group_configs=[unit])
    try:
        assert service.settled().status == "RUNNING", service.events()
        service.update(version="1.0.1", group_configs=[group(serving_address, envs=DRAIN)])
        service.settled()
        killing = wait_for(
            lambda: [e for e in service.pod_events() if e.reason == "Killing"], "it is told to stop"
        )
        assert killing[0].message == "Stopping container"
        wait_for(
            lambda: len([p for p in service.pods() if p.status == "RUNNING"]) == 1, "one is left"
        )
        hooks = [e.message for e in service.pod_events() if e.reason == "FailedPreStopHook"]
        assert bool(hooks) == bool(fault)
        assert all(fault in message for message in hooks)
    finally:
        service.delete()


def test_pod_events_say_why_a_container_does_not_start(quick: Cloud, serving_address: str) -> None:
    never = modelarts.Health(
        url="/nothing", initial_delay_seconds=100, period_seconds=1, failure_threshold=1
    )
    unit = group(serving_address, startup_health=never)
    service = Inference(quick, "unhealthy", serving_address, group_configs=[unit])
    try:
        told = "Failed to start the pod container in deployment [deployment-0]."
        wait_for(lambda: told in service.events(), "the service says so")
        assert service.show().status == "DEPLOYING"
        reasons = {event.reason: event for event in service.pod_events()}
        assert {"Scheduled", "Pulling", "Started", "Unhealthy", "BackOff"} <= set(reasons)
        told = "GET /nothing answered 404"
        wait_for(
            lambda: any(told in event.message for event in service.pod_events()), "it says why"
        )
        assert reasons["Unhealthy"].type == "Warning"
    finally:
        service.delete()


def test_the_one_deployment_of_a_service_can_be_shown_scaled_stopped_and_started(
    quick: Cloud, serving_address: str
) -> None:
    service = Inference(quick, "deployment", serving_address)
    client = service.client
    try:
        assert service.settled().status == "RUNNING", service.events()
        (listed,) = client.list_infer_deployments(
            modelarts.ListInferDeploymentsRequest(service_id=service.id)
        ).data
        named = {"service_id": service.id, "deployment_id": listed.id}
        shown = client.show_infer_deployment(modelarts.ShowInferDeploymentRequest(**named))
        assert (shown.deployment_name, shown.status, shown.count) == (listed.name, "RUNNING", 1)
        assert shown.frozen_infos == []
        versions = client.list_infer_deployment_versions(
            modelarts.ListInferDeploymentVersionsRequest(**named)
        ).data
        assert [v.version for v in versions] == ["1.0.0"]
        stopped = client.stop_infer_deployment(modelarts.StopInferDeploymentRequest(**named))
        assert stopped.status == "STOPPING"
        assert service.settled().status == "STOPPED"
        client.start_infer_deployment(modelarts.StartInferDeploymentRequest(**named))
        assert service.settled().status == "RUNNING"
    finally:
        service.delete()


def test_api_keys_by_the_sdk(quick: Cloud, serving_address: str) -> None:
    client = quick.modelarts
    body = modelarts.CreateApiKeyReq(name="sdk", scope="SERVICE", description="of a test")
    client.create_infer_api_key(modelarts.CreateInferApiKeyRequest(body=body))
    (key,) = client.list_infer_api_keys(modelarts.ListInferApiKeysRequest(name="sdk")).data
    assert (key.name, key.scope, key.services) == ("sdk", "SERVICE", [])
    invoke = modelarts.ServiceInvokeCreateRequest(auth_type="API_KEY", protocol="HTTP")
    runtime = modelarts.RuntimeConfigCreateRequest(service_invoke=invoke)
    service = Inference(quick, "keyed", serving_address, runtime_config=runtime)
    try:
        assert service.settled().status == "RUNNING", service.events()
        bound = {"service_id": service.id, "key_id": key.key_id}
        client.bind_infer_api_key(modelarts.BindInferApiKeyRequest(**bound))
        (key,) = client.list_infer_api_keys(
            modelarts.ListInferApiKeysRequest(service_id=service.id)
        ).data
        assert [known.name for known in key.services] == ["keyed"]
        temporary = client.create_infer_temp_api_key(
            modelarts.CreateInferTempApiKeyRequest(
                body=modelarts.CreateTempApiKeyReq(expire_time=1)
            )
        )
        url = service.show().predict_url[0].urls[0]
        assert "/v2/infers/" in url
        headers = {"Authorization": f"Bearer {temporary.api_key}"}
        assert requests.post(url, headers=headers, **seven()).json() == {"mnist_result": 7}
        ids = [modelarts.BatchBindApiKeyRequestKeyIds(key_id=i) for i in (key.key_id, "0" * 32)]
        done = client.batch_unbind_infer_api_keys(
            modelarts.BatchUnbindInferApiKeysRequest(
                service_id=service.id, body=modelarts.BatchUnBindApiKeyRequest(key_ids=ids)
            )
        )
        assert (done.success_count, done.failure_count) == (1, 1)
        client.delete_infer_api_key(modelarts.DeleteInferApiKeyRequest(key_id=key.key_id))
        assert client.list_infer_api_keys(modelarts.ListInferApiKeysRequest(name="sdk")).data == []
    finally:
        service.delete()


def test_a_pre_stop_command_that_hangs_ends_with_the_grace(
    quick: Cloud, serving_address: str
) -> None:
    """Its 40 s are 2 s here."""
    grace = modelarts.TerminationGrace(
        pre_stop_cmd="sleep 600", termination_grace_period_seconds=40
    )
    service = Inference(
        quick,
        "lingering",
        serving_address,
        group_configs=[group(serving_address, termination_grace=grace)],
    )
    try:
        assert service.settled().status == "RUNNING", service.events()
        name = predict(quick, service).headers["X-Served-By"].split()[-1]
        service.update(version="1.0.1", group_configs=[group(serving_address, envs=DRAIN)])
        killed = "did not end within 2 s"
        wait_for(lambda: any(killed in e for e in service.events()), "it is killed")
        wait_for(lambda: name not in docker("ps", "-a", "--format", "{{.Names}}"), "it is gone")
    finally:
        service.delete()


@pytest.mark.parametrize(
    ("fields", "unit"),
    [
        ({"name": ""}, {}),
        ({"version": "0.0.1"}, {}),
        ({"version": "1.0.100"}, {}),
        ({"type": "BATCH"}, {}),
        ({"deploy_type": "MULTI"}, {}),
        ({"group_configs": []}, {}),
        ({"deploy_timeout_minutes": 301}, {}),
        ({"description": "<"}, {}),
        ({}, {"port": 65536}),
        ({}, {"envs": {"1": "x"}}),
        ({}, {"security_config": modelarts.ServiceSecurityConfig(user_id=60001)}),
        ({}, {"image": modelarts.ImageInfo(source="SWR", swr_path="elsewhere/team/x:1.0")}),
        ({}, {"files": [modelarts.FileInfo("OBS", "obs://b/x", "/no-slash-at-the-end")]}),
    ],
    ids=lambda value: ",".join(value),
)
def test_a_field_that_is_not_allowed_is_refused_at_once(
    fields: dict[str, Any], unit: dict[str, Any], quick: Cloud, serving_address: str
) -> None:
    fields = {"name": "refused", "group_configs": [group(serving_address, **unit)]} | fields

    with pytest.raises(ClientRequestException) as refused:
        Inference(quick, address=serving_address, **fields)

    assert (refused.value.status_code, refused.value.error_code) == (400, "ModelArts.0104")


@pytest.fixture
def full_pool(rehearsal: Rehearsal, service: Inference) -> Iterator[Cloud]:
    """The platform with two places, one of them taken by ``service``; waits are a sixtieth."""
    yield rehearsal.restart("speed=60", "pool_instances=2")
    rehearsal.restart(*QUICK)


def test_a_roll_back_that_finds_no_place_fails_and_says_so(
    full_pool: Cloud, serving_address: str
) -> None:
    """The update lets its one instance go first, and another service takes the place."""
    patient = {"deploy_timeout_minutes": 300}  # 300 s here
    first = Inference(full_pool, "evicted", serving_address, **patient)
    assert first.settled().status == "RUNNING", first.events()
    second = Inference(full_pool, "waiting", serving_address, **patient)
    try:
        wait_for(lambda: any("places are taken" in e for e in second.events()), "it waits")
        first.update(version="1.0.1", deploy_timeout_minutes=3)  # 3 s, and so is the roll-back's
        assert first.settled().status == "RUNNING"
        gone_first = {"max_surge": "1%", "max_unavailable": "100%"}
        first.update(
            version="2.0.0",
            group_configs=[group(serving_address.replace(":1.0", ":nothing"))],
            upgrade_config={"type": "ROLLING", "rolling_update": gone_first},
        )

        assert first.settled().status == "CONCERNING"
        assert [e for e in first.events() if e.startswith("Upgrade rollback failed.")]
        assert second.settled().status == "RUNNING"
        second.delete()
        wait_for(lambda: first.show().status == "RUNNING", "a place is free, and it is well again")
    finally:
        for each in (first, second):
            with suppress(ClientRequestException):  # the second is gone already where all went well
                each.delete()
