"""Runs one command of the tool, and ends with whoever asked for it.

The standard input is a pipe that nothing is written to: it closes when the other end does, also
when a worker is killed. Containers of a judgement are removed then, as by Ctrl-C.
"""

from __future__ import annotations

import os
import signal
import threading


def _end_with_the_parent() -> None:
    os.read(0, 1)  # not sys.stdin: its lock would be held when Python ends
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    from custom_image.cli import main

    main()
