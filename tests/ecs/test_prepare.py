"""prepare_ecs.sh: on the stand-in, whose engine is stopped; truly on a bare Debian."""

from __future__ import annotations

import re
import shutil
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ecs_machine import PROJECT
from ecs_server import EcsServer

from custom_image import specification

SCRIPT = PROJECT / "scripts/prepare_ecs.sh"
USER_DATA_LIMIT_BYTES = 16 * 1024  # the smallest of the large clouds'; an ECS takes 32 KB


def prepare(server: EcsServer, *options: str, code: int = 0) -> list[str]:
    """Run it over SSH, as doctor does; return what it says, without its name."""
    command = " ".join(["sh", "-s", "--", *options])
    done = server.ssh(command, input=SCRIPT.read_text())
    assert done.returncode == code, done.stdout + done.stderr
    assert not done.stderr, done.stderr
    return [line.removeprefix("prepare_ecs: ") for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def server(start_server, tmp_path_factory) -> Iterator[EcsServer]:
    """One whose engine is installed and does not run, and whose clock seems to be kept."""
    folder = tmp_path_factory.mktemp("unprepared")
    with start_server(folder, disk_gb=5, with_engine=False) as server:
        server.run(
            "mkdir -p /usr/local/bin; cp /bin/sleep /usr/local/bin/chronyd\n"
            "setsid chronyd 10000 >/dev/null 2>&1 &"
        )
        yield server


def test_the_first_run_prepares_and_the_second_changes_nothing(server):
    options = ["--user", "maker", "--now", str(int(time.time()))]

    first = prepare(server, *options)
    second = prepare(server, *options)

    assert "done:    engine started" in first
    assert "done:    user maker may use the engine, from the next login on" in first
    assert second[-1] == "nothing changed"
    assert not [line for line in second if not line.startswith("already")][:-1]
    assert server.ssh("docker version --format up", user="maker").stdout == "up\n"


def test_images_go_to_the_largest_disk_and_stay_there(server):
    server.run(
        "truncate -s 20G /tmp/large; mkfs.ext4 -q -F /tmp/large\n"
        "mkdir -p /mnt/large; mount -o loop /tmp/large /mnt/large"
    )

    first = prepare(server, "--data-root", "largest")
    second = prepare(server, "--data-root", "largest")

    assert first[0].startswith("done:    images are kept in /mnt/large/docker, ")
    assert server.ssh("docker info -f '{{.DockerRootDir}}'").stdout == "/mnt/large/docker\n"
    assert second[-1] == "nothing changed"


def test_settings_of_the_engine_that_somebody_made_are_kept(server):
    settings = "/etc/docker/daemon.json"
    server.run(f"mkdir -p /etc/docker; [ ! -e {settings} ] || mv {settings} /tmp/ours")
    server.run(f"cat >{settings}", input=b'{ "debug": true }')

    said = prepare(server, "--data-root", "/srv/images", code=3)

    assert said[0].startswith(f"MISSING: images in /srv/images: {settings} exists")
    assert server.run(f"cat {settings}") == '{ "debug": true }'
    server.run(f"rm {settings}; [ ! -e /tmp/ours ] || mv /tmp/ours {settings}")


def test_a_clock_that_is_off_is_set_or_said(server):
    said = prepare(server, "--now", str(int(time.time()) - 3600), code=3)

    # The stand-in may not set the clock, which it shares with this machine.
    assert re.search("MISSING: clock: it is off by 36.. s and cannot be set here", "\n".join(said))


def test_an_engine_that_is_too_new_is_named_and_left_alone(server):
    shim = "printf '#!/bin/sh\\necho Docker version 28.2.2, build 1\\n' >/usr/local/bin/dockerd"
    server.run(f"{shim}; chmod +x /usr/local/bin/dockerd")

    said = prepare(server, code=3)
    server.run("rm /usr/local/bin/dockerd")

    assert f"the registry takes at most {specification.CLIENT_NEWEST}" in "\n".join(said)
    assert said[0].startswith("already: engine 28.2.2")


@pytest.mark.parametrize(
    ("offered", "said"),
    [
        (["20.10.12-1", "24.0.7-9", "28.2.2-1"], "docker.io=24.0.7-9 could not be installed"),
        (["28.2.2-1"], "the package sources offer docker.io 28.2.2-1, the registry takes at most"),
        ([], "the package sources offer none"),
    ],
)
def test_the_newest_engine_that_the_registry_takes_is_chosen(server, offered, said):
    """By a list of packages; there is none behind it, so that nothing can be installed."""
    debs = server.share / "debs"
    debs.mkdir(exist_ok=True)
    (debs / "release").write_text(
        server.run(". /etc/os-release; echo $ID $VERSION_ID $(dpkg --print-architecture)")
    )
    (debs / "Packages").write_text(
        "\n".join(
            f"Package: docker.io\nVersion: {version}\nArchitecture: all\nMaintainer: n\n"
            f"Description: d\nFilename: ./none.deb\nSize: 9\nSHA256: {'0' * 64}\n"
            for version in offered
        )
    )
    server.run("mv $(command -v dockerd) /tmp/")
    try:
        lines = prepare(server, "--debs", "/run/share/debs", code=3)
    finally:
        server.run("mv /tmp/dockerd /usr/sbin/")

    assert said in "\n".join(lines)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--disk", "x"], "--disk: no such option"),
        (["--data-root", "images"], "give it from / on"),
        (["--debs", "/nowhere"], "no such folder; --fetch makes one"),
        (["--debs", "/usr"], "is for 'unknown', this server is"),
    ],
)
def test_wrong_options_change_nothing_and_say_what_is_right(server, options, said):
    done = server.ssh(" ".join(["sh -s --", *options]), input=SCRIPT.read_text())

    assert done.returncode == 2
    assert said in done.stderr
    assert not done.stdout


def test_only_root_can_prepare(server):
    done = server.ssh("sh -s", input=SCRIPT.read_text(), user="builder")

    assert (done.returncode, done.stdout) == (2, "")
    assert "only root can prepare a server" in done.stderr


def test_its_numbers_are_those_of_the_specification():
    assert f"newest={specification.CLIENT_NEWEST}\n" in SCRIPT.read_text()


def test_it_is_small_enough_to_be_user_data():
    assert SCRIPT.stat().st_size < USER_DATA_LIMIT_BYTES


# --- a bare Debian: an unpacked system that has nothing but sshd ----------------------------------


@contextmanager
def forward_proxy(address: str) -> Iterator[str]:
    """Fetch for whoever asks at an address of this machine; the one way out that a server gets."""

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with urllib.request.urlopen(self.path) as answer:
                body = answer.read()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((address, 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield f"http://{address}:{proxy.server_port}"
        proxy.shutdown()


def check_that_it_builds(server: EcsServer, user: str) -> None:
    server.run("mkdir /tmp/context; cat >/tmp/context/Dockerfile", input=b"FROM scratch\nCOPY . /")
    built = server.ssh("docker build -q /tmp/context", user=user)
    assert built.stdout.startswith("sha256:"), built.stderr


@pytest.mark.true_time
@pytest.mark.timeout(600)
def test_a_bare_debian_with_no_way_out_is_prepared_from_packages(bare_server, debs):
    shutil.copytree(debs, bare_server.share / "debs")
    options = ["--debs", "/run/share/debs", "--user", "maker", "--now", str(int(time.time()))]
    options += ["--ntp-server", "10.0.0.1"]

    first = prepare(bare_server, *options)
    second = prepare(bare_server, *options)

    assert re.search("done: +engine [0-9.]+ installed", "\n".join(first))
    assert first[-1] == "6 changed", first
    assert second[-1] == "nothing changed", second
    assert "10.0.0.1" in bare_server.run("chronyc -n sources")
    check_that_it_builds(bare_server, user="maker")


@pytest.mark.true_time
@pytest.mark.timeout(600)
def test_a_bare_debian_with_a_network_is_prepared_from_its_own_sources(bare_server):
    with forward_proxy(bare_server.author_address) as proxy:
        setting = f'Acquire::http::Proxy "{proxy}";'
        bare_server.run("cat >/etc/apt/apt.conf.d/90proxy", input=setting.encode())
        first = prepare(bare_server, "--user", "maker")
        second = prepare(bare_server, "--user", "maker")

    assert first[-1] == "5 changed", first
    assert second[-1] == "nothing changed", second
    check_that_it_builds(bare_server, user="maker")


@pytest.mark.true_time
@pytest.mark.timeout(600)
def test_cloud_init_runs_it_as_user_data(bare_server, debs):
    """cloud-init hands a script over to its module scripts_user, which runs it where it lies."""
    shutil.copytree(debs, bare_server.share / "user-debs")
    script = SCRIPT.read_text().replace("\ndebs=\n", "\ndebs=/run/share/user-debs\n")
    seed = "/var/lib/cloud/seed/nocloud"
    bare_server.run(f"mkdir -p {seed}; echo instance-id: test >{seed}/meta-data")
    bare_server.run(f"cat >{seed}/user-data", input=script.encode())

    bare_server.run("cloud-init init --local; cloud-init init; true")
    said = bare_server.run("cloud-init single --name scripts_user --frequency always 2>&1")

    assert "prepare_ecs: " in said, said
    assert re.search("done: +engine [0-9.]+ installed", said), said
