"""Real-time services of the classic API: deployed, asked, changed, broken, stopped."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest
import requests
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from local_cloud import Cloud, Rehearsal, wait_for
from local_models import call, docker, publish_model
from local_services import SERVICES, config_of, deploy, deployed, predict, seven, token

NO_DRAIN = {"DRAIN_SECONDS": "0", "EXIT_SECONDS": "1"}
UNKNOWN = "6f1b3a52-6f58-4c3f-9a3f-2f6f3a0c7d11"


def test_a_published_model_becomes_a_service_that_answers(quick: Cloud, serving_model: str) -> None:
    envs = {"DRAIN_SECONDS": "3", "LOG_LEVEL": "DEBUG"}
    with deployed(quick, "digits", config_of(serving_model, envs=envs)) as service:
        service.running()

        answer = predict(service)

        assert answer.json() == {"mnist_result": 7}
        shown = service.show()
        assert shown["access_address"] == service.address
        assert shown["progress"] == 100
        entry = shown["config"][0]
        assert (entry["model_name"], entry["status"], entry["envs"]) == ("serving", "ready", envs)
        assert service.events() == [
            "The service starts to deploy.",
            "[serving 1.0.0] starting model",
            "[serving 1.0.0] model is running",
            "The service has been deployed.",
        ]
        name = answer.headers["X-Served-By"].rpartition(" ")[2]
        assert f"--- serving 1.0.0 {name} (READY)" in service.logs()
        request_id = answer.headers["X-Request-Id"]
        wait_for(lambda: request_id in service.logs(), "its line in the log")
        listed = call(quick, "GET", SERVICES)["services"]
        assert [s["status"] for s in listed if s["service_name"] == "digits"] == ["running"]
        with pytest.raises(ClientRequestException) as refused:
            deploy(quick, "digits", config_of(serving_model))
        assert "already exists" in refused.value.error_msg
    with pytest.raises(ClientRequestException) as gone:
        service.show()
    assert (gone.value.status_code, gone.value.error_code) == (404, "ModelArts.3502")
    wait_for(lambda: name not in docker("ps", "--format", "{{.Names}}"), "its container ends")


def test_requests_are_shared_among_versions_by_their_weights(
    quick: Cloud, serving_address: str, serving_model: str, serving_config: dict[str, Any]
) -> None:
    second = publish_model(quick, serving_address, serving_config, "serving", model_version="2.0.0")
    shares = config_of(serving_model, weight="20"), config_of(second, weight=80)
    with deployed(quick, "weights", *shares) as service:
        service.running()
        headers = {"X-Auth-Token": token(quick)}
        with requests.Session() as session:
            session.headers.update(headers)
            answers = [session.post(service.address, **seven()) for _ in range(80)]

        counts = Counter(answer.headers["X-Served-By"].split()[1] for answer in answers)

        assert {answer.status_code for answer in answers} == {200}
        assert set(counts) == {"1.0.0", "2.0.0"}
        assert 1 <= counts["1.0.0"] <= 31, "16 are expected; 4 standard deviations either way"
    with pytest.raises(ClientRequestException) as refused:
        deploy(quick, "weights-of-90", shares[0], config_of(second, weight=70))
    assert "the sum of the weights is 90" in refused.value.error_msg


@pytest.mark.parametrize(
    ("health", "envs", "words"),
    [
        ({"url": "/nothing"}, {}, "the startup health check failed: GET /nothing answered 404"),
        ({}, {"PORT": "none"}, "exited with code"),
    ],
    ids=["no health endpoint", "the container ends"],
)
def test_a_service_whose_instance_never_starts_fails_within_the_budget_of_its_probe(
    health: dict[str, str],
    envs: dict[str, str],
    words: str,
    quick: Cloud,
    serving_address: str,
    serving_config: dict[str, Any],
) -> None:
    name = f"broken-{len(envs)}"
    short = serving_config["health"] | {"failure_threshold": "8"} | health
    model = publish_model(quick, serving_address, serving_config | {"health": short}, name)
    with deployed(quick, name, config_of(model, envs=envs)) as service:
        assert service.settled() == "failed"

        events = service.events("abnormal")

        assert events[-1].startswith(f"Service {name} failed. Error:")
        assert any(words in event for event in events)
        assert service.show()["error_msg"]
        assert words.split()[-1] == "404" or "PORT" in service.logs(), "its log is kept"
        assert predict(service).json()["error_code"] == "ModelArts.4203"


def test_a_folder_of_obs_is_mounted_and_hides_what_stood_there(
    quick: Cloud, rehearsal: Rehearsal, serving_model: str
) -> None:
    bucket = rehearsal.folder / "obs/bucket/models"
    bucket.mkdir(parents=True)
    (bucket / "hello").write_text("from OBS")
    bucket.chmod(0o755)

    def mounting(path: str, **fields: Any) -> dict[str, Any]:
        volume = {"name": "obs", "mount_path": path, "source_address": "obs://bucket/models/"}
        more = {"persistent_volumes": [volume, *fields.pop("others", [])]}
        return config_of(serving_model, additional_properties=more, **fields)

    with deployed(quick, "mounted", mounting("/obs-mount/")) as service:
        service.running()
        name = predict(service).headers["X-Served-By"].split()[-1]
        assert docker("exec", name, "cat", "/obs-mount/hello") == "from OBS"
    with deployed(quick, "hidden", mounting("/home/ma-user/infer/model")) as service:
        wait_for(lambda: "found none" in service.logs(), "the bucket hides the model")
        assert service.show()["status"] == "deploying"
    inner = {"name": "in", "mount_path": "/obs-mount/tmp", "source_address": "obs://bucket/models"}
    for refusal, config in {
        "must not nest": mounting("/obs-mount/", others=[inner]),
        "mount_path is invalid": mounting("/"),
        "dedicated resource pool only": mounting("/obs-mount/", pool_name=None),
    }.items():
        with pytest.raises(ClientRequestException) as refused:
            deploy(quick, "refused", config)
        assert refusal in refused.value.error_msg


def test_a_service_stops_three_minutes_later_and_starts_again(
    quick: Cloud, serving_model: str
) -> None:
    with deployed(quick, "stopped", config_of(serving_model, envs=NO_DRAIN)) as service:
        service.running()
        told_at = time.monotonic()
        service.set_status("stopped")
        assert predict(service).status_code == 200, "it goes on until the delay is over"
        assert service.settled() == "stopped"
        # 180 s, here set to 20 s, on a platform that is 20 times as fast.
        assert time.monotonic() - told_at > 1
        assert predict(service).json()["error_code"] == "ModelArts.4203"
        with pytest.raises(ClientRequestException) as refused:
            service.set_status("stopped")
        assert refused.value.error_code == "ModelArts.3519"

        service.set_status("running")

        assert predict(service.running()).status_code == 200


def test_an_instance_that_dies_is_replaced_and_the_service_concerned_meanwhile(
    quick: Cloud, serving_model: str
) -> None:
    with deployed(quick, "mortal", config_of(serving_model)) as service:
        service.running()
        name = predict(service).headers["X-Served-By"].split()[-1]

        docker("kill", name)

        wait_for(lambda: service.show()["status"] == "concerning", "its death is noticed")
        wait_for(lambda: service.show()["status"] == "running", "it is replaced")
        assert predict(service).status_code == 200
        assert "[serving 1.0.0] the container exited with code 137; it is restarted" in (
            service.events("abnormal")
        )


def test_a_health_check_that_fails_while_the_service_runs_is_an_alarm(
    quick: Cloud, serving_address: str, serving_config: dict[str, Any]
) -> None:
    patient = serving_config["health"]
    strict = patient | {"timeout_seconds": "1", "failure_threshold": "2"}
    config = serving_config | {"startup_health": patient, "health": strict}
    model = publish_model(quick, serving_address, config, "strict")
    with deployed(quick, "alarm", config_of(model, envs=NO_DRAIN)) as service:
        service.running()
        name = predict(service).headers["X-Served-By"].split()[-1]

        docker("pause", name)
        wait_for(lambda: service.show()["status"] == "concerning", "the alarm")
        docker("unpause", name)

        wait_for(lambda: service.show()["status"] == "running", "the end of the alarm")
        assert any("the liveness health check failed" in e for e in service.events("abnormal"))
        assert predict(service).headers["X-Served-By"].split()[-1] == name


@pytest.mark.parametrize(
    ("entry", "fields"),
    [
        ({}, {"service_name": ""}),
        ({}, {"service_name": "a b"}),
        ({}, {"description": "a & b"}),
        ({}, {"infer_type": "edge"}),
        ({}, {"config": []}),
        ({"instance_count": 129}, {}),
        ({"instance_count": 0}, {}),
        ({"weight": 99}, {}),
        ({"deploy_timeout_in_seconds": 179}, {}),
        ({"deploy_timeout_in_seconds": 7201}, {}),
        ({"envs": {"1A": "x"}}, {}),
        ({"envs": ["A=1"]}, {}),
        ({"additional_properties": {"max_surge": "many"}}, {}),
        ({"additional_properties": {"max_surge": -1}}, {}),
    ],
    ids=str,
)
def test_a_field_that_is_not_allowed_is_refused_at_once(
    entry: dict[str, Any], fields: dict[str, Any], quick: Cloud, serving_model: str
) -> None:
    body = {"service_name": "refused", "infer_type": "real-time"}
    body |= {"config": [config_of(serving_model, **entry)]} | fields

    with pytest.raises(ClientRequestException) as refused:
        call(quick, "POST", SERVICES, body)

    assert (refused.value.status_code, refused.value.error_code) == (400, "ModelArts.0104")


def test_a_model_that_is_not_for_real_time_and_one_that_is_not_there_are_refused(
    quick: Cloud, serving_address: str, serving_config: dict[str, Any]
) -> None:
    batch = publish_model(
        quick, serving_address, serving_config, "batch-only", install_type=["batch"]
    )
    for model_id, code in ((batch, "ModelArts.3589"), (UNKNOWN, "ModelArts.3002")):
        with pytest.raises(ClientRequestException) as refused:
            deploy(quick, "refused", config_of(model_id))
        assert refused.value.error_code == code


def test_the_quota_of_services_holds(rehearsal: Rehearsal, serving_model: str) -> None:
    cloud = rehearsal.restart("services=0")

    with pytest.raises(ClientRequestException) as refused:
        deploy(cloud, "one-too-many", config_of(serving_model))
    rehearsal.kill()

    assert refused.value.error_code == "ModelArts.0113"
