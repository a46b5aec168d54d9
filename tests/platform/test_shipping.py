"""From an image to an answering service by the tool's own verbs, on a real engine and registry."""

from __future__ import annotations

import json
import shutil
import sys
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from classic_services import PARTS, PROBES
from hypothesis import HealthCheck, Phase, given, settings
from local_cloud import Rehearsal, wait_for
from local_models import build_image
from local_services import token
from own_dockerfile import write_own_context
from small_digits import small_digits
from tiny_package import write_tiny_package

from custom_image import cli, cloud
from custom_image.builders import find_base
from custom_image.builders.docker import build
from custom_image.cloud.services.compare import compare
from custom_image.cloud.services.migrate import find_v1, migrate
from custom_image.dockerfile_context import write_dockerfile_context
from custom_image.errors import CloudRefused, Unavailable
from custom_image.mnist import encode_jpeg
from custom_image.model_config import ModelConfig, parse_model_config
from custom_image.rehearsal.run import platform_settings

SPEED = 60
WAITS = {"DRAIN_SECONDS": "1", "EXIT_SECONDS": "1.4"}
NAME = "team/shipped:1.0.0"
DIGITS = small_digits()
SLOWLY_ILL = {"url": "/nowhere", "failure_threshold": 1, "initial_delay_seconds": 300}
"""A health check that fails once the image has had the time to say something."""


@pytest.fixture(scope="module")
def here(rehearsal: Rehearsal) -> Iterator[cloud.Cloud]:
    """The tool's client of a platform that waits a sixtieth of the platform's times."""
    rehearsal.restart(*platform_settings(SPEED), "services=100", "stop_delay_s=20")
    yield cloud.open_cloud("local", folder=rehearsal.folder)
    rehearsal.kill()


@pytest.fixture(scope="module")
def config(serving_config: dict[str, Any]) -> ModelConfig:
    return parse_model_config(json.dumps(serving_config))


@pytest.fixture(scope="module")
def published(here, serving_image) -> cloud.PublishedImage:
    return cloud.push(serving_image, NAME, cloud=here)


@pytest.fixture(scope="module")
def model(here, published, config) -> cloud.Model:
    return cloud.publish(published, config, cloud=here)


@pytest.fixture(scope="module")
def service(here, model) -> Iterator[cloud.Service]:
    found = cloud.deploy(model, environment=WAITS, pool="pool", cloud=here)
    yield found
    cloud.delete(found)


@pytest.fixture(scope="module")
def seven() -> bytes:
    return encode_jpeg(DIGITS.test_images[0])


def test_pushing_and_publishing_again_send_nothing(here, published, model, serving_image, config):
    pushed = cloud.push(serving_image, NAME, cloud=here)
    again = cloud.publish(pushed, config, cloud=here)

    assert (pushed.was_there, pushed.digest) == (True, published.digest)
    assert (again.was_there, again.id, again.version) == (True, model.id, "1.0.0")
    assert cloud.find_image(NAME, cloud=here).digest == published.digest


def test_a_service_of_v2_answers_who_has_an_api_key_and_says_who_speaks(service, seven):
    answer = service.predict(seven)
    refused = service.predict(b"no picture")
    unknown = service.predict(seven, token="nobody's")

    assert service.generation == "v2"
    assert "/v2/infers/" in service.url
    assert (answer.ok, answer.said_by, answer.advice) == (True, "the model", "")
    assert (refused.status, refused.said_by) == (422, "the model")
    assert (unknown.status, unknown.said_by) == (401, "the platform")
    assert "MODELARTS_API_KEY" in unknown.advice


def test_an_image_of_ones_own_dockerfile_ships_like_one_made_here(
    here, docker_engine, seven, tmp_path
):
    source = write_own_context(tmp_path / "mine")
    base, _ = find_base(engine=docker_engine)
    context = write_dockerfile_context(source, base_image=base, folder=tmp_path / "context")
    image = build(context, "custom-image/tests:own-shipped", engine=docker_engine)
    image_config = parse_model_config((source / "config.json").read_text())

    pushed = cloud.push(image.reference, "team/own:1", cloud=here)
    model = cloud.publish(pushed, image_config, name="own", cloud=here)
    service = cloud.deploy(model, environment=WAITS, pool="pool", cloud=here)
    try:
        answer = service.predict(seven)
        assert (answer.status, answer.json) == (200, {"mnist_result": 7})
    finally:
        cloud.delete(service)


def test_a_service_of_v1_answers_signed_requests_and_those_with_a_token(
    rehearsal, here, model, seven
):
    old = cloud.deploy(
        model, "shipped-v1", environment=WAITS, pool="pool", generation="v1", cloud=here
    )
    try:
        signed = old.predict(seven)
        by_token = old.predict(seven, token=token(rehearsal.up()))

        assert signed.ok, signed
        assert by_token.text == signed.text
        assert old.predict(seven, token="nobody's").status == 401
    finally:
        cloud.delete(old)


def test_a_migrated_service_answers_the_same(here, model, seven):
    old = cloud.deploy(model, "old", environment=WAITS, pool="pool", generation="v1", cloud=here)
    planned = migrate(*find_v1(here, "old"), here)
    new = planned.deploy(here)
    try:
        found = compare(old, new, [("seven.jpg", seven), ("broken.jpg", b"no picture")])
        assert found.are_equal, found
        assert (new.name, new.generation, new.options.environment) == ("old-v2", "v2", WAITS)
        assert new.options.pool == "pool"
    finally:
        for service in (old, new):
            cloud.delete(service)


@pytest.mark.true_time
@pytest.mark.timeout(900)
@settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(part=PARTS, health=PROBES, startup=PROBES)
def test_whatever_is_migrated_answers_the_same(
    part: dict[str, Any], health: Any, startup: Any, here, published, config, seven
):
    """Drawn classic services, run on both generations; each probe asks what the image answers."""
    (Path(here.platform.obs_folder) / "bucket/data").mkdir(parents=True, exist_ok=True)
    asked = {"url": "/health", "failure_threshold": "200"}
    probes = {"health": health or {"check_method": "HTTP"}, "startup_health": startup}
    document = json.loads(config.to_json()) | {k: p | asked for k, p in probes.items() if p}
    name = f"drawn-{uuid.uuid4().hex[:8]}"
    model = cloud.publish(
        published, parse_model_config(json.dumps(document)), name=name, cloud=here
    )
    part = part | {
        "model_id": model.id,
        "instance_count": min(2, part["instance_count"]),
        "envs": part.get("envs", {}) | WAITS,
        "deploy_timeout_in_seconds": 7200,  # a sixtieth of it here
    }
    body = {"service_name": name, "infer_type": "real-time", "config": [part]}
    here.call("POST", "/services", body, what=f"deploy {name}")
    old = wait_for(lambda: running(here, name), f"{name} runs", 120)
    planned = migrate(*find_v1(here, name), here)
    more_time = replace(planned.options, deploy_timeout_min=120)
    new = replace(planned, options=more_time).deploy(here)
    try:
        found = compare(old, new, [("seven.jpg", seven), ("broken.jpg", b"no picture")])
        assert found.are_equal, str(found)
        assert [pair[0].status for pair in found.pairs] == [200, 422]
    finally:
        for service in (old, new):
            cloud.delete(service)


def running(here: cloud.Cloud, name: str) -> cloud.Service | None:
    """Return a classic service once it runs."""
    found = cloud.find_service(name, generation="v1", cloud=here)
    assert found.status != "failed", found
    return found if found.status == "running" else None


def test_what_is_there_is_found_by_its_name_and_deploying_it_again_changes_nothing(
    here, service, model, seven
):
    again = cloud.deploy(
        cloud.find_model(model.name, cloud=here), environment=WAITS, pool="pool", cloud=here
    )

    assert (again.was_there, again.id) == (True, service.id)
    assert cloud.find_service(service.name, cloud=here).predict(seven).ok


def test_an_upgrade_and_the_way_back_keep_the_service(here, service, published, config, seven):
    newer = cloud.publish(published, config, version="1.0.1", cloud=here)

    upgraded = cloud.upgrade(service, newer)
    assert (upgraded.id, upgraded.model.version) == (service.id, "1.0.1")
    assert upgraded.predict(seven).ok
    assert cloud.upgrade(upgraded, service.model).model.version == "1.0.0"


def test_v2_deploys_the_same_model_and_upgrades_it(here, model, published, config, seven):
    service = cloud.deploy(model, "newer", environment=WAITS, cloud=here)
    try:
        assert service.predict(seven).ok
        again = cloud.deploy(model, "newer", environment=WAITS, cloud=here)
        assert (again.was_there, again.id) == (True, service.id)
        changed = cloud.deploy(model, "newer", environment={**WAITS, "LEVEL": "1"}, cloud=here)
        assert (changed.was_there, changed.id) == (False, service.id)
        assert changed.predict(seven).ok
    finally:
        cloud.delete(service)


def test_a_thin_image_answers_7_from_weights_beside_it(
    here, docker_engine, serving_image, config, seven, tmp_path
):
    """The image's own weights are no model: only those of the mount can answer."""
    thin = build_image(
        docker_engine, "custom-image/tests:thin", serving_image, {"mnist.onnx": "not here"}
    )
    bucket = Path(here.platform.obs_folder) / "models/mnist"
    bucket.mkdir(parents=True)
    shutil.copy(write_tiny_package(tmp_path / "tiny").folder / "mnist.onnx", bucket)
    model = cloud.publish(
        cloud.push(thin, "team/thin:1.0.0", cloud=here), config, name="thin", cloud=here
    )

    service = cloud.deploy(
        model, weights="obs://models/mnist/", pool="pool", environment=WAITS, cloud=here
    )
    try:
        answer = service.predict(seven)
        assert (answer.status, answer.json) == (200, {"mnist_result": 7})
        assert service.options.mounts == {"/model/": "obs://models/mnist/"}
    finally:
        cloud.delete(service)


def test_verbs_that_a_kill_of_the_platform_interrupts_come_to_their_end_when_repeated(
    rehearsal, here, published, config, seven
):
    settings = (*platform_settings(SPEED), "services=100", "stop_delay_s=20")
    is_over, kills = Event(), []

    def kill_again_and_again() -> None:
        while not is_over.wait(0.7):
            rehearsal.restart(*settings)
            kills.append(time.monotonic())

    def insist(verb: Callable[[], Any]) -> Any:
        """Repeat a verb as a user would who reads that the API does not answer."""
        return wait_for(lambda: attempt(verb), "the verb comes to its end")

    def attempt(verb: Callable[[], Any]) -> Any:
        try:
            return verb()
        except Unavailable:
            return None

    with ThreadPoolExecutor() as threads:
        killer = threads.submit(kill_again_and_again)
        try:
            deploying = {"environment": WAITS, "pool": "pool", "cloud": here}
            old = insist(lambda: cloud.publish(published, config, name="killed", cloud=here))
            new = insist(
                lambda: cloud.publish(published, config, name="killed", version="1.0.1", cloud=here)
            )
            service = insist(lambda: cloud.deploy(old, "killed", **deploying))
            insist(lambda: cloud.upgrade(service, new))
            while len(kills) < 3:
                insist(lambda: cloud.upgrade(service, old))
            upgraded = insist(lambda: cloud.upgrade(service, new))
        finally:
            is_over.set()
        killer.result()

    rehearsal.restart(*settings)
    found = cloud.find_service("killed", cloud=here)
    assert (found.id, upgraded.id) == (service.id, service.id)
    assert found.model.version == "1.0.1"
    assert wait_for(lambda: found.predict(seven).ok, "it answers")
    cloud.delete(found)


@pytest.mark.parametrize("generation", ["v1", "v2"])
def test_an_asynchronous_service_delivers_by_a_task(here, published, config, seven, generation):
    model = cloud.publish(published, config, name="later", asynchronous=True, cloud=here)
    service = cloud.deploy(
        model,
        f"later-{generation}",
        environment=WAITS,
        asynchronous=True,
        generation=generation,
        cloud=here,
    )
    try:
        answer = service.predict(seven)
        assert answer.ok, answer
        assert "by a task" in answer.request
        assert "mnist_result" in answer.json
    finally:
        cloud.delete(service)


def test_a_batch_of_a_folder_names_what_failed_and_is_found_again(here, model, tmp_path):
    for number in range(6):
        (tmp_path / f"{number}.jpg").write_bytes(encode_jpeg(DIGITS.test_images[number]))
    (tmp_path / "broken.jpg").write_bytes(b"no picture")

    job = cloud.batch(model, tmp_path, environment=WAITS, cloud=here)
    again = cloud.batch(model, tmp_path, environment=WAITS, cloud=here)

    assert {result.name for result in job.results if result.ok} == {f"{n}.jpg" for n in range(6)}
    assert [failure.name for failure in job.failures] == ["broken.jpg"]
    assert all("mnist_result" in result.json for result in job.results if result.ok)
    assert (again.was_there, again.id) == (True, job.id)
    assert "6 of 7 files answered" in str(job)


def test_a_batch_of_a_manifest_reads_paths_of_this_machine(here, model, tmp_path):
    (tmp_path / "a.jpg").write_bytes(encode_jpeg(DIGITS.test_images[0]))
    manifest = tmp_path / "all.manifest"
    manifest.write_text('{"source": "a.jpg"}\n')

    job = cloud.batch(model, manifest, environment=WAITS, cloud=here)

    assert [(result.name, result.ok) for result in job.results] == [("a.jpg", True)]


def test_a_deployment_that_fails_leaves_a_bundle_with_the_logs_of_its_instances(
    here, published, config, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert config.health is not None
    health = config.health.model_copy(update=SLOWLY_ILL)
    ill = config.model_copy(update={"health": health})
    model = cloud.publish(published, ill, name="ill", cloud=here)

    with pytest.raises(CloudRefused, match="build/bundles/deploy-ill-") as failed:
        cloud.deploy(model, environment=WAITS, pool="pool", cloud=here)

    (bundle,) = Path("build/bundles").iterdir()
    with zipfile.ZipFile(bundle) as archive:
        logs, events = archive.read("logs.txt").decode(), archive.read("events.json").decode()
        pods = archive.read("pod_events.json").decode()
    assert "model_service listen" in logs
    assert "GET /nowhere answered 404" in events
    assert "Unhealthy" in pods
    assert "nowhere" in pods
    assert str(failed.value).count("\n") == 2
    found = cloud.find_service("ill", cloud=here)
    cloud.delete(found)


def test_the_command_line_ships_and_asks(
    here, rehearsal, serving_image, tmp_path, monkeypatch, capsys
):
    platform = rehearsal.up().platform
    monkeypatch.setenv("MODELARTS_ENDPOINT", platform.endpoint)
    monkeypatch.setenv("HUAWEICLOUD_SDK_CREDENTIALS_FILE", platform.credentials_file)
    monkeypatch.chdir(tmp_path)
    Path("digit.jpg").write_bytes(encode_jpeg(DIGITS.test_images[0]))
    waits = [word for name, value in WAITS.items() for word in ("--env", f"{name}={value}")]

    def run(*arguments: str) -> str:
        monkeypatch.chdir(tmp_path)  # each command enters the project
        monkeypatch.setattr(sys, "argv", ["custom-image", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
        said = capsys.readouterr()
        assert left.value.code == 0, said.err
        return said.out

    assert NAME in run("push", serving_image, "--to", NAME)
    assert "cli 1.0.0" in run("publish", NAME, "--name", "cli")  # its config.json is in the image
    assert "cli: running" in run("deploy", "cli", *waits)
    assert "mnist_result" in run("predict", "cli", "digit.jpg")
    assert "ran already" in run("deploy", "cli", *waits)
    dry = run("deploy", "cli", "--dry-run", *waits)
    assert f"POST {platform.endpoint}/v2/" in dry
    assert run("delete", "cli") == "cli is gone\n"
