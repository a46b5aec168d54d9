from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

from custom_image.engines import Socket
from custom_image.engines.process import procfs

TABLES = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1
   1: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1
   2: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 4713 1
  sl  local_address                         remote_address                        st ...
   0: 00000000000000000000000000000000:1F91 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 9
   1: 00000000000000000000000001000000:1F92 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 8
"""


def test_listening_sockets_are_read_as_the_kernel_prints_them() -> None:
    assert procfs.parse_listening(TABLES) == {
        4711: Socket("0.0.0.0", 8080),
        4712: Socket("127.0.0.1", 80),
        9: Socket("::", 8081),
        8: Socket("::1", 8082),
    }


def test_a_real_socket_of_this_process_is_found_by_its_inode() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        listening = procfs.parse_listening(procfs.read_tcp_tables(os.getpid()))
        mine = listening.keys() & procfs.socket_inodes(os.getpid())

        assert Socket("127.0.0.1", server.getsockname()[1]) in {listening[i] for i in mine}


def test_the_start_of_a_process_is_known_to_about_a_second(tmp_path: Path) -> None:
    before = time.time()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        began = procfs.started_at(child.pid)

    assert before - 1.5 <= began <= time.time() + 1.5
    assert procfs.started_at(1, tmp_path) == 0


def test_a_child_is_read_with_its_parent_and_its_arguments() -> None:
    command = [sys.executable, "-c", "print(flush=True); input()", "two words"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        # Popen returns in the middle of exec, when the child has no arguments yet.
        assert child.stdout
        assert child.stdout.readline()
        entry = procfs.read_entry(child.pid)

        assert entry is not None
        assert entry.parent_host_pid == os.getpid()
        assert entry.session == os.getsid(0)
        assert entry.command.endswith(" input() two words")
        assert entry in procfs.entries()
    finally:
        child.communicate(b"\n")


def test_a_name_with_blanks_and_parentheses_does_not_shift_the_fields(tmp_path: Path) -> None:
    folder = tmp_path / "42"
    folder.mkdir()
    (folder / "stat").write_text("42 (a) b (c) S 7 42 41 0 -1 4194560")
    (folder / "status").write_text("Name:\ta) b (c\nNSpid:\t42\t1\n")
    (folder / "cmdline").write_bytes(b"")

    entry = procfs.read_entry(42, tmp_path)

    assert entry == procfs.Entry(
        pid=1, host_pid=42, parent_host_pid=7, session=41, command="[a) b (c]"
    )


def test_a_process_that_is_gone_is_none_rather_than_an_error(tmp_path: Path) -> None:
    assert procfs.read_entry(42, tmp_path) is None
    assert procfs.socket_inodes(42, tmp_path) == set()
    assert procfs.entries(tmp_path / "nowhere") == []
    assert not procfs.contains(42, "cgroup", "x", tmp_path)
