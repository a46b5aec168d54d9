"""The machine of a measurement: without it, figures mean nothing."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

IDLE_PERCENT = 10.0
WATCH_S = 2.0


@dataclass(frozen=True)
class Machine:
    """One machine at one moment.

    Attributes:
        cores: those this process may run on.
        others_percent: how busy others kept the processors just before the run; above 10, figures
            are preliminary.
    """

    cpu: str
    cores: int
    memory_gb: float
    kernel: str
    python: str
    date: str
    others_percent: float

    @property
    def was_idle(self) -> bool:
        """Whether nothing else ran when the measurement began."""
        return self.others_percent <= IDLE_PERCENT

    def __str__(self) -> str:
        return (
            f"{self.cpu}, {self.cores} cores, {self.memory_gb:.0f} GB, Linux {self.kernel}, "
            f"Python {self.python}, {self.date}"
        )


def this_machine() -> Machine:
    """Look at this machine (Linux)."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return Machine(
        cpu=names[0] if names else platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        kernel=platform.release(),
        python=platform.python_version(),
        date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        others_percent=busy_percent(WATCH_S),
    )


def busy_percent(seconds: float) -> float:
    """Watch the processors for so long, doing nothing, and return how busy they were."""
    total, idle = _jiffies()
    time.sleep(seconds)
    total_later, idle_later = _jiffies()
    return round(100 - 100 * (idle_later - idle) / (total_later - total), 1)


def _jiffies() -> tuple[int, int]:
    """Return the time of all processors since boot: all of it, and idle or waiting for a disk."""
    times = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]))
    return sum(times), times[3] + times[4]
