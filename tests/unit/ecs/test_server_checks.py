"""What the doctor says of a build server, by what was seen of it."""

from __future__ import annotations

import platform

import pytest

from custom_image.diagnosis import Finding, State
from custom_image.ecs.server.checks import FINDINGS, Looks
from custom_image.specification import CLIENT_NEWEST

GOOD = {
    "system": "Debian GNU/Linux 12 (bookworm)",
    "machine": platform.machine(),
    "cores": "8",
    "memory_kb": "32000000",
    "user": "root",
    "root": "yes",
    "installed": "20.10.24",
    "client": "20.10.24+dfsg1",
    "answer": "20.10.24+dfsg1|overlay2|/var/lib/docker",
    "images": "/var/lib/docker",
    "free_bytes": "500000000000",
    "free_inodes": "9000000",
    "time_service": "chronyd",
}
NO_ANSWER = {"answer": "", "client": ""}


def look(skew_s: float = 0, forwards: str = "", **said: str) -> dict[str, Finding]:
    looks = Looks("root@server", GOOD | said, skew_s, 0.1, forwards, needs_gb=150)
    found = [find(looks) for find in FINDINGS]
    return {finding.name: finding for finding in found}


def test_of_a_good_server_all_is_well():
    assert {finding.state for finding in look().values()} == {State.OK}
    assert not [finding for finding in look().values() if finding.remediation]


@pytest.mark.parametrize(
    ("said", "name", "state", "words"),
    [
        ({"system": "Fedora Linux 43"}, "system", "LIMITED", "install an engine there by hand"),
        ({"machine": "riscv64"}, "architecture", "MISSING", f"Expected {platform.machine()}"),
        ({"root": "", "user": "ann"}, "user", "LIMITED", "connect as root"),
        ({"lacking": "flock"}, "programs", "MISSING", "Install coreutils, util-linux"),
        (NO_ANSWER | {"installed": ""}, "engine", "MISSING", "one of 1.11.2 to 24.0.9"),
        (NO_ANSWER | {"refusal": "permission denied"}, "engine", "MISSING", "group docker"),
        (NO_ANSWER | {"refusal": "Is the docker daemon up?"}, "engine", "MISSING", "Start it: "),
        ({"client": ""}, "engine", "MISSING", "The program docker is missing"),
        ({"answer": "1.10.3|overlay2|/"}, "engine", "MISSING", "Remove it"),
        ({"answer": "28.2.2|overlay2|/"}, "engine", "LIMITED", "may refuse to be pushed to"),
        ({"client": "24.0.10"}, "engine", "LIMITED", "may refuse to be pushed to"),
        ({"answer": "24.0.9|vfs|/"}, "layers", "LIMITED", '"storage-driver": "overlay2"'),
        ({"answer": "24.0.9|devicemapper|/"}, "layers", "LIMITED", "an image to 10 GB"),
        ({"free_bytes": "149000000000"}, "disk", "LIMITED", "150 GB are needed"),
        (
            {"free_bytes": "9", "unused": "/dev/vdb"},
            "disk",
            "LIMITED",
            "--fix --data-root largest",
        ),
        ({"free_inodes": "4000000"}, "inodes", "LIMITED", "4,500,000 are needed"),
        ({"memory_kb": "1000000"}, "memory", "LIMITED", "about 4 GB"),
        ({"time_service": ""}, "time service", "LIMITED", "--fix"),
    ],
)
def test_what_is_wrong_is_named_with_what_to_do(said, name, state, words):
    found = look(**said)[name]

    assert found.state == state
    assert words in found.remediation.replace("\n", " ")
    assert len(found.remediation.splitlines()) <= 2


@pytest.mark.parametrize(
    ("skew_s", "words"), [(61, "61 s ahead of"), (-4000, "4000 s behind"), (-50, "right to")]
)
def test_the_clock_is_compared_with_the_one_here(skew_s, words):
    assert words in look(skew_s)["clock"].found


def test_an_engine_that_cannot_be_reached_through_ssh_is_said():
    found = look(forwards="sshd refuses")["verifying"]

    assert found.state is State.LIMITED
    assert "AllowStreamLocalForwarding" in found.remediation


def test_a_file_system_without_a_number_of_inodes_is_well():
    assert look(free_inodes="")["inodes"].state is State.OK


def test_the_newest_engine_that_the_registry_takes_is_well():
    answer = f"{CLIENT_NEWEST}|overlay2|/var/lib/docker"

    assert look(answer=answer, client=str(CLIENT_NEWEST))["engine"].state is State.OK
