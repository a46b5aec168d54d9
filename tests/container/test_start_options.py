"""Instances that are started with what the service's form takes, and rules that see them."""

from __future__ import annotations

import pytest

from custom_image.engines import StartOptions
from custom_image.engines.options import parse_options
from custom_image.engines.readiness import wait_until_ready
from custom_image.report import Verdict
from custom_image.verification import verify

# Names are watched from the moment in which the container's network namespace is found.
ASK = "import socket, time; time.sleep(1); socket.getaddrinfo('hub.example', 443)"


def test_a_container_without_a_network_answers_and_its_lookups_are_written_down(
    docker_engine, tiny_image
):
    command = ["sh", "-c", f'python3 -c "{ASK}"; exec sh /home/run.sh']
    options = StartOptions(is_offline=True, command=command)
    with docker_engine.start(tiny_image.reference, options) as instance:
        wait_until_ready(instance, "/health", 60)
        (lookup,) = instance.lookups()
        _, networks = instance.execute(["cat", "/proc/net/dev"])
        instance.restart()
        wait_until_ready(instance, "/health", 60)  # raises where it does not answer again

    assert lookup.name == "hub.example"
    assert "python3 -c import socket, time" in lookup.process
    assert [line.split(":")[0].strip() for line in networks.splitlines()[2:]] == ["lo"]


def test_an_image_is_judged_without_a_network_on_a_flavor_with_mounted_weights(
    docker_engine, tiny_image, tmp_path
):
    (tmp_path / "weights.bin").write_bytes(b"7")
    options = parse_options(
        env=["WEIGHTS_TOKEN=1f60-never-shown"],
        volume=[f"{tmp_path}:/weights"],
        memory="1g",
        cpus=1,
        shm_size="128m",
        network="none",
    )

    report = verify(
        tiny_image.reference,
        engine=docker_engine,
        only=["api.answers", "start.shared-memory"],
        start_options=options,
    )

    assert report.verdict is Verdict.PASSED, str(report)
    assert report.check("start.shared-memory").verdict is Verdict.PASSED
    assert f"--volume {tmp_path}:/weights:ro --memory 1024m --shm-size 128m" in report.remarks[0]
    assert "never-shown" not in report.to_json()


@pytest.mark.parametrize("options", [{"gpus": "all"}, {"device": ["/dev/davinci0"]}])
def test_where_the_machine_lacks_a_device_rules_that_need_it_say_so(
    docker_engine, tiny_image, options
):
    report = verify(
        tiny_image.reference,
        engine=docker_engine,
        only=["boot.file", "api.answers"],
        start_options=parse_options(**options),
    )

    assert report.check("boot.file").verdict is Verdict.PASSED
    assert "lacks a device that was named" in report.check("api.answers").measured
