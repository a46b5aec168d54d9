"""Drills of streams: one whose client leaves, and one that runs when SIGTERM comes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event, Thread
from typing import Final

from custom_image.drills.usage import cpu_share
from custom_image.engines import Instance
from custom_image.probing.http import Request
from custom_image.probing.streams import Stream, read_stream

LEAVERS: Final = 8


@dataclass(frozen=True)
class Left:
    """What was seen around streams whose clients left.

    Attributes:
        alone: the first part of a stream before that.
        following: the first part of the next one after it.
        idle_cpu: the share of one CPU that was used before; None where that cannot be seen.
        cpu: the share after the clients had left.
    """

    alone: Stream
    following: Stream
    idle_cpu: float | None
    cpu: float | None


def leave(
    instance: Instance,
    url: str,
    request: Request,
    patience_s: float,
    *,
    settle_s: float,
    pause: Callable[[float], None],
) -> Left:
    """Leave some streams after their first part; look at the CPU, and at the next one's start."""

    def read_first_part() -> Stream:
        return read_stream(url, request, patience_s, leave_after=1)

    alone = read_first_part()
    pause(settle_s)
    idle = cpu_share(instance, pause=pause)
    with ThreadPoolExecutor(LEAVERS) as pool:
        for _ in range(LEAVERS):
            pool.submit(read_first_part)
    pause(settle_s)
    after = cpu_share(instance, pause=pause)
    return Left(alone, read_first_part(), idle, after)


def read_through_sigterm(
    instance: Instance, url: str, request: Request, longest_s: float, margin_s: float
) -> Stream | None:
    """Send SIGTERM behind the first part of a stream, and read it to its end.

    Returns:
        The stream; None where it has not ended ``longest_s`` after the signal.
    """
    begun = Event()
    kept: list[Stream] = []

    def read() -> None:
        kept.append(read_stream(url, request, longest_s, on_part=begun.set))
        begun.set()

    reader = Thread(target=read, daemon=True)
    reader.start()
    begun.wait(longest_s)
    instance.send_signal("SIGTERM")
    reader.join(longest_s + margin_s)
    return kept[0] if kept else None
