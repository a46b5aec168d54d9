"""One command for each line of a list, and what became of them: builds, notebooks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

from custom_image.fleet.list_file import BadLine
from custom_image.fleet.outcomes import Outcomes, arrivals
from custom_image.fleet.unit import Outcome, Unit
from custom_image.report.text import printable

OUTCOMES: Final = "outcomes"
DONE: Final = "DONE"
FAILED: Final = "FAILED"
NOT_RUN: Final = "NOT RUN"
_ORDER: Final = (NOT_RUN, FAILED, DONE)
_NO_ANSWER: Final = 3
_WIDTH: Final = 100


@dataclass(frozen=True)
class Task:
    """A command over what one line of a list names.

    Attributes:
        name: that line.
        result: what the command leaves behind: an image's name, or the path of a file.
        contents: a digest of what the command reads; with another one it is run again.
    """

    name: str
    unit: Unit
    result: str
    contents: str = ""

    @property
    def words(self) -> tuple[str, ...]:
        """What has to be the same for an earlier outcome to hold."""
        return (*self.unit.arguments, self.contents)


@dataclass(frozen=True)
class TaskResult:
    """What became of a task.

    Attributes:
        state: ``DONE``, ``FAILED``, or ``NOT RUN`` where no engine answered or the worker was lost.
        output: the JSON that the command printed.
        ran: whether this run did it; else an earlier one had.
    """

    name: str
    state: str
    result: str
    digest: str = ""
    host: str = ""
    seconds: float = 0.0
    output: Any = None
    error: str = ""
    ran: bool = True

    @classmethod
    def of(cls, task: Task, outcome: Outcome, *, ran: bool = True) -> Self:
        """Return the result of an outcome."""
        failed = NOT_RUN if outcome.exit_code in (None, _NO_ANSWER) else FAILED
        return cls(
            task.name,
            DONE if outcome.exit_code == 0 and not outcome.error else failed,
            task.result,
            digest=printable(outcome.digest),
            host=printable(outcome.host),
            seconds=outcome.seconds,
            output=outcome.output,
            error=printable(outcome.error),
            ran=ran,
        )

    @property
    def lines(self) -> list[str]:
        """The task and what became of it: one line where that fits, else two."""
        name = f"  {self.state:<7} {self.name}"
        detail = self.error.splitlines()[0] if self.error else self.result
        whole = f"{name}  {detail}"
        return [whole] if len(whole) <= _WIDTH else [name, f"{'':<10}  {detail}"]


@dataclass(frozen=True)
class TaskResults:
    """What became of a list.

    Attributes:
        bad_lines: of the list, that name nothing.
    """

    rows: tuple[TaskResult, ...]
    bad_lines: tuple[BadLine, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many tasks have each state."""
        found = Counter(row.state for row in self.rows)
        return {state: found[state] for state in _ORDER if found[state]}

    @property
    def exit_code(self) -> int:
        """1 where a task failed, 3 where one was not run, 2 for a bad line, else 0."""
        if FAILED in self.counts:
            return 1
        return 3 if NOT_RUN in self.counts else 2 if self.bad_lines else 0

    def to_json(self) -> str:
        """Return it as tools read it."""
        document = {
            "counts": self.counts,
            "bad_lines": [vars(line) for line in self.bad_lines],
            "tasks": [asdict(row) for row in self.rows],
        }
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def __str__(self) -> str:
        counts = ", ".join(f"{number} {state.lower()}" for state, number in self.counts.items())
        tasks = f"{len(self.rows)} task{'' if len(self.rows) == 1 else 's'}"
        lines = [f"{tasks}: {counts or 'none'}"]
        if known := sum(not row.ran for row in self.rows):
            lines.append(f"  {known} of them done before, not again")
        lines += [f"  {line}" for line in self.bad_lines]
        ordered = sorted(self.rows, key=lambda row: _ORDER.index(row.state))
        lines += [line for row in ordered for line in row.lines]
        return "\n".join(
            line if len(line) <= _WIDTH else f"{line[: _WIDTH - 3]}..." for line in lines
        )


def run_tasks(
    tasks: Sequence[Task],
    executor: Executor,
    folder: Path,
    *,
    told: Callable[[TaskResult], None] = lambda result: None,
) -> TaskResults:
    """Run tasks on the machines of an executor.

    A task is not run again where its words, what it reads and this tool's version are those of its
    last good outcome, and what it left behind is still there. What arrives is kept at once: a run
    that is broken off goes on where it was.

    Args:
        tasks: each with a name of its own.
        executor: runs their units.
        folder: for what is kept; made where it is not there.
        told: called with each result when it arrives.

    Raises:
        UsageError: the folder cannot be written.
        Unavailable: the scheduler went away; what had arrived is kept.
    """
    kept = Outcomes(folder / OUTCOMES)
    known = {task: kept.known(task.name, task.words) for task in tasks}
    rows: dict[Task, TaskResult] = {}

    def arrived(task: Task, outcome: Outcome) -> None:
        last = known[task] if outcome.is_unchanged else None
        if last is None:
            kept.keep(task.name, task.words, outcome)
        rows[task] = TaskResult.of(task, last or outcome, ran=last is None)
        told(rows[task])

    units: dict[Task, Unit] = {}
    for task in tasks:
        last = known[task]
        if last and not task.unit.makes and Path(task.result).is_file():
            arrived(task, Outcome())
        else:
            units[task] = replace(task.unit, known=last.digest if last else "")
    remains = f"What was found is kept in {folder}: the same command goes on from there."
    with closing(arrivals(units, executor, remains)) as arriving:
        for task, outcome in arriving:
            arrived(task, outcome)
    return TaskResults(tuple(rows[task] for task in tasks))
