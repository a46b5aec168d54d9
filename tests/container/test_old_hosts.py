"""The image on hosts that give it less: old seccomp, little shared memory, one CPU, no network."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager

import docker
import pytest
from runtime import PROFILES, wait_for

# What the engine of an old node does: Docker up to 20.10.9 knows no clone3.
OLD_SECCOMP = json.dumps(
    {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}],
    }
)
ASK = """
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=20)
connection.request("GET", "/health")
print(connection.getresponse().read().decode())
"""
START_THREAD = "import threading; threading.Thread(target=print, args=('started',)).start()"


@pytest.fixture
def start(docker_engine, tiny_image):
    """Start the image with what the SDK calls its host's settings; ask it from inside."""

    @contextmanager
    def start(profile="uvicorn", **host):
        client = docker.from_env()
        container = client.containers.run(
            tiny_image.reference,
            detach=True,
            environment={"MODEL_SERVER": profile, "DRAIN_SECONDS": "0.2"},
            labels={"custom-image.run": docker_engine.run_id},
            **host,
        )
        try:
            yield container
        finally:
            container.remove(force=True)
            client.close()

    return start


def answer_of_health(container) -> str:
    """Return the good answer of health, asked inside the container: there may be no network."""

    def ask() -> str:
        code, output = container.exec_run(["python3", "-c", ASK])
        return output.decode().strip() if code == 0 and b'"true"' in output else ""

    try:
        return wait_for(ask, "health", 60)
    except AssertionError:
        raise AssertionError(container.logs().decode()) from None


@pytest.mark.parametrize("user", ["", "0:0"], ids=["ma-user", "root"])
@pytest.mark.parametrize("profile", PROFILES)
def test_where_clone3_is_forbidden_threads_start_all_the_same(start, profile, user):
    with start(profile, user=user, security_opt=[f"seccomp={OLD_SECCOMP}"]) as container:
        # The host is what it is taken for: another Python there starts no thread.
        code, output = container.exec_run(["python3", "-c", START_THREAD])
        assert (code, b"can't start new thread" in output) == (1, True), output

        assert answer_of_health(container) == '{"health": "true"}'

        logs = container.logs().decode()
        assert "this host forbids clone3" in logs
        assert "replaced" not in logs
        container.kill("SIGTERM")
        assert container.wait(timeout=30)["StatusCode"] == 0


HOSTS = {
    "64 MB of shared memory": {"shm_size": "64m"},
    "no network at all": {"network_mode": "none"},
    "read-only with /tmp alone": {
        "read_only": True,
        "tmpfs": {"/tmp": "", "/dev/shm": "ro"},
    },
    "one CPU that is not the first": {"cpuset_cpus": str(max(os.sched_getaffinity(0)))},
}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("profile", PROFILES)
def test_the_image_starts_and_answers_on_a_host_with_less(start, profile, host):
    with start(profile, **HOSTS[host]) as container:
        assert answer_of_health(container) == '{"health": "true"}'

        _, output = container.exec_run(["cat", "/proc/1/status"])
        logs = container.logs().decode()
        assert "replaced" not in logs, logs
        assert "clone3" not in logs, logs
        if "cpuset_cpus" in HOSTS[host]:
            cpu = HOSTS[host]["cpuset_cpus"]
            assert f"Cpus_allowed_list:\t{cpu}\n" in output.decode()
            assert "1 workers" in logs
