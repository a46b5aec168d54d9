"""What is seen of a verification while it runs: on a terminal, in a log, in a headless run."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
import termios

import pytest
from rich.console import Console

from custom_image.report import Check, Severity, Verdict
from custom_image.rules import REGISTRY, TRUE_WAITS, catalogue
from custom_image.verification.progress import LiveView, watch

catalogue()
RULES = [
    REGISTRY[name]
    for name in ("config.valid", "api.answers", "http.keep-alive", "sigterm.exit", "user.root")
]


def ended(rule_id: str, verdict: Verdict = Verdict.PASSED, **changes) -> Check:
    rule = REGISTRY[rule_id]
    facts = ("required", "measured", "", "remediation", "source", 1.0)
    return Check(rule_id, rule.title, Severity.ERROR, verdict, *facts, **changes)


class Clock:
    """A clock that is moved by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def shown(view: LiveView, width: int = 100) -> str:
    text = io.StringIO()
    Console(file=text, width=width, color_system=None).print(view.render())
    return text.getvalue()


def test_the_live_view_says_what_runs_for_how_long_and_of_what():
    clock = Clock()
    view = LiveView(RULES, TRUE_WAITS, clock)
    view.began(REGISTRY["http.keep-alive"])
    clock.now += 12
    view.began(REGISTRY["user.root"])

    first, *rows = shown(view).splitlines()

    assert first.split()[:2] == ["12", "s"]
    assert "0 of 5 rules" in first
    assert rows[0].startswith("12 of 200 s  http.keep-alive  An idle connection is kept open")
    assert rows[1].startswith("0 s          user.root ")


def test_the_live_view_says_what_waits_and_for_what():
    view = LiveView(RULES, TRUE_WAITS, Clock())
    view.began(REGISTRY["config.valid"])

    assert "4 wait for" in shown(view)
    assert "api.answers" in shown(view).splitlines()[-1]

    view.ended(ended("config.valid"))
    for name in ("api.answers", "http.keep-alive", "user.root"):
        view.began(REGISTRY[name])
    view.ended(ended("api.answers"))
    assert "1 wait for" in shown(view)

    view.began(REGISTRY["sigterm.exit"])
    assert "wait for" not in shown(view)


def test_the_live_view_counts_verdicts_waivers_apart():
    view = LiveView(RULES, TRUE_WAITS, Clock())
    view.ended(ended("config.valid"))
    view.ended(ended("user.root", Verdict.FAILED, waived="OPS-7"))
    view.ended(ended("api.answers", Verdict.FAILED))

    first = shown(view).splitlines()[0]
    assert "3 of 5 rules" in first
    assert re.sub(r"\s+", " ", first).strip().endswith("1 passed 1 failed 1 waived")


def test_the_live_view_stays_smaller_than_a_terminal():
    rules = list(catalogue())
    view = LiveView(rules, TRUE_WAITS, Clock())
    for rule in rules:
        view.began(rule)

    lines = shown(view, width=80).splitlines()
    assert len(lines) <= 16
    assert max(map(len, lines)) <= 80
    assert f"and {len(rules) - 12} more" in "\n".join(lines)


def test_a_long_list_of_what_is_waited_for_takes_no_room_from_the_rest():
    clock = Clock()
    view = LiveView(catalogue(), TRUE_WAITS, clock)
    view.began(REGISTRY["http.keep-alive"])
    clock.now += 7

    first, running, waiting = shown(view, width=80).splitlines()
    assert first.startswith("7 s ")
    assert f"0 of {len(catalogue())} rules" in first
    assert running.startswith("7 of 200 s  http.keep-alive  An idle connection")
    assert waiting.rstrip().endswith("…")


def test_a_rule_that_takes_longer_than_it_waits_shows_its_own_time_alone():
    clock = Clock()
    view = LiveView(RULES, TRUE_WAITS, clock)
    view.began(REGISTRY["sigterm.exit"])
    clock.now += 95

    assert shown(view).splitlines()[1].startswith("95 s  ")


def test_in_a_log_a_long_wait_is_announced(capsys, monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)

    with watch(RULES, TRUE_WAITS) as watcher:
        watcher.began(REGISTRY["config.valid"])
        watcher.began(REGISTRY["http.keep-alive"])
        watcher.ended(ended("http.keep-alive", Verdict.FAILED, waived="OPS-7"))

    wait, verdict = capsys.readouterr().err.splitlines()
    assert wait == "waits        http.keep-alive        200 s: An idle connection is kept open"
    assert verdict.startswith("WAIVED       http.keep-alive")


def run_on_a_terminal(environment: dict[str, str]) -> str:
    """Watch two rules in a process of its own, whose standard error is a terminal."""
    script = (
        "from custom_image.rules import REGISTRY, TRUE_WAITS, catalogue\n"
        "from custom_image.verification.progress import watch\n"
        "catalogue()\n"
        "rules = [REGISTRY[name] for name in ('api.answers', 'http.keep-alive')]\n"
        "with watch(rules, TRUE_WAITS) as watcher:\n"
        "    watcher.began(rules[0])\n"
        "with watch(rules, TRUE_WAITS) as watcher:\n"
        "    watcher.began(rules[1])\n"
    )
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 100))
    run = subprocess.Popen([sys.executable, "-c", script], stderr=end, env=environment)
    os.close(end)
    text = b""
    try:
        while piece := os.read(terminal, 4096):
            text += piece
    except OSError:  # the end of a terminal that everybody has left
        pass
    os.close(terminal)
    assert run.wait(60) == 0, text.decode()
    return text.decode()


@pytest.fixture
def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    return {**kept, "TERM": "xterm-256color"}


def test_on_a_terminal_the_live_table_shows_and_is_gone_when_done(environment):
    text = run_on_a_terminal(environment)

    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert re.search(r"\d s +0 of 2 rules", plain)
    assert re.search(r"1 wait for +api\.answers", plain)
    assert re.search(r"\d of 200 s +http\.keep-alive +An idle connection is kept open", plain)
    assert text.rstrip().endswith("\x1b[2K"), "the last thing it does is to clear its lines"
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 2, "the cursor is back"


def test_a_headless_run_is_silent_on_a_terminal_too(environment):
    assert run_on_a_terminal({**environment, "TQDM_DISABLE": "1"}) == ""
