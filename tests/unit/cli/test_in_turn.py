"""Two builds in one folder wait for each other."""

from __future__ import annotations

import threading
import time

from custom_image.cli.options import in_turn


def test_who_comes_second_waits_and_says_so(tmp_path, capsys):
    entered = threading.Event()

    def second() -> None:
        with in_turn(tmp_path / "build"):
            entered.set()

    waiting = threading.Thread(target=second)
    with in_turn(tmp_path / "build"):
        waiting.start()
        while "waiting for it" not in capsys.readouterr().err:
            assert not entered.is_set()
            time.sleep(0.01)
    waiting.join()

    assert entered.is_set()
