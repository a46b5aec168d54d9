"""The log of the classic builder, read step by step."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from custom_image.builders import shorten

_STEP = re.compile(r"Step (\d+)/(\d+) : (.*)")
_REUSED = " ---> Using cache"
# The engine repeats the whole command before it.
_EXIT_CODE = re.compile(r"returned a non-zero code: (\d+)$")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass
class Step:
    """One instruction of the Dockerfile, continuation lines joined by the builder."""

    instruction: str
    reused: bool = False


class BuildLog:
    """The builder's messages so far.

    Attributes:
        lines: all that was said, also by the commands that ran.
        total: how many steps there are; 0 before the first.
        error: why it failed; empty while it has not.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[Step] = []
        self.total = 0
        self.error = ""
        self._unfinished = ""

    def read(self, message: Mapping[str, Any]) -> None:
        """Take in one message of the engine's stream."""
        if "error" in message:
            self.error = str(message["error"]).strip()
        *finished, self._unfinished = (self._unfinished + message.get("stream", "")).split("\n")
        for line in finished:
            self._read_line(_COLOUR.sub("", line).rstrip())

    @property
    def failure(self) -> str:
        """Where and why it failed, on one line."""
        code = _EXIT_CODE.search(self.error)
        why = f"exit code {code[1]}" if code else self.error
        if not self.steps:
            return why
        at = f"step {len(self.steps)} of {self.total}"
        return f"{at}, {shorten(self.steps[-1].instruction)!r}: {why}"

    @property
    def last_stage(self) -> list[Step]:
        """The steps behind the last FROM: those that the image itself is made of."""
        starts = [
            number
            for number, step in enumerate(self.steps)
            if step.instruction.upper().startswith("FROM ")
        ]
        return self.steps[starts[-1] + 1 :] if starts else []

    def _read_line(self, line: str) -> None:
        if not line:
            return
        self.lines.append(line)
        if match := _STEP.fullmatch(line):
            self.total = int(match[2])
            self.steps.append(Step(match[3].strip()))
        elif line == _REUSED and self.steps:
            self.steps[-1].reused = True
