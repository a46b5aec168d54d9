"""Progress is shown to people and kept out of logs."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
import termios

import pytest

from custom_image.progress import progress_bar

SHOW = (
    "from custom_image.progress import progress_bar\n"
    "with progress_bar(3, 'counting', 'B') as bar:\n"
    "    for _ in range(3): bar.update(1)\n"
    "    bar.refresh()\n"
)


def shown_on_a_terminal(environment: dict[str, str]) -> str:
    """What a process prints on standard error, when that is a terminal."""
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 80))
    run = subprocess.run([sys.executable, "-c", SHOW], stderr=end, env=environment, check=False)
    os.close(end)
    assert run.returncode == 0
    text = b""
    try:
        while piece := os.read(terminal, 4096):
            text += piece
    except OSError:  # the end of a terminal that everybody has left
        pass
    os.close(terminal)
    return text.decode()


def test_a_bar_is_silent_where_nobody_watches(monkeypatch: pytest.MonkeyPatch):
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)

    with progress_bar(3, "counting", "B") as bar:
        bar.update(3)

    assert log.getvalue() == ""


def test_a_bar_shows_on_a_terminal_and_is_gone_when_done():
    text = shown_on_a_terminal({**os.environ, "TERM": "xterm"})

    assert "counting" in text
    assert text.rstrip(" ").endswith("\r")


def test_a_bar_can_be_turned_off():
    assert shown_on_a_terminal({**os.environ, "TQDM_DISABLE": "1"}) == ""
