"""Pushing from the server: nothing twice, no secret left, and on through a registry's faults."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from ecs_machine import wait_for
from ecs_registry import PASSWORD, ServerRegistry

from custom_image import local_platform
from custom_image.cloud import open_cloud
from custom_image.cloud.images import log_in
from custom_image.ecs import Job, attach_push, push
from custom_image.ecs.push.plan import forecast
from custom_image.ecs.push.registry import Registry
from custom_image.ecs.transfer.send import STORE
from custom_image.errors import ConnectionLost, PackageError, Unavailable
from custom_image.image_reference import ImageReference


@pytest.fixture
def registry(shared_registry, ecs_server) -> Iterator[ServerRegistry]:
    yield shared_registry
    shared_registry.behave()


@pytest.fixture
def random_image(ecs_server) -> str:
    """An image of one layer of 6 MB that no registry knows."""
    ecs_server.run(
        "rm -rf /tmp/random; mkdir /tmp/random; cd /tmp/random; head -c 6000000 /dev/urandom >it;"
        " printf 'FROM scratch\\nCOPY it /\\n' >Dockerfile; docker build -q -t ecs-tests:random ."
    )
    return "ecs-tests:random"


def test_pushing_again_sends_nothing_and_a_new_layer_alone_is_foreseen(
    build_server, registry, ecs_server, random_image
):
    reference = f"{registry.host}/org/mnist:1"

    first = push(random_image, reference, on=build_server, login=registry.login)
    blobs = registry.blobs()
    second = push(
        random_image, f"{registry.host}/org/mnist:2", on=build_server, login=registry.login
    )

    assert first.digest == second.digest == registry.digest("org/mnist", "1")
    assert not first.was_there
    assert second.was_there
    assert registry.blobs() == blobs
    assert first.size_bytes > 6_000_000
    ecs_server.run(
        "cd /tmp/random; echo new >new;"
        f" printf 'FROM {random_image}\\nCOPY new /\\n' | docker build -q -t ecs-tests:more -f - ."
    )
    facts = build_server.engine.inspect("ecs-tests:more")
    with Registry(build_server.connection, registry.host, registry.login) as asked:
        known = asked.known_layers(ImageReference.parse(reference))
    foreseen = forecast(facts, reference, known)
    assert [made_by.split()[0] for made_by, _ in foreseen.lacking] == ["COPY"]
    assert sum(size for _, size in foreseen.lacking) < 100


def test_a_registry_with_tokens_and_tls_is_asked_as_docker_asks_it(
    build_server, shared_registry, random_image, tmp_path, capsys
):
    """The registry of a local ModelArts, with the temporary login that the SDK gets."""
    platform = local_platform.start(tmp_path / "platform")
    try:
        cloud = open_cloud("local", folder=tmp_path / "platform")
        cloud.create_organization("org")
        login = log_in(cloud)
        for address in (platform.registry, platform.endpoint):
            build_server.connection.lend_port(int(address.rpartition(":")[2]))

        pushed = push(random_image, f"{login.registry}/org/token:1", on=build_server, login=login)
        first = capsys.readouterr().err
        again = push(random_image, f"{login.registry}/org/token:2", on=build_server, login=login)
        second = capsys.readouterr().err
    finally:
        local_platform.stop(tmp_path / "platform", purge=True)

    assert pushed.size_bytes > 6_000_000, "the registry was asked for it, too"
    assert (pushed.was_there, again.was_there) == (False, True)
    assert pushed.digest == again.digest
    assert "the registry lacks 1 of 1 layers" in first
    assert "the registry lacks 0 of 1 layers" in second


def test_the_login_is_never_in_a_process_list_a_log_or_left_behind(
    build_server, registry, ecs_server, random_image
):
    seen = []
    registry.behave(pause_s=0.02)
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            seen.append(ecs_server.run("cat /proc/*/cmdline 2>/dev/null | tr '\\0' ' '"))

    looking = threading.Thread(target=look)
    looking.start()
    try:
        push(random_image, f"{registry.host}/org/slow:1", on=build_server, login=registry.login)
    finally:
        over.set()
        looking.join()

    assert any("docker push" in commands for commands in seen)
    assert not any(PASSWORD in commands for commands in seen)
    assert ecs_server.run(f"grep -rlF {PASSWORD} /root || true") == ""
    assert ecs_server.run(f"find /root/{STORE}/jobs -name docker") == ""


def test_a_registry_that_refuses_the_login_is_asked_once(build_server, registry, random_image):
    login = SimpleNamespace(user="nobody", password="wrong")

    with pytest.raises(Unavailable, match="unauthorized"):
        push(random_image, f"{registry.host}/org/no:1", on=build_server, login=login, pause_s=60)


def test_a_registry_that_dies_after_half_a_layer_gets_the_rest_later(
    build_server, registry, ecs_server, random_image
):
    registry.behave(dies_after_bytes=3_000_000)

    def repair() -> None:
        logs = f"/root/{STORE}/jobs/*/log"
        wait_for(
            lambda: "Retrying" in ecs_server.run(f"cat $(ls -t {logs} | head -n 1)"), "a fault"
        )
        registry.behave()

    fixing = threading.Thread(target=repair)
    fixing.start()
    pushed = push(
        random_image, f"{registry.host}/org/half:1", on=build_server, login=registry.login
    )
    fixing.join()

    assert pushed.digest == registry.digest("org/half", "1")


def test_a_cut_leaves_the_push_running_and_attach_goes_on(
    reach, registry, ecs_server, random_image
):
    registry.behave(pause_s=0.05)
    server = reach(keep_alive_s=1)

    def cut() -> None:
        wait_for(lambda: ecs_server.run("pgrep -f '^docker push' || true"), "a push")
        ecs_server.cut()

    cutting = threading.Thread(target=cut)
    cutting.start()
    with pytest.raises(ConnectionLost, match="goes on") as lost:
        push(
            random_image,
            f"{registry.host}/org/cut:1",
            on=server,
            login=registry.login,
        )
    cutting.join()
    ecs_server.restore()
    registry.behave()
    job_id = str(lost.value).split("Job ")[1].split()[0]

    again = reach()
    pushed = attach_push(again, job_id, registry.login)

    assert pushed.digest == registry.digest("org/cut", "1")
    assert Job.attach(again.connection, job_id).note()["reference"].endswith("/org/cut:1")


def test_a_layer_above_the_limit_and_too_many_layers_are_refused_before_the_push(
    build_server, registry, random_image
):
    reference = f"{registry.host}/org/limits:1"

    with pytest.raises(PackageError, match=r"a layer of 6\.0 MB is above .* nothing was pushed"):
        push(random_image, reference, on=build_server, login=registry.login, layer_bytes=5 * 10**6)
    with pytest.raises(PackageError, match="has 1 layers that the registry lacks; it takes 0"):
        push(random_image, reference, on=build_server, login=registry.login, most_layers=0)
