"""Start options in words: what is understood, what is refused, and what of it is shown."""

from __future__ import annotations

import socket

import pytest

from custom_image.engines import StartOptions, Volume
from custom_image.engines.options import describe, merge, parse_options
from custom_image.errors import UsageError
from custom_image.specification import MIB


def test_options_are_spelled_as_docker_run_spells_them(tmp_path, monkeypatch):
    monkeypatch.setenv("FROM_HERE", "1")

    options = parse_options(
        env=["TOKEN=a=b", "FROM_HERE"],
        volume=[f"{tmp_path}:/weights", f"{tmp_path}:/cache:rw"],
        memory="1.5g",
        cpus=2,
        shm_size="512m",
        gpus="device=0,1",
        device=["/dev/davinci0"],
        network="none",
    )

    assert options == StartOptions(
        environment={"TOKEN": "a=b", "FROM_HERE": "1"},
        volumes=(Volume(str(tmp_path), "/weights"), Volume(str(tmp_path), "/cache", True)),
        memory_bytes=1536 * MIB,
        cpus=2,
        shm_bytes=512 * MIB,
        gpus="0,1",
        devices=("/dev/davinci0",),
        is_offline=True,
    )
    assert describe(options) == (
        f"--env TOKEN=*** --env FROM_HERE=*** --volume {tmp_path}:/weights:ro "
        f"--volume {tmp_path}:/cache:rw --memory 1536m --shm-size 512m --cpus 2 --gpus 0,1 "
        "--device /dev/davinci0 --network none"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"volume": ["/:/host"]}, "root of this machine"),
        ({"volume": ["/proc:/p"]}, "part of /proc"),
        ({"volume": ["/sys/fs/cgroup:/c:rw"]}, "part of /sys"),
        ({"volume": ["/dev/shm:/s"]}, "part of /dev"),
        ({"volume": ["/run:/r"]}, "an engine's socket"),
        ({"volume": ["/var:/v"]}, "an engine's socket"),
        ({"volume": ["/usr/../:/host"]}, "root of this machine"),
        ({"volume": ["/not-there:/x"]}, "is not there"),
        ({"volume": ["/tmp:/"]}, "absolute path"),
        ({"volume": ["/tmp"]}, "expected FOLDER:PATH"),
        ({"volume": ["/tmp:/x:z"]}, "expected FOLDER:PATH"),
        ({"env": ["=1"]}, "expected NAME=VALUE"),
        ({"env": ["NOT_SET_ANYWHERE"]}, "no such variable here"),
        ({"memory": "much"}, "such as 512m"),
        ({"memory": "1m"}, "at least 6m"),
        ({"shm_size": "0"}, "such as 512m"),
        ({"cpus": -1}, "above 0"),
        ({"gpus": "--privileged"}, "expected all"),
        ({"device": ["/etc/passwd"]}, "below /dev"),
        ({"device": ["/dev/../etc/passwd"]}, "below /dev"),
        ({"network": "host"}, "never gets the network of this machine"),
    ],
)
def test_what_leads_out_or_means_nothing_is_refused(options, words):
    with pytest.raises(UsageError, match=words) as refused:
        parse_options(**options)

    assert len(str(refused.value).splitlines()) <= 3


def test_a_link_to_what_is_refused_is_refused(tmp_path):
    (tmp_path / "weights").symlink_to("/proc")

    with pytest.raises(UsageError, match="part of /proc"):
        parse_options(volume=[f"{tmp_path}/weights:/weights"])


def test_any_socket_and_the_folder_of_the_engines_own_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "engine.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        with pytest.raises(UsageError, match="is a socket"):
            parse_options(volume=[f"{path}:/s"])
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        with pytest.raises(UsageError, match="an engine's socket"):
            parse_options(volume=[f"{tmp_path}:/s"])


def test_a_rule_adds_to_what_the_user_asked_for():
    base = StartOptions(
        environment={"A": "1", "B": "1"}, volumes=(Volume("/w", "/w"),), memory_bytes=8, cpus=2
    )

    merged = merge(base, StartOptions(environment={"B": "2"}, memory_bytes=4, read_only=True))

    assert merged == StartOptions(
        environment={"A": "1", "B": "2"},
        volumes=(Volume("/w", "/w"),),
        memory_bytes=4,
        cpus=2,
        read_only=True,
    )
