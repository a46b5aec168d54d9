"""An instance whose workers are killed: who notices, and what its health check says meanwhile.

Which of a stranger's processes predicts cannot be told from outside. So all that run the same
command die together, one kind after the other; only the first process is left alone, because with
it the whole instance ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from custom_image.drills.processes import workers
from custom_image.engines import Instance
from custom_image.probing.http import Answer

MOST_KINDS: Final = 4
LOOK_S: Final = 0.1
PATIENCE_S: Final = 5.0
IN_A_ROW: Final = 3
"""Looks that agree are believed; a single one may fall between two states."""


@dataclass(frozen=True)
class Death:
    """What followed the death of one kind of process.

    Attributes:
        kind: the command of those that were killed, and how many they were.
        after_s: when it was known how it went on.
        has_ended: whether the first process ended as well, as the platform would notice.
        check: the last answer of the health check.
        answer: the last answer to a request.
        is_unnoticed: whether health went on succeeding while no request was answered.
        not_killed: why nothing was killed; empty where it was.
    """

    kind: str
    after_s: float = 0.0
    has_ended: bool = False
    check: Answer | None = None
    answer: Answer | None = None
    is_unnoticed: bool = False
    not_killed: str = ""

    def __str__(self) -> str:
        if self.not_killed:
            return f"{self.kind}: not killed: {self.not_killed}"
        if self.has_ended:
            return f"{self.kind}: killed; the service ended {self.after_s:.1f} s later"
        return (
            f"{self.kind}: killed; {self.after_s:.1f} s later health: {self.check}; "
            f"a request: {self.answer}"
        )


def drill_deaths(
    instance: Instance,
    *,
    check_health: Callable[[], Answer],
    ask: Callable[[], Answer],
    expected_status: int,
    patience_s: float = PATIENCE_S,
    pause: Callable[[float], None] = time.sleep,
) -> list[Death]:
    """Kill the workers of a service, one kind after the other, until one death goes unnoticed.

    Args:
        instance: an instance of one's own, ready.
        check_health: asks as the platform does.
        ask: sends a request.
        expected_status: an answer of another status counts as none.
        patience_s: how long the service may take to notice that its workers are dead.
        pause: waits, and may raise to call the drill off.

    Raises:
        Unavailable: nothing here can look inside.
    """
    deaths: list[Death] = []
    for command in list(_kinds(instance))[:MOST_KINDS]:
        # Ids are looked up anew: the death of one kind may have replaced another.
        killed = _kinds(instance).get(command, [])
        kind = f"{command[:80]} ({len(killed)})"
        code, output = instance.execute(["sh", "-c", f"kill -9 {' '.join(map(str, killed))}"])
        if code:
            deaths.append(Death(kind, not_killed=output.strip()[:120] or f"exit code {code}"))
            continue
        deaths.append(_watch(kind, instance, check_health, ask, expected_status, patience_s, pause))
        if deaths[-1].is_unnoticed or deaths[-1].has_ended:
            break
    return deaths


def _kinds(instance: Instance) -> dict[str, list[int]]:
    """Return the ids of the processes beside the first one, by their command."""
    kinds: dict[str, list[int]] = {}
    for process in workers(instance).values():
        kinds.setdefault(process.command, []).append(process.pid)
    return kinds


def _watch(
    kind: str,
    instance: Instance,
    check_health: Callable[[], Answer],
    ask: Callable[[], Answer],
    expected_status: int,
    patience_s: float,
    pause: Callable[[float], None],
) -> Death:
    """Ask for health and for a prediction in turn, until both go on working or time is up."""
    began = time.monotonic()
    looks: list[tuple[bool, bool]] = []
    while True:
        check, answer = check_health(), ask()
        after_s = time.monotonic() - began
        if not instance.is_running():
            return Death(kind, after_s, has_ended=True)
        looks = [*looks[1 - IN_A_ROW :], (check.is_good, answer.status == expected_status)]
        agreed = looks[0] if len(looks) == IN_A_ROW and len(set(looks)) == 1 else None
        is_over = after_s > patience_s and (agreed is not None or after_s > 2 * patience_s)
        if agreed == (True, True) or is_over:
            unnoticed = agreed == (True, False)
            return Death(kind, after_s, check=check, answer=answer, is_unnoticed=unnoticed)
        pause(LOOK_S)
