"""Memory that the supervisor and its workers share: the phases of a drain, signs of life, counters.

One array of doubles in anonymous shared memory, so that a read-only root file system, a missing
``/dev/shm`` and a crash leave nothing behind. Every cell has one writer, and an aligned double is
written whole, so there are no locks.
"""

from __future__ import annotations

import mmap
import time
from enum import IntEnum

_STOP, _DRAINING_SINCE, _FAREWELL_FROM, _STREAMS_UNTIL, _RESTARTS = range(5)
_WANTED, _LIMIT, _WORKER_BYTES = range(5, 8)
_HEADER_CELLS = 8
_HEARTBEAT, _STATE, _CONNECTIONS, _STREAMS, _BATCHES, _BATCHED = range(6)
_SLOT_CELLS = 6


class State(IntEnum):
    """What a worker last said of its model; or that there is no worker in this slot."""

    LOADING = 0
    READY = 1
    FAILED = 2
    UNUSED = 3


class Limit(IntEnum):
    """What decided how many workers run."""

    CORES = 0
    SETTING = 1
    PACKAGE = 2
    MEMORY = 3
    GPU = 4
    KILLED = 5


class Board:
    """The shared array.

    Attributes:
        workers: how many slots there are; a worker that replaces another takes over its slot.
        models: slots of model processes, which come after those.
        cells: doubles; the last ``workers * counters`` of them are counters, slot by slot.
    """

    def __init__(self, workers: int, counters: int, models: int = 0) -> None:
        self.workers = workers
        self.models = models
        self.counters = counters
        self._counters_from = _HEADER_CELLS + (workers + models) * _SLOT_CELLS
        cells = self._counters_from + workers * counters
        self.cells: memoryview[float] = memoryview(mmap.mmap(-1, cells * 8)).cast("d")
        for slot in range(workers + models):
            self.set_state(slot, State.UNUSED)

    # --- the supervisor writes, workers read -----------------------------------------------------

    def announce_drain(self, farewell_from: float, streams_until: float) -> None:
        """Say that SIGTERM came, from when connections are to be closed, and streams cut.

        Both are points of :func:`time.monotonic`.
        """
        self.cells[_FAREWELL_FROM] = farewell_from
        self.cells[_STREAMS_UNTIL] = streams_until
        self.cells[_DRAINING_SINCE] = time.monotonic()

    def announce_stop(self) -> None:
        """Tell the workers to stop accepting, finish, and leave."""
        self.cells[_STOP] = 1

    @property
    def draining(self) -> bool:
        """Whether SIGTERM came."""
        return self.cells[_DRAINING_SINCE] > 0

    @property
    def stopping(self) -> bool:
        """Whether the workers are to leave."""
        return self.cells[_STOP] > 0

    def farewell(self) -> bool:
        """Tell whether responses are to close their connection now."""
        return self.draining and time.monotonic() >= self.cells[_FAREWELL_FROM]

    def decide(self, workers: int, limit: Limit, worker_bytes: int = 0) -> None:
        """Say how many workers run, what decided that, and what each takes, if it was measured."""
        self.cells[_WANTED] = workers
        self.cells[_LIMIT] = limit
        self.cells[_WORKER_BYTES] = worker_bytes or self.cells[_WORKER_BYTES]

    def decision(self) -> tuple[int, Limit, int]:
        """Return the same: workers, what decided that, bytes of each."""
        limit = Limit(int(self.cells[_LIMIT]))
        return int(self.cells[_WANTED]), limit, int(self.cells[_WORKER_BYTES])

    def streams_over(self) -> bool:
        """Tell whether a stream that still runs is to be ended now."""
        return self.draining and time.monotonic() >= self.cells[_STREAMS_UNTIL]

    def count_restart(self) -> None:
        """Count a worker that was replaced."""
        self.cells[_RESTARTS] += 1

    @property
    def restarts(self) -> int:
        """How many workers were replaced."""
        return int(self.cells[_RESTARTS])

    # --- a worker writes, the supervisor reads ---------------------------------------------------

    def enter(self, slot: int) -> None:
        """Start a worker's life in its slot; the counters of the one before it go on."""
        self.set_state(slot, State.LOADING)
        self.set_connections(slot, 0)
        self.cells[_HEADER_CELLS + slot * _SLOT_CELLS + _STREAMS] = 0
        self.beat(slot)

    def beat(self, slot: int) -> None:
        """Say that the worker's event loop turns."""
        self.cells[_HEADER_CELLS + slot * _SLOT_CELLS + _HEARTBEAT] = time.monotonic()

    def last_beat(self, slot: int) -> float:
        """Return when (monotonic) the worker's event loop last turned."""
        return self.cells[_HEADER_CELLS + slot * _SLOT_CELLS + _HEARTBEAT]

    def set_state(self, slot: int, state: State) -> None:
        """Say what became of the worker's model."""
        self.cells[_HEADER_CELLS + slot * _SLOT_CELLS + _STATE] = state

    def set_connections(self, slot: int, connections: int) -> None:
        """Say how many connections the worker holds."""
        self.cells[_HEADER_CELLS + slot * _SLOT_CELLS + _CONNECTIONS] = connections

    def states(self) -> list[State]:
        """Return the state of every worker."""
        return [State(int(value)) for value in self._column(_STATE)]

    def connections(self) -> list[int]:
        """Return how many connections each worker holds."""
        return [int(value) for value in self._column(_CONNECTIONS)]

    def count_streams(self, slot: int, change: int) -> None:
        """Say that the worker has one stream more, or one less."""
        self.cells[_HEADER_CELLS + slot * _SLOT_CELLS + _STREAMS] += change

    def streams(self) -> int:
        """Return how many streams all workers have open."""
        return int(sum(self._column(_STREAMS)))

    def count_batch(self, slot: int, inputs: int) -> None:
        """Count a batch that a model process ran."""
        first = _HEADER_CELLS + slot * _SLOT_CELLS
        self.cells[first + _BATCHES] += 1
        self.cells[first + _BATCHED] += inputs

    def model_states(self) -> list[State]:
        """Return the state of every model process."""
        return [State(int(value)) for value in self._column(_STATE, models=True)]

    def batches(self) -> tuple[int, int]:
        """Return how many batches all model processes ran, and of how many inputs."""
        counts = (sum(self._column(cell, models=True)) for cell in (_BATCHES, _BATCHED))
        return int(next(counts)), int(next(counts))

    def _column(self, cell: int, *, models: bool = False) -> list[float]:
        slots = range(self.workers, self.workers + self.models) if models else range(self.workers)
        return [self.cells[_HEADER_CELLS + cell + slot * _SLOT_CELLS] for slot in slots]

    # --- counters --------------------------------------------------------------------------------

    def own_counters(self, slot: int) -> memoryview[float]:
        """Return the counters that this worker alone writes."""
        first = self._counters_from + slot * self.counters
        return self.cells[first : first + self.counters]

    def total(self, counter: int) -> float:
        """Return the sum of one counter over all workers."""
        first = self._counters_from + counter
        return sum(self.cells[first + slot * self.counters] for slot in range(self.workers))
