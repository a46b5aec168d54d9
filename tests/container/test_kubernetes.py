"""Exported objects run for real: by `podman kube play`, under traffic.

Podman 4.3 replaces no replica, rolls nothing out and ignores readiness, stop command and grace:
what is claimed here is that the pod runs as it is written, and answers. The update under these
values is rehearsed on the local platform, in tests/platform/test_rehearsal.py.
"""

from __future__ import annotations

import json
import socket
import time

import pytest
import yaml
from ecs_machine import wait_for
from podman import Podman

from custom_image.cli import app
from custom_image.drills.load_balancer import Gateway
from custom_image.model_config import parse_model_config
from custom_image.probing.http import Request, ask
from custom_image.probing.sample_requests import sample_request

UNDER_LOAD_S = 5


@pytest.mark.true_time
def test_the_pod_runs_as_it_is_written_and_answers_every_request(tiny_image, tmp_path, capsys):
    facts = {"ready_s": 2.0, "memory": {"peak_mb": 200.0}}
    checks = [{"id": "confinement.read-only", "verdict": "PASSED"}]
    (tmp_path / "report.json").write_text(json.dumps({"facts": facts, "checks": checks}))
    words = ["export", "kubernetes", tiny_image.reference, "--name", "tiny", "--cpus", "1"]
    with pytest.raises(SystemExit):
        app([*words, "--report", str(tmp_path / "report.json"), "--replicas", "1"])
    objects = list(yaml.safe_load_all(capsys.readouterr().out))
    container = objects[0]["spec"]["template"]["spec"]["containers"][0]
    port = free_port()
    # Podman publishes a port of the pod only where it names one of the host; and no registry here
    # has the image.
    container["ports"][0] |= {"hostPort": port, "hostIP": "127.0.0.1"}
    container["imagePullPolicy"] = "Never"
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump_all(objects))

    with Podman(tmp_path) as podman:
        podman("pull", "--quiet", f"docker-daemon:{tiny_image.reference}")
        podman("kube", "play", tmp_path / "tiny.yaml")
        url = f"http://127.0.0.1:{port}"
        path = container["readinessProbe"]["httpGet"]["path"]
        wait_for(lambda: ask(url, Request("GET", path)).status == 200, "ready", timeout_s=120)
        (shown,) = json.loads(podman("inspect", "tiny-pod-0-tiny"))
        gateway = Gateway(sample_request(config_of(tiny_image)), 200)
        gateway.route_to([url])
        with gateway.in_use():
            time.sleep(UNDER_LOAD_S)

    routed = gateway.routed()
    assert len(routed) > UNDER_LOAD_S
    assert [each.note for each in routed if not each.ok] == []
    assert shown["Config"]["User"] == "1000:100"
    assert shown["HostConfig"]["ReadonlyRootfs"] is True
    assert shown["HostConfig"]["Memory"] == 320 * 2**20
    assert shown["HostConfig"]["CapAdd"] == []


def config_of(image):
    from custom_image.engines.docker.engine import DockerEngine
    from custom_image.specification import MODEL_DIR

    engine = DockerEngine.connect()
    try:
        content = engine.read_file(image.reference, f"{MODEL_DIR}/config.json")
    finally:
        engine.close()
    return parse_model_config(content.decode())


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]
