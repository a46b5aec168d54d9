"""Turns of the workers at accepting connections.

All workers accept from one socket, and the kernel wakes them all. Left to chance, eight connections
end up six to two, or eight to none: half the service idles while the other half has a queue. And a
worker that still loads would take its share and answer 503, while another could have answered.
By hand: SO_REUSEPORT spreads by a hash of addresses, and resets what waits for a worker that ends.
"""

from __future__ import annotations

from model_service.processes.board import Board, State

LOADING_PAUSE_SECONDS = 0.02
YIELD_SECONDS = 0.005
"""Long enough for an idle worker to accept, short for a client that waits to be accepted."""
SLACK = 8
"""A worker may lead by one connection in so many: a burst is not to wait for perfect fairness."""


class Turns:
    """One worker's part in sharing connections fairly."""

    def __init__(self, board: Board, slot: int) -> None:
        self._board = board
        self._slot = slot
        self._yielded = False

    def hold(self, connections: int) -> None:
        """Tell the others how many connections this worker holds."""
        self._board.set_connections(self._slot, connections)

    def take(self, connections: int) -> tuple[int, float]:
        """Return how many connections to accept now; if none, how long to leave them to others.

        A worker that leads yields once to the others, and then accepts: they are busy.
        """
        self.hold(connections)
        states, held = self._board.states(), self._board.connections()
        others = [
            number
            for slot, (state, number) in enumerate(zip(states, held))
            if slot != self._slot and state is State.READY
        ]
        if others and states[self._slot] is not State.READY:
            return 0, LOADING_PAUSE_SECONDS
        slack = connections // SLACK
        lead = connections - min(others, default=connections)
        if lead > slack and not self._yielded:
            self._yielded = True
            return 0, YIELD_SECONDS
        self._yielded = False
        return max(1, slack - lead + 1), 0.0
