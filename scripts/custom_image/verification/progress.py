"""Saying what is going on during a verification, in the form that fits who is watching.

A live table on a terminal, a bar in Jupyter, a line an event in a log, nothing in a headless run.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Any, Final, Protocol

from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from custom_image.progress import progress_bar, say
from custom_image.report import Check
from custom_image.report.terminal import STYLES
from custom_image.rules import Rule, Waits

MOST_ROWS: Final = 12
"""Of rules that run: the live table stays smaller than a terminal."""
REFRESHES_PER_S: Final = 4


class Watcher(Protocol):
    """Is told what happens; its methods are called from the threads that rules run in."""

    def began(self, rule: Rule) -> None:
        """A rule is being judged from now on."""
        ...

    def ended(self, check: Check) -> None:
        """A rule has its verdict, also one that never began because it cannot be judged."""
        ...


@contextmanager
def watch(rules: Sequence[Rule], waits: Waits, watcher: Watcher | None = None) -> Iterator[Watcher]:
    """Lend a watcher: the caller's own, a live table, a bar, plain lines, or a silent one."""
    if watcher is not None:
        yield watcher
    elif os.environ.get("TQDM_DISABLE"):
        yield Silence()
    elif sys.stderr.isatty():
        view = LiveView(rules, waits)
        console = Console(stderr=True)
        with Live(
            get_renderable=view.render,
            console=console,
            refresh_per_second=REFRESHES_PER_S,
            transient=True,
        ):
            yield view
    else:
        with progress_bar(len(rules), "verify", "rule") as bar:
            yield _Lines(waits) if bar.disable else _Bar(bar)


class LiveView:
    """A table of what runs, for how long, and of what waits for what."""

    def __init__(
        self, rules: Sequence[Rule], waits: Waits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rules = list(rules)
        self._waits = waits
        self._clock = clock
        self._began_at = clock()
        self._lock = Lock()
        self._running: dict[str, float] = {}
        self._checks: dict[str, Check] = {}

    def began(self, rule: Rule) -> None:
        """Show it among what runs."""
        with self._lock:
            self._running[rule.id] = self._clock()

    def ended(self, check: Check) -> None:
        """Count its verdict."""
        with self._lock:
            self._running.pop(check.id, None)
            self._checks[check.id] = check

    def render(self) -> RenderableType:
        """Return the table as it is now; called by the thread that draws."""
        with self._lock:
            running, checks = dict(self._running), dict(self._checks)
        table = Table(
            box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False, expand=True
        )
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)  # alone gives way
        table.add_row(f"{self._clock() - self._began_at:.0f} s", *self._totals(checks))
        rows = [rule for rule in self._rules if rule.id in running]
        for rule in rows[:MOST_ROWS]:
            elapsed_s = self._clock() - running[rule.id]
            table.add_row(_elapsed(rule, self._waits, elapsed_s), rule.id, Text(rule.title))
        if len(rows) > MOST_ROWS:
            table.add_row("", f"and {len(rows) - MOST_ROWS} more", "")
        table.add_row(*self._waiting({*running, *checks}, checks))
        return table

    def _totals(self, checks: dict[str, Check]) -> tuple[RenderableType, RenderableType]:
        done = f"{len(checks)} of {len(self._rules)} rules"
        text = Text()
        for name, style in STYLES.items():
            number = sum(check.badge == name for check in checks.values())
            if number:
                text.append(f"{number} {name.lower()}  ", style=style)
        return done, text

    def _waiting(self, begun: set[str], checks: dict[str, Check]) -> tuple[str, str, Text]:
        """Return one row: how many wait, and for which rules."""
        waiting = [rule for rule in self._rules if rule.id not in begun]
        if not waiting:
            return "", "", Text("")
        mine = {rule.id for rule in self._rules}
        open_ids = [a for rule in waiting for a in rule.requires if a in mine and a not in checks]
        names = ", ".join(dict.fromkeys(open_ids)) or "their turn"
        return "", f"{len(waiting)} wait for", Text(names, style="dim")


def _elapsed(rule: Rule, waits: Waits, elapsed_s: float) -> str:
    """Return how long a rule has run and, where it waits by intention, of how long."""
    wait_s = rule.wait_seconds(waits) if rule.wait_seconds else 0.0
    return f"{elapsed_s:.0f} of {wait_s:g} s" if elapsed_s < wait_s else f"{elapsed_s:.0f} s"


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
            if check.id in self._running:
                self._running.remove(check.id)
            self._bar.set_postfix_str(", ".join(self._running)[:60], refresh=False)
            self._bar.update()


class _Lines:
    """Writes a line a verdict, and one where a long wait begins: a log then goes on growing."""

    def __init__(self, waits: Waits) -> None:
        self._waits = waits

    def began(self, rule: Rule) -> None:
        if rule.wait_seconds is not None:
            say(f"{'waits':<11}  {rule.id:<21}  {rule.wait_seconds(self._waits):g} s: {rule.title}")

    def ended(self, check: Check) -> None:
        say(f"{check.badge:<11}  {check.id:<21}  {(check.measured.splitlines() or [''])[0][:80]}")


class Silence:
    """Says nothing: headless notebooks keep what is said in their outputs."""

    def began(self, rule: Rule) -> None:
        """Nothing."""

    def ended(self, check: Check) -> None:
        """Nothing."""
