"""`custom-image doctor --server`: what it finds on real servers, and what it fixes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import pytest
from ecs_server import EcsServer

from custom_image import cli


@pytest.fixture
def doctor(monkeypatch, capsys):
    """Run the command; return its exit code, the findings by name, and what it said meanwhile."""

    def run(server: EcsServer, *options: str, user: str = "root"):
        arguments = ["custom-image", "doctor", "--server", server.host_of(user), "--format", "json"]
        arguments += ["--ssh-config", str(server.ssh_config), *options]
        monkeypatch.setattr(sys, "argv", arguments)
        code = 0
        try:
            cli.main()
        except SystemExit as left:
            code = left.code or 0
        output, error = capsys.readouterr()
        findings = json.loads(output)["findings"] if output else []
        return code, {finding["name"]: finding for finding in findings}, error

    return run


@pytest.fixture
def unprepared(start_server, tmp_path) -> Iterator[EcsServer]:
    """A server of its own: its engine is installed and does not run."""
    with start_server(tmp_path, disk_gb=5, with_engine=False) as server:
        # Its clock seems to be kept, so that nothing is asked of a network that is not there.
        server.run(
            "mkdir -p /usr/local/bin; cp /bin/sleep /usr/local/bin/chronyd\n"
            "setsid chronyd 10000 >/dev/null 2>&1 &"
        )
        yield server


def states(findings: dict) -> dict[str, str]:
    return {name: finding["state"] for name, finding in findings.items()}


def test_a_server_with_an_engine_is_able(ecs_server, doctor):
    code, findings, _ = doctor(ecs_server, "--needs-gb", "1")

    assert code == 0
    wrong = {name for name, state in states(findings).items() if state != "OK"}
    assert wrong <= {"time service", "engine"}  # the engine of this machine may be a newer one
    assert findings["verifying"]["found"].startswith("the engine answers through SSH")


def test_a_user_without_rights_may_build_but_not_fix(ecs_server, doctor):
    code, findings, _ = doctor(ecs_server, user="builder")
    fixed = doctor(ecs_server, "--fix", user="builder")

    assert code == 0
    assert findings["user"]["state"] == "LIMITED"
    assert fixed[0] == 3
    assert "may not fix: neither root, nor sudo" in fixed[2]


def test_a_disk_too_small_for_any_image_is_said(ecs_server, doctor):
    _, findings, _ = doctor(ecs_server)

    assert findings["disk"]["state"] == "LIMITED"
    assert "150 GB are needed" in findings["disk"]["remediation"]


def test_what_is_missing_is_fixed_on_request_and_stays_fixed(unprepared, doctor):
    unprepared.run(
        "useradd --create-home --password '*' ann; cp -a /root/.ssh ~ann/; chown -R ann: ~ann"
    )

    before = doctor(unprepared)
    fixed = doctor(unprepared, "--fix")
    again = doctor(unprepared, "--fix")

    assert before[0] == 3
    assert before[1]["engine"]["state"] == "MISSING"
    assert "Start it: custom-image doctor" in before[1]["engine"]["remediation"]
    assert "prepare_ecs: done:    engine started" in fixed[2]
    assert fixed[1]["engine"]["state"] != "MISSING"
    assert "prepare_ecs: already: engine answers" in again[2]
    assert doctor(unprepared, user="ann")[1]["engine"]["found"] == "ann may not use it"


def test_a_wrong_clock_and_another_architecture_are_found(unprepared, doctor):
    unprepared.run(
        "printf '#!/bin/sh\\necho riscv64\\n' >/usr/local/bin/uname\n"
        'printf \'#!/bin/sh\\nexec /bin/date -d "+1 hour" "$@"\\n\' >/usr/local/bin/date\n'
        "chmod +x /usr/local/bin/*"
    )

    code, findings, _ = doctor(unprepared)

    assert code == 3
    assert findings["architecture"]["found"] == "riscv64"
    assert findings["architecture"]["state"] == "MISSING"
    assert "3600 s ahead" in findings["clock"]["found"]


def test_an_sshd_that_forwards_nothing_is_found(ecs_server, doctor):
    ecs_server.run("sed -i '1i AllowStreamLocalForwarding no' /etc/ssh/sshd_config")
    ecs_server.stop_sshd()
    ecs_server.start_sshd()

    _, findings, _ = doctor(ecs_server)
    ecs_server.run("sed -i 1d /etc/ssh/sshd_config")
    ecs_server.stop_sshd()

    assert findings["verifying"]["found"] == "sshd refuses"


def test_a_folder_that_holds_no_packages_is_refused(ecs_server, doctor, tmp_path):
    code, _, error = doctor(ecs_server, "--fix", "--debs", str(tmp_path))

    assert code == 2
    assert "expected one that this has made" in error


@pytest.mark.parametrize("option", ["--fix", "--needs-gb=9", "--data-root=/x", "--ntp-server=x"])
def test_options_of_a_server_need_one(option, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["custom-image", "doctor", option])

    with pytest.raises(SystemExit) as left:
        cli.main()

    assert left.value.code == 2
    assert "go with --server" in capsys.readouterr().err


@pytest.mark.true_time
@pytest.mark.timeout(600)
def test_a_bare_server_with_no_way_out_is_fixed_from_here(bare_server, doctor, debs):
    """By a user who may sudo, and who may use the engine from the next connection on."""
    bare_server.run(
        "gpasswd --delete builder docker\n"
        "echo 'builder ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/builder"
    )

    before = doctor(bare_server, user="builder")
    options = ["--fix", "--debs", str(debs), "--needs-gb", "5"]
    code, findings, said = doctor(bare_server, *options, user="builder")

    assert before[0] == 3
    assert before[1]["engine"]["found"] == "not installed"
    assert code == 0, said
    assert set(states(findings).values()) == {"OK"}, findings
    assert findings["user"]["found"] == "builder, may fix by sudo"
    assert bare_server.run("ls /tmp").split() == [], "the packages are still there"
