"""``python3 -m model_service``."""

from __future__ import annotations

import sys

from model_service.processes.clone3 import allow_threads
from model_service.processes.signals import Signals

if __name__ == "__main__":
    # First of all: PID 1 loses a SIGTERM that comes before its handler.
    signals = Signals()
    no_clone3 = allow_threads()

    from model_service.processes.supervisor import main

    sys.exit(main(signals, no_clone3=no_clone3))
