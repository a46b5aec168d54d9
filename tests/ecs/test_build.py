"""Building there: the same image as here, by either builder, whoever comes and goes meanwhile."""

from __future__ import annotations

import hashlib
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from ecs_machine import wait_for
from interrupting import INTERRUPTIBLE

from custom_image.build_context import BuildContext
from custom_image.builders.base import ensure_base_image
from custom_image.ecs import Job, Limits, attach, build
from custom_image.ecs.transfer.send import STORE
from custom_image.errors import BuildFailed, ConnectionLost, PackageError, Unavailable

BUILDERS = ("buildkit", "classic")
# What the engine lays over every container.
NOT_OF_THE_IMAGE = (
    ".dockerenv",
    "dev",
    "etc/hostname",
    "etc/hosts",
    "etc/resolv.conf",
    "proc",
    "sys",
)

AUTHOR = f"""{INTERRUPTIBLE}
import sys
from pathlib import Path
from custom_image.build_context import BuildContext
from custom_image.ecs import BuildServer, Connection, build
host, config, folder, base = sys.argv[1:]
context = BuildContext(Path(folder), "ecs_build", "digest", base_image=base)
with Connection.open(host, config_file=config) as connection:
    build(context, "ecs-tests:interrupted", on=BuildServer(connection))
"""


@pytest.fixture
def base(there, docker_engine) -> str:
    """A base image that the server holds, for builds of a few lines."""
    there("buildkit")
    return ensure_base_image(engine=docker_engine)


@pytest.fixture
def write_context(tmp_path, base):
    """Write a context of a Dockerfile alone: ``write_context("RUN true")``."""

    def write(lines: str, name: str = "context") -> BuildContext:
        folder = tmp_path / name / "context"
        folder.mkdir(parents=True)
        (folder / "Dockerfile").write_text(f"ARG BASE_IMAGE\nFROM ${{BASE_IMAGE}}\n{lines}\n")
        (folder / ".dockerignore").write_text("")
        return BuildContext(folder, "ecs_build", name, base_image=base)

    return write


def leftovers(server) -> dict[str, str]:
    """What a build that failed may not leave behind."""
    return {
        "containers": server.run("docker ps --all --quiet"),
        "processes": server.run("pgrep -x docker || true"),
        "contexts of the engine": server.run("ls /var/lib/docker/tmp"),
        "uploads": server.run(f"find /root/{STORE}/uploads -type f"),
    }


NOTHING = dict.fromkeys(("containers", "processes", "contexts of the engine", "uploads"), "")


def file_tree(server, reference) -> dict[str, tuple]:
    """Return what every path of an image is: kind, mode, owner, size, content or target."""
    tree = {}
    with server.docker() as client:
        container = client.containers.create(reference, command="none")
        process = server.popen("docker", "export", container.id, stdout=-1)
        with process.stdout as stream, tarfile.open(fileobj=stream, mode="r|") as archive:
            for member in archive:
                if member.name.rstrip("/").startswith(NOT_OF_THE_IMAGE):
                    continue
                content = archive.extractfile(member).read() if member.isfile() else b""
                tree[member.name] = (
                    *(member.type, oct(member.mode), member.uid, member.gid, member.linkname),
                    *(member.size, hashlib.sha256(content).hexdigest()),
                )
        process.wait(timeout=60)
        container.remove()
    return tree


def test_the_image_is_built_there_and_says_so(there, shared_server):
    image, context = there("buildkit")

    with shared_server.docker() as client:
        assert client.images.get("ecs_build:buildkit").id == image.facts.id
    assert image.server == shared_server.host
    assert image.context_digest == context.digest
    assert image.layers[0].instruction.startswith("FROM ")
    assert sum(layer.bytes for layer in image.layers) == image.facts.size_bytes
    assert f"on {shared_server.host}" in str(image).splitlines()[0]


@pytest.mark.parametrize("scenario", ["ecs_build", "dockerfile_build"])
def test_both_builders_make_the_same_file_tree(there, ecs_server, scenario):
    buildkit, classic = (there(builder, scenario)[0] for builder in BUILDERS)

    first, second = (file_tree(ecs_server, image.reference) for image in (buildkit, classic))

    assert len(first) > 3000
    assert {
        path: (first.get(path), second.get(path)) for path in first.keys() ^ second.keys()
    } == {}
    assert {p: (first[p], second[p]) for p in first if first[p] != second[p]} == {}
    assert [x.instruction for x in buildkit.layers] == [x.instruction for x in classic.layers]
    assert buildkit.facts.command == classic.facts.command
    assert buildkit.facts.environment == classic.facts.environment
    assert buildkit.facts.labels == classic.facts.labels


def test_a_second_build_after_an_edit_sends_kilobytes_and_reuses_layers(
    there, build_server, tmp_path
):
    _, context = there("buildkit")
    copy = tmp_path / "context"
    shutil.copytree(context.folder, copy)
    code = copy / "rootfs/home/ma-user/infer/model/1/customize_service.py"
    code.write_text(code.read_text() + "# edited\n")
    edited = BuildContext(copy, "ecs_build", "edited", arguments=context.arguments)
    before = build_server.connection.traffic.copy()

    image = build(edited, "ecs_build:buildkit", on=build_server)

    assert image.sent.files == 1
    assert image.sent.bytes == code.stat().st_size
    assert build_server.connection.traffic.sent - before.sent < 60_000
    assert [layer.instruction.split()[-1] for layer in image.layers if not layer.reused] == [
        "/home/ma-user/infer/model/"
    ]


def test_a_step_that_fails_is_named_and_leaves_nothing(write_context, build_server, ecs_server):
    for builder in BUILDERS:
        context = write_context("RUN echo the reason >&2 && exit 7", builder)

        with pytest.raises(BuildFailed) as failed:
            build(context, "ecs-tests:fails", on=build_server, builder=builder)

        assert "echo the reason >&2 && exit 7" in str(failed.value).splitlines()[0]
        assert "the reason" in str(failed.value)
    assert leftovers(ecs_server) == NOTHING


def test_a_step_has_no_network(write_context, build_server):
    context = write_context('RUN test "$(ls /sys/class/net)" = lo')

    for builder in BUILDERS:
        build(context, f"ecs-tests:{builder}", on=build_server, builder=builder)


def test_a_cut_leaves_the_build_running_and_attach_goes_on(write_context, reach, ecs_server):
    context = write_context(slow_step(4))

    with (
        pytest.raises(ConnectionLost, match="goes on") as lost,
        when(ecs_server, "first line", ecs_server.cut),
    ):
        build(context, "ecs-tests:cut", on=reach(keep_alive_s=1), builder="classic")
    ecs_server.restore()
    job_id = str(lost.value).split("Job ")[1].split()[0]
    image = attach(reach(), job_id)

    assert image.reference == "ecs-tests:cut"
    job = Job.attach(reach().connection, job_id)
    assert {"first line", "last line"} <= set(job.follow())
    assert job.code == 0


def test_an_interrupt_leaves_the_build_running(write_context, reach, ecs_server, base):
    context = write_context(slow_step(3))
    arguments = [ecs_server.host, ecs_server.ssh_config, context.folder, base]
    author = subprocess.Popen(
        [sys.executable, "-c", AUTHOR, *arguments], stderr=subprocess.PIPE, text=True
    )

    with when(ecs_server, "first line", lambda: author.send_signal(signal.SIGINT)):
        said = author.communicate(timeout=60)[1]
    image = attach(reach(), newest_job(ecs_server))

    assert author.returncode != 0
    assert f"Job {newest_job(ecs_server)} goes on" in said
    assert image.reference == "ecs-tests:interrupted"


def test_a_job_is_cancelled_from_another_connection_and_leaves_nothing(
    write_context, connect, build_server, ecs_server
):
    other = connect()

    def cancel() -> None:
        Job.attach(other, newest_job(ecs_server)).cancel()

    for builder in BUILDERS:
        with (
            pytest.raises(BuildFailed, match="was cancelled"),
            when(ecs_server, "first line", cancel),
        ):
            build(
                write_context(slow_step(60), builder),
                f"ecs-tests:cancelled-{builder}",
                on=build_server,
                builder=builder,
            )
    wait_for(lambda: leftovers(ecs_server) == NOTHING, f"nothing left: {leftovers(ecs_server)}")


def test_a_build_that_takes_too_long_is_ended(write_context, build_server, ecs_server):
    with pytest.raises(BuildFailed, match="longer than the time limit"):
        build(write_context(slow_step(60)), "ecs-tests:slow", on=build_server, limit_s=2)

    wait_for(lambda: leftovers(ecs_server) == NOTHING, f"nothing left: {leftovers(ecs_server)}")


def test_two_builds_at_once_do_not_harm_each_other(write_context, reach, ecs_server):
    built = {}

    def run(name: str) -> None:
        context = write_context(f"COPY mine /mine\n{slow_step(2)}", name)
        (context.folder / "mine").write_text(name)
        built[name] = build(context, f"ecs-tests:{name}", on=servers[name])

    servers = {name: reach() for name in ("one", "two")}
    threads = [threading.Thread(target=run, args=(name,)) for name in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(built) == ["one", "two"]
    for name, image in built.items():
        output = ecs_server.run(f"docker run --rm {image.reference} cat /mine")
        assert output == name


def test_a_second_build_of_the_same_name_is_told_of_the_first(write_context, reach, ecs_server):
    first, second = reach(), reach()
    context = write_context(slow_step(60))
    refused = []

    def build_again() -> None:
        try:
            build(context, "ecs-tests:same", on=second)
        except Unavailable as error:
            refused.append(str(error))
        Job.attach(second.connection, newest_job(ecs_server)).cancel()

    with (
        pytest.raises(BuildFailed, match="was cancelled"),
        when(ecs_server, "first line", build_again),
    ):
        build(context, "ecs-tests:same", on=first)

    assert "builds this image on the server already" in refused[0]
    assert newest_job(ecs_server) in refused[0]


@pytest.mark.parametrize("builder", BUILDERS)
def test_an_engine_that_restarts_in_mid_build_ends_in_the_image(
    builder, write_context, build_server, ecs_server
):
    context = write_context(f"RUN echo kept\n{slow_step(2)}")

    with when(ecs_server, "first line", lambda: ecs_server.restart_engine(signal.SIGKILL)):
        image = build(context, "ecs-tests:restart", on=build_server, builder=builder)

    # Killed, an engine may forget the step that it did last, and do it again.
    assert [layer.instruction.split()[0] for layer in image.layers] == ["FROM", "RUN", "RUN"]
    assert leftovers(ecs_server) == NOTHING


@pytest.mark.parametrize(
    "builder", ["buildkit", pytest.param("classic", marks=pytest.mark.true_time)]
)
def test_a_full_disk_is_told_and_what_filled_it_is_given_back(
    builder, write_context, start_server, reach, tmp_path
):
    (tmp_path / "server").mkdir()
    with start_server(tmp_path / "server", disk_gb=0.6) as small:
        server = reach(small)
        context = write_context(
            "RUN head -c 100000000 /dev/urandom >/first\nRUN head -c 900000000 /dev/zero >/second"
        )
        build(write_context("RUN true", "before"), "ecs-tests:before", on=server)
        free_bytes = small.free_bytes()

        with pytest.raises(BuildFailed, match="its disk became full") as failed:
            build(context, "ecs-tests:full", on=server, builder=builder)

        assert "GB are free" in str(failed.value)
        assert small.free_bytes() > free_bytes - 20_000_000
        assert leftovers(small) == NOTHING
        server.connection.close()


def test_a_server_of_another_architecture_is_refused_before_anything_is_sent(
    there, build_server, ecs_server
):
    _, context = there("buildkit")
    ecs_server.run(
        "mkdir -p /usr/local/bin; cat >/usr/local/bin/docker; chmod +x /usr/local/bin/docker",
        input=b'#!/bin/sh\n[ "$1" = version ] || exec /usr/bin/docker "$@"\n'
        b'/usr/bin/docker "$@" | sed s/amd64/arm64/\n',
    )
    sent = build_server.connection.traffic.sent

    try:
        with pytest.raises(Unavailable, match=r"is arm64, and the Python packages .* nothing was"):
            build(context, "ecs-tests:arm", on=build_server)
    finally:
        ecs_server.run("rm /usr/local/bin/docker")

    assert build_server.connection.traffic.sent - sent < 10_000


def test_an_image_that_no_deployment_takes_is_refused_before_anything_is_sent(there, build_server):
    _, context = there("buildkit")
    sent = build_server.connection.traffic.sent

    with pytest.raises(PackageError, match="largest parts: Python packages 14"):
        build(
            context,
            "ecs-tests:large",
            on=build_server,
            limits=Limits(notebook_bytes=10**8, image_bytes=2 * 10**8),
        )

    assert build_server.connection.traffic.sent == sent


def slow_step(seconds: int) -> str:
    """A step that says two lines, that long apart; nothing else of it could wait for a test.

    No other try of a test has left it in the builder's cache.
    """
    wait = f"n=0; while [ $n -lt {10 * seconds} ]; do n=$((n + 1)); sleep 0.1; done"
    return f"RUN : {uuid.uuid4().hex}; echo first line; {wait}; echo last line"


def newest_job(server) -> str:
    return server.run(f"ls /root/{STORE}/jobs | sort | tail -n 1").strip()


@contextmanager
def when(server, line: str, act: Callable[[], object]) -> Iterator[None]:
    """Act as soon as the newest job's log has a line; the block runs meanwhile."""
    known = newest_job(server)

    def wait_and_act() -> None:
        wait_for(lambda: newest_job(server) != known, "a job", timeout_s=120)
        log = f"/root/{STORE}/jobs/{newest_job(server)}/log"
        try:
            wait_for(lambda: server.run(f"grep -E '^(#.*)?{line}$' {log} || true"), line)
        except AssertionError as error:
            raise AssertionError(f"{error}; {log}:\n{server.run(f'cat {log}')}") from error
        act()

    thread = threading.Thread(target=wait_and_act)
    thread.start()
    try:
        yield
    finally:
        thread.join()
