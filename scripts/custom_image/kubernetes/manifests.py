"""The objects around a pod, and the YAML that kubectl reads.

Sources: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/,
https://kserve.github.io/website/docs/reference/crd-api and, for NPUs,
https://support.huaweicloud.com/eu/usermanual-cce/cce_10_0346.html
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from custom_image.errors import UsageError
from custom_image.kubernetes.pod import PORT_NAME, Pod
from custom_image.specification import MAX_SURGE, MAX_UNAVAILABLE

ASCEND: Final = "huawei.com/ascend-1980"
_NAME: Final = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_HTTP_PORT: Final = 80
# What the driver of the node brings: the image holds none of it.
# Source: https://support.huaweicloud.com/bestpractice-modelarts/modelarts_llm_infer_5905023.html
_DRIVER: Final = {
    "ascend-driver": ("/usr/local/Ascend/driver", "/usr/local/Ascend/driver"),
    "ascend-add-ons": ("/usr/local/Ascend/add-ons", "/usr/local/Ascend/add-ons"),
    "ascend-install": ("/etc/ascend_install.info", "/etc/ascend_install.info"),
    "hccn": ("/etc/hccn.conf", "/etc/hccn.conf"),
    "npu-smi": ("/usr/local/sbin/npu-smi", "/usr/local/sbin/npu-smi"),
    "localtime": ("/etc/localtime", "/etc/localtime"),
}


def deployment(pod: Pod, name: str, *, namespace: str, replicas: int) -> list[dict[str, Any]]:
    """Return a Deployment, a Service, a PodDisruptionBudget and a NetworkPolicy."""
    labels = {"app.kubernetes.io/name": _checked(name)}
    spec = pod.spec(name)
    if pod.options.npus:
        _add_npus(spec, pod.options.npus)
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": _metadata(name, namespace, labels),
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "strategy": _strategy(),
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _metadata(name, namespace, labels),
            "spec": {
                "selector": labels,
                "ports": [{"name": PORT_NAME, "port": _HTTP_PORT, "targetPort": PORT_NAME}],
            },
        },
        {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": _metadata(name, namespace, labels),
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": labels}},
        },
        {
            # Only the port that serves is open. Probes come from the node, which is always let in.
            # Source: https://kubernetes.io/docs/concepts/services-networking/network-policies/
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": _metadata(name, namespace, labels),
            "spec": {
                "podSelector": {"matchLabels": labels},
                "policyTypes": ["Ingress"],
                "ingress": [{"ports": [{"protocol": "TCP", "port": PORT_NAME}]}],
            },
        },
    ]


def inference_service(
    pod: Pod, name: str, *, namespace: str, replicas: int
) -> list[dict[str, Any]]:
    """Return an InferenceService of KServe, deployed as a plain Deployment, without Knative.

    Knative would route around the pods' shutdown, and takes no startup probe of its own.
    """
    labels = {"app.kubernetes.io/name": _checked(name)}
    spec = pod.spec("kserve-container")
    if pod.options.npus:
        _add_npus(spec, pod.options.npus)
    metadata = _metadata(name, namespace, labels)
    metadata["annotations"] = {"serving.kserve.io/deploymentMode": "RawDeployment"}
    return [
        {
            "apiVersion": "serving.kserve.io/v1beta1",
            "kind": "InferenceService",
            "metadata": metadata,
            "spec": {
                "predictor": {
                    "minReplicas": replicas,
                    "maxReplicas": replicas,
                    "deploymentStrategy": _strategy(),
                    **spec,
                }
            },
        }
    ]


def to_yaml(objects: list[dict[str, Any]], reasons: list[str]) -> str:
    """Return the objects as one file, with where its numbers come from at its head."""
    head = "".join(f"# {line}\n" for reason in reasons for line in reason.splitlines())
    documents = yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, width=100)
    return f"# Written by custom-image export kubernetes.\n{head}---\n{documents}"


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is no name of a Kubernetes Service: expected small letters, digits and '-', "
            "at most 63,\nand a letter first. Name another with --name."
        )
    return name


def _metadata(name: str, namespace: str, labels: dict[str, str]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    return {**metadata, "labels": labels}


def _strategy() -> dict[str, Any]:
    """Return how an update goes: a new pod is ready before an old one is told to stop."""
    rolling = {"maxSurge": MAX_SURGE.value, "maxUnavailable": MAX_UNAVAILABLE.value}
    return {"type": "RollingUpdate", "rollingUpdate": rolling}


def _add_npus(spec: dict[str, Any], count: int) -> None:
    """Turn a pod into Huawei's form for a node with Ascend 1980 NPUs."""
    (container,) = spec["containers"]
    spec["schedulerName"] = "volcano"
    spec["nodeSelector"] = {"accelerator/huawei-npu": "ascend-1980"}
    spec["imagePullSecrets"] = [{"name": "default-secret"}]  # of every CCE namespace
    for side in ("requests", "limits"):
        container["resources"][side][ASCEND] = str(count)
    for volume, (path, host_path) in _DRIVER.items():
        spec["volumes"].append({"name": volume, "hostPath": {"path": host_path}})
        container["volumeMounts"].append({"name": volume, "mountPath": path, "readOnly": True})
    spec["volumes"].append({"name": "npu-log", "hostPath": {"path": "/var/log/npu"}})
    container["volumeMounts"].append({"name": "npu-log", "mountPath": "/usr/slog"})


class _Dumper(yaml.SafeDumper):
    """Without anchors: the labels that stand in several places are written out."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
