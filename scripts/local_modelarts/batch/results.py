"""Results of a batch so far, in files that a kill at any moment leaves readable.

A result is written whole to its own file, and only then noted in the journal; a line of a CSV file
is noted with its answer, because its file is written when all lines are answered. What is noted is
never asked again. The manifest is written last, from the journal.

Source: https://docs.otc.t-systems.com/modelarts/umn/inference_deployment/deploying_a_model_as_batch_services/deploying_as_a_batch_service.html,
"Manifest File Specifications".
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from custom_image.files import write_whole
from local_modelarts.batch.inputs import Input
from local_modelarts.storage.obs import Obs

SUCCESSFUL: Final = "SUCCESSFUL"
FAILED: Final = "FAILED"
_SHOWN_FAULTS: Final = 3


class Results:
    """The results of one batch. Safe to use from several threads.

    Attributes:
        outcomes: by the input's number: what the manifest will say of it.
    """

    def __init__(
        self, obs: Obs, inputs: Sequence[Input], *, dest: Path, task_id: str, journal: Path
    ) -> None:
        self.outcomes: dict[int, dict[str, str]] = {}
        self._obs, self._inputs = obs, inputs
        self._dest, self._task_id = dest, task_id
        self._folder = dest / f"infer-result-{task_id}"
        self._lines: dict[int, dict[int, tuple[bool, str]]] = {}
        self._expected: dict[int, int] = {}
        self._lock = threading.RLock()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(journal, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._recall()
        self._adopt()

    def close(self) -> None:
        """Close the journal."""
        os.close(self._file)

    @property
    def failures(self) -> int:
        """How many inputs have failed so far."""
        return sum(outcome["result"] == FAILED for outcome in list(self.outcomes.values()))

    def is_done(self, number: int, line: int = 0) -> bool:
        """Tell whether an input, or one line of it, need not be asked again."""
        with self._lock:
            return number in self.outcomes or line in self._lines.get(number, {})

    def fail(self, number: int, reason: str) -> None:
        """Note that an input as a whole has failed."""
        self._conclude(number, {"result": FAILED, "error_message": reason})

    def answer(self, number: int, line: int, content: bytes) -> None:
        """Keep the model's answer to an input, or to one line of it."""
        if line:
            self._note_line(number, line, True, content.decode("utf-8", "replace"))
        else:
            self._succeed(number, content)

    def refuse(self, number: int, line: int, reason: str) -> None:
        """Note that an input, or one line of it, has got no answer."""
        if line:
            self._note_line(number, line, False, reason)
        else:
            self.fail(number, reason)

    def expect(self, number: int, lines: int) -> None:
        """Say how many lines an input has; its file is written when all are answered."""
        with self._lock:
            self._expected[number] = lines
            self._assemble(number)

    def write_manifest(self, lines_each: int) -> None:
        """Write ``infer-result-{task_id}.manifest``, and ``..._1.manifest`` and so on."""
        lines = [
            json.dumps({"source": self._inputs[number].source} | self.outcomes[number])
            for number in sorted(self.outcomes)
        ]
        for part, start in enumerate(range(0, max(1, len(lines)), lines_each)):
            suffix = f"_{part}" if part else ""
            text = "".join(f"{line}\n" for line in lines[start : start + lines_each])
            path = self._dest / f"infer-result-{self._task_id}{suffix}.manifest"
            write_whole(path, text.encode())

    def _succeed(self, number: int, content: bytes) -> None:
        path = self._folder / self._inputs[number].result
        write_whole(path, content)
        self._conclude(number, {"result": SUCCESSFUL, "inference-loc": self._obs.address(path)})

    def _note_line(self, number: int, line: int, is_answer: bool, text: str) -> None:
        with self._lock:
            if number in self.outcomes:
                return
            self._note({"input": number, "line": line, "is_answer": is_answer, "text": text})
            self._lines.setdefault(number, {})[line] = is_answer, text
            self._assemble(number)

    def _assemble(self, number: int) -> None:
        """Write the result of a CSV file whose lines are all answered: a line for each.

        A line that got no answer says so in its place, and the file counts as failed (inferred):
        nobody should take it for complete.
        """
        lines = self._lines.get(number, {})
        if number in self.outcomes or len(lines) < self._expected.get(number, len(lines) + 1):
            return
        faults = {line: text for line, (is_answer, text) in lines.items() if not is_answer}
        content = "".join(
            f"{json.dumps({'error_message': text}) if line in faults else _one_line(text)}\n"
            for line, (_, text) in sorted(lines.items())
        ).encode()
        if not faults:
            self._succeed(number, content)
            return
        shown = "; ".join(f"line {n}: {faults[n]}" for n in sorted(faults)[:_SHOWN_FAULTS])
        path = self._folder / self._inputs[number].result
        write_whole(path, content)
        self.fail(
            number,
            f"{len(faults)} of {len(lines)} lines failed ({shown}); the answers to the others are "
            f"in {self._obs.address(path)}",
        )

    def _conclude(self, number: int, outcome: dict[str, str]) -> None:
        with self._lock:
            if number not in self.outcomes:
                self._note({"input": number} | outcome)
                self.outcomes[number] = outcome
                self._lines.pop(number, None)

    def _note(self, entry: dict[str, Any]) -> None:
        os.write(self._file, json.dumps(entry).encode() + b"\n")

    def _adopt(self) -> None:
        """Note the results that were written just before a kill, and not noted."""
        written = {path.name for path in self._folder.iterdir()}
        for number, each in enumerate(self._inputs):
            if each.result in written and not self.is_done(number) and number not in self._lines:
                path = self._folder / each.result
                outcome = {"result": SUCCESSFUL, "inference-loc": self._obs.address(path)}
                self._conclude(number, outcome)

    def _recall(self) -> None:
        """Read the journal; what a kill has left of its last line is cut off."""
        with os.fdopen(os.dup(self._file), "rb") as file:
            whole, newline, _ = file.read().rpartition(b"\n")
        os.ftruncate(self._file, len(whole) + len(newline))
        os.lseek(self._file, 0, os.SEEK_END)
        for text in whole.splitlines():
            entry = json.loads(text)
            number = entry.pop("input")
            if "line" in entry:
                lines = self._lines.setdefault(number, {})
                lines[entry["line"]] = entry["is_answer"], entry["text"]
            else:
                self.outcomes[number] = entry


def _one_line(text: str) -> str:
    """Return an answer in one line: JSON is written again, other text keeps its first line."""
    try:
        return json.dumps(json.loads(text))
    except ValueError:
        return " ".join(text.split())
