"""The Kubernetes objects of an image, held to the schemas of three Kubernetes versions."""

from __future__ import annotations

import json
from typing import Any

import kubernetes_validate
import pytest
import yaml

from custom_image.errors import UsageError
from custom_image.kubernetes.manifests import deployment, inference_service, to_yaml
from custom_image.kubernetes.measurements import Measurements
from custom_image.kubernetes.pod import Pod, PodOptions
from custom_image.kubernetes.rollout import Rollout
from custom_image.model_config import ModelConfig, parse_model_config
from custom_image.rules.static.accounts import Account

VERSIONS = ("1.28.0", "1.33.0", "1.37.0")
USER = Account("ma-user", 1000, 100)
HEALTH = {"check_method": "HTTP", "url": "/health", "period_seconds": "5"}
MEASURED = Measurements(ready_s=31.0, peak_bytes=400_000_000, exited_s=86.2, read_only=True)


def config(**members: Any) -> ModelConfig:
    document = {"model_algorithm": "digits", "model_type": "Image", "apis": [{"url": "/"}]}
    return parse_model_config(json.dumps(document | members))


def pod(measured: Measurements = MEASURED, user: Account = USER, **members: Any) -> Pod:
    options = members.pop("options", PodOptions())
    return Pod("example.com/team/mnist:1", config(**members), user, measured, options)


def container(made: Pod) -> dict[str, Any]:
    (found,) = made.spec("mnist")["containers"]
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "made",
    [
        pod(health=HEALTH),
        pod(Measurements(), health={"check_method": "EXEC", "command": "cat /tmp/ready"}),
        pod(Measurements(stops_early=True)),
        pod(health=HEALTH, options=PodOptions(npus=8, stop_command="sh -c 'sleep 9'", stop_s=9)),
    ],
    ids=["measured", "command", "without health", "npus"],
)
def test_the_objects_are_valid(made, version):
    text = to_yaml(deployment(made, "mnist", namespace="models", replicas=2), made.reasons)
    objects = list(yaml.safe_load_all(text))

    for each in objects:
        kubernetes_validate.validate(each, version, strict=True)
    kinds = ["Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"]
    assert [each["kind"] for each in objects] == kinds
    labels = objects[0]["spec"]["template"]["metadata"]["labels"]
    selectors = [each["spec"].get("selector") or each["spec"]["podSelector"] for each in objects]
    assert [each.get("matchLabels") or each for each in selectors] == [labels] * len(kinds)
    (port,) = objects[0]["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert objects[3]["spec"]["ingress"] == [{"ports": [{"protocol": "TCP", "port": port["name"]}]}]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schema_finds_a_member_that_kubernetes_does_not_know(version):
    broken = deployment(pod(), "mnist", namespace="", replicas=2)[0]
    broken["spec"]["template"]["spec"]["gracePeriod"] = 90

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_predictor_of_kserve_is_a_valid_pod(version):
    (found,) = inference_service(pod(health=HEALTH), "mnist", namespace="models", replicas=3)
    predictor = dict(found["spec"]["predictor"])

    assert found["metadata"]["annotations"] == {"serving.kserve.io/deploymentMode": "RawDeployment"}
    assert (predictor.pop("minReplicas"), predictor.pop("maxReplicas")) == (3, 3)
    assert predictor.pop("deploymentStrategy")["rollingUpdate"]["maxUnavailable"] == 0
    assert predictor["containers"][0]["name"] == "kserve-container"
    as_pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": predictor}
    kubernetes_validate.validate(as_pod, version, strict=True)


def test_what_was_measured_decides():
    made = pod(health=HEALTH)
    spec = made.spec("mnist")
    (found,) = spec["containers"]

    assert spec["terminationGracePeriodSeconds"] == 92  # 86.2 s, and a margin
    assert spec["securityContext"]["runAsUser"] == 1000
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert found["securityContext"]["readOnlyRootFilesystem"] is True
    assert found["resources"]["limits"] == {"cpu": "2000m", "memory": "576Mi"}
    assert found["startupProbe"]["failureThreshold"] == 31  # times 5 s: five times the start
    assert "lifecycle" not in found
    assert "grace: 92 s; gone 86.2 s after SIGTERM" in made.reasons


def test_what_was_not_measured_is_not_claimed():
    made = pod(Measurements(), health=HEALTH)

    assert container(made)["securityContext"]["readOnlyRootFilesystem"] is False
    assert made.spec("mnist")["terminationGracePeriodSeconds"] == 90
    assert "read-only root: false; not measured" in made.reasons


def test_an_image_that_stops_at_once_gets_a_stop_command_that_waits():
    made = pod(Measurements(stops_early=True), health=HEALTH)
    spec = made.spec("mnist")

    assert spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", "60"]
    assert spec["terminationGracePeriodSeconds"] == 150


def test_the_probes_of_config_json_are_taken_as_they_are():
    startup = {"check_method": "EXEC", "command": "cat /tmp/ready", "failure_threshold": "100"}
    readiness = {"check_method": "HTTP", "url": "/ready", "timeout_seconds": "3"}
    found = container(pod(health=HEALTH, startup_health=startup, readiness_health=readiness))

    assert found["startupProbe"]["exec"] == {"command": ["cat", "/tmp/ready"]}
    assert found["startupProbe"]["failureThreshold"] == 100
    assert found["readinessProbe"]["httpGet"] == {"path": "/ready", "port": 8080}
    assert found["readinessProbe"]["timeoutSeconds"] == 3
    assert found["livenessProbe"]["httpGet"]["path"] == "/health"


def test_npus_take_the_form_that_huawei_publishes():
    made = pod(health=HEALTH, options=PodOptions(npus=8))
    (found, *_) = deployment(made, "llm", namespace="", replicas=1)
    spec = found["spec"]["template"]["spec"]

    assert spec["schedulerName"] == "volcano"
    assert spec["nodeSelector"] == {"accelerator/huawei-npu": "ascend-1980"}
    resources = spec["containers"][0]["resources"]
    assert resources["requests"]["huawei.com/ascend-1980"] == "8"
    assert resources["requests"] == resources["limits"]
    assert "/usr/local/Ascend/driver" in [
        mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]
    ]


def test_root_is_not_hidden():
    spec = pod(user=Account("root", 0, 0)).spec("mnist")

    assert spec["securityContext"]["runAsNonRoot"] is False


@pytest.mark.parametrize("name", ["-mnist", "Mnist", "1st", "a" * 64, ""])
def test_a_name_that_kubernetes_refuses_is_refused(name):
    with pytest.raises(UsageError, match="no name of a Kubernetes Service"):
        deployment(pod(), name, namespace="", replicas=1)


def test_a_report_is_read(tmp_path):
    path = tmp_path / "report.json"
    facts = {"ready_s": 2.5, "memory": {"peak_mb": 100.0}}
    facts["sigterm"] = {"drain_s": 3.0, "exited_s": 3.4}  # compressed: nothing true to say
    checks = [{"id": "sigterm.serves", "verdict": "FAILED"}]
    path.write_text(json.dumps({"facts": facts, "checks": checks}))

    assert Measurements.read(path) == Measurements(2.5, 100_000_000, None, False, True)
    path.write_text("[]")
    with pytest.raises(UsageError, match="is no report of a verification"):
        Measurements.read(path)


def test_a_deployment_is_read_back_for_a_rehearsal(tmp_path):
    made = pod(health=HEALTH, options=PodOptions(stop_command="sh -c 'sleep 9'", stop_s=9))
    path = tmp_path / "mnist.yaml"
    path.write_text(to_yaml(deployment(made, "mnist", namespace="", replicas=2), made.reasons))
    found = Rollout.read(path)
    changed = found.applied_to(made.config)

    assert (found.grace_s, found.stop_command) == (101, "sh -c 'sleep 9'")
    assert (found.surge, found.unavailable) == (1, 0)
    assert changed.startup_health.failure_threshold == 31
    assert changed.readiness_health.failure_threshold == 1
    assert changed.health.url == "/health"
    assert parse_model_config(changed.to_json()).startup_health == changed.startup_health


def test_what_is_no_deployment_is_refused(tmp_path):
    (tmp_path / "service.yaml").write_text("kind: Service\nspec: {}\n")

    with pytest.raises(UsageError, match="expected one Deployment with one container"):
        Rollout.read(tmp_path / "service.yaml")
