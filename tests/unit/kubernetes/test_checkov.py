"""What checkov says of exported objects: every check passes but those that stand here.

It lives in an environment of its own, because it pins what this project pins otherwise.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from environments import need, virtual_environment

from custom_image.kubernetes.manifests import deployment, to_yaml
from custom_image.kubernetes.measurements import Measurements
from custom_image.kubernetes.pod import Pod, PodOptions
from custom_image.model_config import parse_model_config
from custom_image.rules.static.accounts import Account

# Of minutes where the environment is not made yet: checkov brings a hundred packages.
pytestmark = [pytest.mark.true_time, pytest.mark.timeout(1200)]

CHECKOV = "checkov==3.3.30"
DIGEST = f"example.com/team/mnist@sha256:{'0' * 64}"
TAG = "example.com/team/mnist:1"
MEASURED = Measurements(ready_s=31.0, peak_bytes=400_000_000, exited_s=86.2, read_only=True)
# Of every image: ModelArts runs it as uid 1000, and Kubernetes takes the same user.
UID = {"CKV_K8S_40"}
# Of an image that is named by a tag: with a digest in its place the check passes.
MOVABLE = {"CKV_K8S_43"}
# Of objects without a namespace: kubectl chooses, as its user has set it.
NO_NAMESPACE = {"CKV_K8S_21"}
# Of objects without a report: a closed root file system is claimed only where it was measured.
OPEN_ROOT = {"CKV_K8S_22"}


@pytest.fixture(scope="module")
def checkov(request) -> Path:
    folder = need(CHECKOV.replace("==", "-"), virtual_environment(CHECKOV), request.config)
    return folder / "bin" / "python"


def failed_checks(checkov: Path, file: Path) -> set[str]:
    """Return the checks that fail; dozens have to pass beside them."""
    command = [checkov, "-m", "checkov.main", "--framework", "kubernetes", "--output", "json"]
    done = subprocess.run(
        [*command, "--skip-download", "--file", file],
        cwd=file.parent,
        capture_output=True,
        text=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["summary"]["passed"] > 80, done.stderr
    assert found["summary"]["parsing_errors"] == 0
    return {check["check_id"] for check in found["results"]["failed_checks"]}


@pytest.mark.parametrize(
    ("image", "measured", "namespace", "options", "left"),
    [
        (DIGEST, MEASURED, "models", PodOptions(), UID),
        (DIGEST, MEASURED, "models", PodOptions(npus=8), UID),
        (TAG, MEASURED, "", PodOptions(), UID | MOVABLE | NO_NAMESPACE),
        (DIGEST, Measurements(), "models", PodOptions(stop_command="sleep 9"), UID | OPEN_ROOT),
    ],
    ids=["digest and report", "npus", "tag", "without a report"],
)
def test_only_what_has_a_reason_fails(image, measured, namespace, options, left, checkov, tmp_path):
    text = json.dumps({"model_algorithm": "d", "model_type": "Image", "apis": [{"url": "/"}]})
    pod = Pod(image, parse_model_config(text), Account("ma-user", 1000, 100), measured, options)
    objects = deployment(pod, "mnist", namespace=namespace, replicas=2)
    (tmp_path / "mnist.yaml").write_text(to_yaml(objects, pod.reasons))

    assert failed_checks(checkov, tmp_path / "mnist.yaml") == left
