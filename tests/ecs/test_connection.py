"""One connection, to the right server, with the right key; and what is said otherwise."""

from __future__ import annotations

import subprocess
import threading

import pytest
from ecs_machine import wait_for

from custom_image.ecs import BuildServer, Connection
from custom_image.errors import ConnectionLost, Unavailable, UsageError


def test_everything_goes_through_one_tcp_connection(connect, ecs_server):
    before = ecs_server.sshd_log.read_text().count("Accepted publickey")

    with connect() as connection:
        connection.run("true")
        socket = connection.forward_socket("/run/docker.sock")
        port = connection.forward_port(2222)
        with connection.session("cat") as session:
            session.write(b"x" * 100)
            assert session.finish().output == "x" * 100
        links = ecs_server.run("ss -tnH state established sport = :2222").splitlines()
        ours = [link for link in links if ecs_server.author_address in link]
        assert len(ours) == 1
        assert socket
        assert port

    assert ecs_server.sshd_log.read_text().count("Accepted publickey") == before + 1


def test_a_command_returns_its_exit_code_and_both_outputs(connection):
    done = connection.run("echo out; echo err >&2; exit 7")

    assert (done.code, done.output, done.error) == (7, "out\n", "err\n")


def test_bytes_are_counted_as_ssh_counts_them(connect):
    connection = connect()
    connection.run("cat >/dev/null; head -c 50000 /dev/zero", input=b"x" * 1_000_000)
    counted = connection.traffic.copy()
    on_the_wire = connection.close()

    assert 1_000_000 < counted.sent < 1_001_000
    assert counted.received == 50_000
    assert counted.sent < on_the_wire.sent < 1.05 * counted.sent + 20_000


def test_a_changed_host_key_is_refused(connect, ecs_server):
    ecs_server.change_host_key()

    with pytest.raises(Unavailable, match="shows another host key") as refused:
        connect()

    assert "SHA256:" in str(refused.value)
    assert "ssh-keygen -R" in str(refused.value)


def test_an_unknown_server_is_refused(ecs_server, tmp_path):
    with pytest.raises(Unavailable, match="is not known yet"):
        Connection.open(
            ecs_server.host,
            port=ecs_server.port,
            key_file=str(ecs_server.key_file),
            known_hosts=str(tmp_path / "none"),
        )


def test_a_wrong_key_is_refused(ecs_server, tmp_path):
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)

    with pytest.raises(Unavailable, match="refuses the key"):
        Connection.open(
            ecs_server.host,
            port=ecs_server.port,
            key_file=str(key),
            known_hosts=str(ecs_server.known_hosts),
        )


def test_a_port_without_sshd_and_a_name_without_host_are_told_apart(ecs_server):
    with pytest.raises(Unavailable, match="no sshd answers"):
        Connection.open(ecs_server.host, port=2223)
    with pytest.raises(Unavailable, match="no such host"):
        Connection.open("root@no-such-host.invalid")


@pytest.mark.parametrize("address", ["-oProxyCommand=id", "root@", "", "a b", "root@-h"])
def test_what_is_no_address_never_reaches_ssh(address):
    with pytest.raises(UsageError, match="is no server"):
        Connection.open(address)


def test_an_ended_connection_is_noticed_and_never_opened_again_by_itself(connect, ecs_server):
    connection = connect()
    with connection.session("echo here; sleep 60") as session:
        assert next(session.lines()) == "here"
        ecs_server.end_ssh_connections()
        with pytest.raises(ConnectionLost, match="broke off"):
            session.finish()

    with pytest.raises(ConnectionLost):
        connection.run("true")
    connection.close()


def test_a_silent_link_is_noticed_by_keep_alives(connect, ecs_server):
    with connect(keep_alive_s=1) as connection, connection.session("sleep 60") as session:
        ecs_server.cut()
        with pytest.raises(ConnectionLost, match=r"[Tt]imeout"):
            session.finish()


def test_a_command_that_takes_too_long_is_left(connection):
    with pytest.raises(Unavailable, match="no answer in time"):
        connection.run("sleep 30", timeout_s=0.3)


def test_a_server_without_engine_says_how_to_prepare_it(connect, ecs_server):
    ecs_server.stop_engine()

    with (
        connect() as connection,
        pytest.raises(Unavailable, match="no Docker engine that answers") as refused,
    ):
        _ = BuildServer(connection).facts

    assert "custom-image doctor --server" in str(refused.value)


def test_many_commands_at_once_share_the_connection(connection):
    answers = []
    threads = [
        threading.Thread(target=lambda n=n: answers.append(connection.run(f"echo {n}").output))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    wait_for(lambda: len(answers) == 8, "eight answers")
    assert sorted(answers) == [f"{n}\n" for n in range(8)]
