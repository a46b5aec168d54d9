"""A file is the old one or the new one, whole, and nothing is left beside it."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from custom_image.files import write_whole


def test_a_file_is_written_with_its_folder_and_its_mode(tmp_path: Path):
    secret, text = tmp_path / "a/b/secret", tmp_path / "text"

    write_whole(secret, b"\xff", mode=0o600, fsync=True)
    write_whole(text, "old")
    write_whole(text, "né")

    assert (secret.read_bytes(), text.read_bytes()) == (b"\xff", "né".encode())
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.rglob("*")} == {"a", "b", "secret", "text"}


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path):
    path = tmp_path / "text"
    path.write_text("old")

    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "new \ud800")
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path, "new")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("text", "old")]
    assert list(tmp_path.parent.glob(".unfinished-*")) == []


def test_a_kill_in_the_middle_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "text"
    path.write_text("old")
    write = (
        "import os, signal, sys; from pathlib import Path; from custom_image import files;"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL);"
        "files.write_whole(Path(sys.argv[1]), 'new', fsync=True)"
    )

    done = subprocess.run([sys.executable, "-c", write, str(path)], env=dict(os.environ))

    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
