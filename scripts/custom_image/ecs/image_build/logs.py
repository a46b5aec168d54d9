"""The log of ``docker build``, of either builder, read step by step."""

from __future__ import annotations

import re
from typing import Final, Protocol

from custom_image.builders import shorten
from custom_image.builders.build_log import BuildLog, Step
from custom_image.ecs.job import Job
from custom_image.progress import progress_bar, say

AGAIN: Final = "The engine was restarted; building again"
"""Said by ``on_server/build.sh``."""

_STEP = re.compile(r"#(\d+) \[(?:(\S+) +)?(\d+)/(\d+)\] (.+)")
_CACHED = re.compile(r"#(\d+) CACHED")
_ERROR = re.compile(r"#(\d+) ERROR: (.+)|(?:failed to solve|error): (.+)")
_CLASSIC_ERROR = re.compile(
    r"The command .* returned a non-zero code: \d+|Error response from daemon: .*"
    r"|Error processing tar file.*|error during connect: .*|Cannot connect to the Docker daemon.*"
    r"|unexpected EOF|.*[Nn]o space left on device.*|(?:COPY|ADD|RUN) failed: .*"
    r"|dockerfile parse .*"
)


def read_log(job: Job, tag: str, *, buildkit: bool) -> Log:
    """Return what a build has said, once it has ended; what was said last, if it began again."""
    new_log: type[Log] = BuildKitLog if buildkit else ClassicLog
    log: Log = new_log()
    with progress_bar(None, f"building {tag} on {job.connection.address}", "step") as bar:
        for line in job.follow():
            if line.startswith(AGAIN):
                log = new_log()
                say(line)
            log.read(line)
            bar.total = log.total
            bar.update(len(log.steps) - bar.n)
    return log


class Log(Protocol):
    """What a builder has said so far."""

    def read(self, line: str) -> None:
        """Take in one line."""

    @property
    def steps(self) -> list[Step]:
        """Those that were begun, in order."""
        ...

    @property
    def total(self) -> int:
        """How many there are, as far as is known."""
        ...

    @property
    def failure(self) -> str:
        """Where and why it failed, on one line."""
        ...

    @property
    def last_stage(self) -> list[Step]:
        """The steps that the image itself is made of."""
        ...


class ClassicLog(BuildLog):
    """The classic builder, as its command prints it."""

    def read(self, line: str) -> None:  # type: ignore[override]
        """Take in one line."""
        super().read({"stream": f"{line}\n"})
        if _CLASSIC_ERROR.fullmatch(line):
            self.error = line


class BuildKitLog:
    """The builder's messages so far.

    Attributes:
        lines: all that was said.
        error: why it failed; empty while it has not.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.error = ""
        self._steps: dict[str, tuple[str, int, int, Step]] = {}
        self._failed = ""

    def read(self, line: str) -> None:
        """Take in one line."""
        if not line:
            return
        self.lines.append(line)
        if match := _STEP.fullmatch(line):
            number, stage, place, total, instruction = match.groups()
            step = Step(instruction.strip())
            self._steps.setdefault(number, (stage or "", int(place), int(total), step))
        elif match := _CACHED.fullmatch(line):
            if match[1] in self._steps:
                self._steps[match[1]][3].reused = True
        elif match := _ERROR.match(line):
            self._failed = match[1] or self._failed
            self.error = (match[2] or match[3]).strip()

    @property
    def steps(self) -> list[Step]:
        """All steps that were begun, in the order in which BuildKit named them."""
        return [step for *_, step in self._steps.values()]

    @property
    def total(self) -> int:
        """How many steps the stages named so far have."""
        return sum({stage: total for stage, _, total, _ in self._steps.values()}.values())

    @property
    def failure(self) -> str:
        """Where and why it failed, on one line."""
        if self._failed not in self._steps:
            return self.error
        stage, place, total, step = self._steps[self._failed]
        what = shorten(step.instruction)
        return f"step {place} of {total} of {stage or 'the stage'}, {what!r}: {self.error}"

    @property
    def last_stage(self) -> list[Step]:
        """The steps behind the last FROM, in order; BuildKit calls an unnamed stage stage-N."""
        unnamed = [
            stage for stage, *_ in self._steps.values() if re.fullmatch(r"stage-\d+|", stage)
        ]
        if not unnamed:
            return []
        final = max(unnamed, key=lambda stage: int(stage[6:] or 0))
        found = {place: step for stage, place, _, step in self._steps.values() if stage == final}
        return [found[place] for place in sorted(found)]
