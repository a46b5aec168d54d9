"""The number of workers: the first loads and is measured, and more start while they fit."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from model_service.processes.board import Board, Limit, State
from model_service.processes.memory import (
    Gpu,
    Room,
    count_kills,
    read_gpus,
    read_room,
    read_worker_bytes,
)
from model_service.settings import Settings

log = logging.getLogger("model_service")

MARGIN = 0.1
"""The part of a limit that is left free: a prediction takes memory, too."""
GPU_USE_BYTES = 64 * 2**20
"""A GPU whose use grew by so much while the first worker loaded is used by it."""
QUIET_SECONDS = 2.0
"""Workers killed within so short a time of each other are reported together."""
_GB = 1e9


class Sizing:
    """Decides the number of workers, and says why, in the log and to the board.

    Attributes:
        number: how many are to run now.
    """

    def __init__(
        self,
        settings: Settings,
        board: Board,
        *,
        read_room: Callable[[], Room] = read_room,
        count_kills: Callable[[], int] = count_kills,
        read_worker_bytes: Callable[[int], int] = read_worker_bytes,
        read_gpus: Callable[[], list[Gpu]] = read_gpus,
    ) -> None:
        """Prepare; the functions are those of :mod:`model_service.processes.memory`."""
        self._most = int(settings.workers)
        self._per_gpu = settings.workers_per_gpu
        self._board = board
        self._read_room = read_room
        self._count_kills = count_kills
        self._read_worker_bytes = read_worker_bytes
        self._read_gpus = read_gpus
        self._kills = count_kills()
        self._killed_at = 0.0
        self._before_kills = 0
        self._decided = settings.workers.by is not Limit.CORES or self._most == 1
        self.number = self._most if self._decided else 1
        self._gpus = [] if self._decided else read_gpus()
        self.gpu_of_slot: Callable[[int], str] = lambda _slot: ""
        board.decide(self.number, settings.workers.by)

    def look(self, workers: Mapping[int, int]) -> int:
        """Return how many workers are to run; ``workers`` are those that do, slot -> pid."""
        self._report_kills()
        states = self._board.states()
        are_all_ready = all(states[slot] is State.READY for slot in workers)
        if not self._decided and len(workers) == self.number and are_all_ready:
            self._grow(workers)
        return self.number

    def was_killed(self, running: int) -> bool:
        """Tell whether a worker that SIGKILL ended was killed for memory; then fewer run.

        ``running`` are left. One is tried again in any case, after a pause.
        """
        if self._count_kills() <= self._kills:
            return False
        self._kills += 1  # several may have been killed since; each is told of
        self._killed_at = time.monotonic()
        self._before_kills = self._before_kills or self.number
        self._decided = True
        self.number = max(1, min(self.number, running))
        self._board.decide(self.number, Limit.KILLED)
        return True

    def _report_kills(self) -> None:
        quiet = time.monotonic() - self._killed_at > QUIET_SECONDS
        if not self._before_kills or not quiet:
            return
        self._kills = self._count_kills()
        room = self._read_room()
        words = f"the limit of {room.limit_bytes / _GB:.1f} GB has no room for more"
        if self._before_kills == 1:
            words = f"one worker alone does not fit into {room.limit_bytes / _GB:.1f} GB"
        log.error(
            "workers: %d instead of %d from now on: the kernel killed what was too much, %s",
            self.number,
            self._before_kills,
            words,
        )
        self._before_kills = 0

    def _grow(self, workers: Mapping[int, int]) -> None:
        """Let so many more start as there is room for; decide where there is none."""
        most, limit = self._most, Limit.CORES
        gpus = self._used_gpus()
        if gpus:
            most = min(most, self._fit_on_gpus(gpus)) if len(gpus) == 1 else 1
            limit = Limit.GPU if most < self._most else limit
        room = self._read_room()
        each_bytes = max(self._read_worker_bytes(pid) for pid in workers.values())
        usable_bytes = room.free_bytes - MARGIN * room.limit_bytes
        fit = self.number + max(0, int(usable_bytes // max(1, each_bytes)))
        if fit < most:
            most, limit = fit, Limit.MEMORY
        self._decided = most <= self.number or most >= self._most or limit is Limit.GPU
        self.number = max(self.number, most)
        self._board.decide(self.number, limit, each_bytes)
        log.info(
            "workers: %d, by %s; %d cores, memory for %d (%.2f of %.2f GB free, %.2f GB each)%s",
            self.number,
            limit.name.lower(),
            self._most,
            fit,
            room.free_bytes / _GB,
            room.limit_bytes / _GB,
            each_bytes / _GB,
            f", {len(self._gpus)} GPUs, {len(gpus)} used by the first" if self._gpus else "",
        )

    def _used_gpus(self) -> list[tuple[Gpu, int]]:
        """Return the GPUs that the first worker uses, and how many bytes it takes of each."""
        before = {gpu.name: gpu.used_bytes for gpu in self._gpus}
        found = self._read_gpus() if before else []
        grown = [(gpu, gpu.used_bytes - before.get(gpu.name, 0)) for gpu in found]
        return [(gpu, taken) for gpu, taken in grown if taken > GPU_USE_BYTES]

    def _fit_on_gpus(self, used: list[tuple[Gpu, int]]) -> int:
        """Return how many workers the GPUs take; those after the first get one each, in turn."""
        ((gpu, taken),) = used
        names = [gpu.name, *(other.name for other in self._gpus if other.name != gpu.name)]
        self.gpu_of_slot = lambda slot: names[slot % len(names)] if len(names) > 1 else ""
        free_bytes = gpu.free_bytes - MARGIN * (gpu.free_bytes + gpu.used_bytes)
        each = min(self._per_gpu, 1 + max(0, int(free_bytes // taken)))
        return each * len(names)
