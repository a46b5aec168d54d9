"""Saying what is going on during a verification: a bar where somebody watches, else plain lines."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, Protocol

from custom_image.progress import progress_bar, say
from custom_image.report import Check
from custom_image.rules import Rule


class Watcher(Protocol):
    """Is told what happens; its methods are called from the threads that rules run in."""

    def began(self, rule: Rule) -> None:
        """A rule is being judged from now on."""
        ...

    def ended(self, check: Check) -> None:
        """A rule has its verdict."""
        ...


@contextmanager
def watch(rules: Sequence[Rule], watcher: Watcher | None = None) -> Iterator[Watcher]:
    """Lend a watcher: the caller's own, a bar, plain lines, or a silent one."""
    if watcher is not None:
        yield watcher
        return
    with progress_bar(len(rules), "verify", "rule") as bar:
        if not bar.disable:
            yield _Bar(bar)
        elif os.environ.get("TQDM_DISABLE"):
            yield _Silence()
        else:
            yield _Lines()


class _Bar:
    """Names the rules that are being judged behind a bar."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._lock = Lock()
        self._running: list[str] = []

    def began(self, rule: Rule) -> None:
        with self._lock:
            self._running.append(rule.id)
            self._bar.set_postfix_str(", ".join(self._running)[:60])

    def ended(self, check: Check) -> None:
        with self._lock:
            self._running.remove(check.id)
            self._bar.set_postfix_str(", ".join(self._running)[:60], refresh=False)
            self._bar.update()


class _Lines:
    """Writes a line a verdict, for logs: a long wait is then seen to go on."""

    def began(self, rule: Rule) -> None:
        """Nothing: the line comes with the verdict."""

    def ended(self, check: Check) -> None:
        say(f"{check.verdict:<11}  {check.id:<20}  {check.measured.splitlines()[0][:80]}")


class _Silence:
    """Says nothing: headless notebooks keep what is said in their outputs."""

    def began(self, rule: Rule) -> None:
        """Nothing."""

    def ended(self, check: Check) -> None:
        """Nothing."""
