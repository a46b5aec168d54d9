"""The verifier on the server's engine, through the same connection."""

from __future__ import annotations

import gc
import threading

import pytest
from ecs_machine import wait_for
from small_digits import small_digits
from tiny_package import write_tiny_package

from custom_image.build_context import write_build_context
from custom_image.ecs import build, verify
from custom_image.engines.client import predict
from custom_image.engines.docker.owners import OWNER_LABEL, this_process
from custom_image.engines.readiness import wait_until_ready
from custom_image.errors import ConnectionLost
from custom_image.mnist import encode_jpeg
from custom_image.report import Verdict
from custom_image.specification import HEALTH_URL, MODEL_DIR

RULES = ("boot.command", "api.answers", "sigterm.exit-code", "network.bind-address", "user.account")


@pytest.fixture
def image(there) -> str:
    return there("buildkit")[0].reference


def test_an_image_is_judged_there_and_no_port_of_the_server_is_opened(
    image, build_server, ecs_server
):
    listening = []

    def look() -> None:
        wait_for(lambda: ecs_server.run("docker ps --quiet"), "a container")
        listening.append(ecs_server.run("ss -tlnH").split("\n"))

    looking = threading.Thread(target=look)
    looking.start()
    report = verify(image, on=build_server, only=RULES)
    looking.join()

    checks = {check.id: check.verdict for check in report.checks}
    assert {checks[rule] for rule in RULES} == {Verdict.PASSED}, report
    others = [line for line in listening[0] if line and ":2222 " not in line]
    assert all(line.split()[3].startswith("127.0.0.1:") for line in others), others
    assert ecs_server.run("docker ps --all --quiet") == ""


# The SDK leaves its socket to the garbage collector where it cannot connect.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_cut_ends_in_no_verdict_and_what_was_left_is_found_again(image, reach, ecs_server):
    server = reach(keep_alive_s=1)

    def cut() -> None:
        wait_for(lambda: ecs_server.run("docker ps --quiet"), "a container")
        ecs_server.cut()

    cutter = threading.Thread(target=cut)
    cutter.start()
    with pytest.raises(ConnectionLost, match="there is no verdict"):
        verify(image, on=server, only=("api.answers", "sigterm.exit-code"))
    cutter.join()
    ecs_server.restore()

    left = ecs_server.run(
        f"docker ps --all --format '{{{{.Label \"{OWNER_LABEL}\"}}}}'"
    ).splitlines()
    assert left
    assert set(left) == {this_process()}, "the next Python removes them by this label"
    reach().engine.remove_every_run()
    assert ecs_server.run("docker ps --all --quiet") == ""
    gc.collect()


def test_a_file_in_parts_is_whole_again_in_the_container(build_server, tmp_path):
    package = write_tiny_package(tmp_path / "model")
    context = write_build_context(
        package, "ecs_build", layer_bytes=15_000, folder=tmp_path / "ecs" / "context"
    )
    assert len(list(context.folder.glob("weights/*/*.part-*"))) == 3

    image = build(context, "ecs-tests:parts", on=build_server)

    sizes = [layer.bytes for layer in image.layers if "weights/" in layer.instruction]
    assert max(sizes) <= 15_000
    with build_server.engine.start(image.reference) as service:
        wait_until_ready(service, HEALTH_URL.value, timeout_s=60)
        whole = (package.folder / "mnist.onnx").read_bytes()
        assert service.read_file(f"{MODEL_DIR}/mnist.onnx") == whole
        answer = predict(service.url, encode_jpeg(small_digits().example(7)))
    assert answer.json == {"mnist_result": 7}
