"""The stop command of Inference 2.0: run in the container before SIGTERM, within the same grace."""

from __future__ import annotations

import posixpath
import re
import shlex
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from custom_image.engines import StartOptions
from custom_image.probing.http import Answer, SlowRequest
from custom_image.rules import (
    Context,
    Finding,
    Needs,
    Profile,
    Severity,
    failed,
    not_checked,
    passed,
    rule,
)
from custom_image.specification import Source

GRACEFUL_STOP: Final = Source(
    "Inference 2.0: graceful shutdown",
    "https://support.huaweicloud.com/inference-modelarts/inference2.0-modelarts-0094.html",
)
NEW: Final = frozenset({Profile.V2})
NONE: Final = "no stop command was given; name it with --stop-command"
BUILT_IN: Final = frozenset(
    [
        *("kill", "trap", "exit", "exec", "wait", "cd", "echo", "test", "[", ":", ".", "eval"),
        *("export", "set", "unset", "read", "true", "false", "return", "shift", "printf"),
        *("command", "type", "umask", "ulimit", "if", "then", "else", "elif", "fi", "for", "in"),
        *("do", "done", "while", "until", "case", "esac", "!", "{", "}"),
    ]
)
DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHELLS: Final = ("sh", "bash", "dash", "ash")
IN_FLIGHT_S: Final = 1.0


@rule(
    id="stop.tools",
    title="The programs of the stop command are in the image",
    why="A command that cannot be run ends at once, and the instance is stopped without its drain.",
    severity=Severity.ERROR,
    profiles=NEW,
    needs=Needs.IMAGE | Needs.FILES,
    expected="each of them on the PATH of the image, and sh",
    source=GRACEFUL_STOP,
    remediation="Install them (pgrep and pkill are in the package procps), or use what the shell "
    "brings: kill -TERM 1.",
    good='--stop-command "kill -TERM 1"',
    bad='--stop-command "pkill -f app.py" in an image without procps',
)
def tools(context: Context) -> Finding:
    """Look each program up on the PATH, as the shell would."""
    if not context.stop_command:
        return not_checked(NONE)
    names = ["sh", *programs(context.stop_command)]
    path = context.image.environment.get("PATH", DEFAULT_PATH).split(":")
    missing = []
    for name in dict.fromkeys(names):
        places = [name] if "/" in name else [posixpath.join(folder, name) for folder in path]
        places = [place for place in places if place.startswith("/")]
        if places and not any(context.find_file(place) for place in places):
            missing.append(name)
    if missing:
        return failed(f"no {', '.join(missing)} in the image", f"PATH={':'.join(path)}")
    return passed(", ".join(dict.fromkeys(names)))


@rule(
    id="stop.command",
    title="The stop command works, and the service then ends within the grace",
    why="What still runs when the grace is over is killed, with everything in flight.",
    severity=Severity.ERROR,
    profiles=NEW,
    needs=Needs.CONTAINER,
    requires=("health.ready", "api.answers", "stop.tools"),
    expected="exit code 0 by the image's own sh, then the end, within the grace",
    source=GRACEFUL_STOP,
    remediation="Write it for a plain sh (kill -TERM 1, not kill -SIGTERM; trap '' TERM, not "
    "SIGTERM), let it end by itself, and match no process of its own (pgrep -f does).",
    good='--stop-command "sleep 5"',
    bad='--stop-command "kill -SIGTERM 1" on Debian: Illegal option -S',
)
def command(context: Context) -> Finding:
    """Run it in the container, then send SIGTERM, as the platform does, and wait for the end."""
    if not context.stop_command:
        return not_checked(NONE)
    stop = _drill(context)
    if stop.code is None:
        return failed(f"it still runs after {stop.grace_s:g} s", stop.evidence)
    if stop.code:
        return failed(f"exit code {stop.code} after {stop.command_s:.1f} s", stop.evidence)
    if stop.ended_s is None:
        return failed(f"the service still runs after {stop.grace_s:g} s", stop.evidence)
    return passed(f"{stop.command_s:.1f} s, the service ended after {stop.ended_s:.1f} s")


@rule(
    id="stop.in-flight",
    title="A request that was accepted before the stop command is finished",
    why="A command that kills the server cuts off everything that it was about to answer.",
    severity=Severity.ERROR,
    profiles=NEW,
    needs=Needs.CONTAINER,
    requires=("health.ready", "api.answers", "stop.tools"),
    expected="answered",
    source=GRACEFUL_STOP,
    remediation="Send SIGTERM, never SIGKILL, and let the server finish what it has accepted.",
    good='--stop-command "kill -TERM 1"',
    bad='--stop-command "kill -9 -1"',
)
def in_flight(context: Context) -> Finding:
    """Hold half a request back while the command runs."""
    if not context.stop_command:
        return not_checked(NONE)
    stop = _drill(context)
    if stop.answer is None:
        return not_checked("the first api takes no body, so that no request is slow to arrive")
    is_good = stop.answer.status == context.service.start.last_answer.status
    return (passed if is_good else failed)(str(stop.answer), stop.evidence)


@dataclass(frozen=True)
class _Stop:
    """What followed the stop command.

    Attributes:
        code: its exit code; None where it ran on.
        command_s: how long it ran.
        ended_s: when the first process ended; None where it ran on.
        answer: to a request that was in flight; None where none can be.
    """

    grace_s: float
    code: int | None
    command_s: float
    ended_s: float | None
    answer: Answer | None
    evidence: str


def _drill(context: Context) -> _Stop:
    """Run the command on an instance of its own, once for all the rules here."""

    def drill() -> _Stop:
        grace_s = context.waits.exit_s if context.knows_short_waits else context.grace_s
        options = StartOptions(environment=context.waits.environment)
        with context.start(options) as service, ThreadPoolExecutor(2) as pool:
            instance = service.instance
            assert instance is not None  # CONTAINER is needed, so there is one
            slow = SlowRequest(service.url, service.request) if service.request.body else None
            is_accepted = slow is not None and slow.begin()
            began = time.monotonic()
            running = pool.submit(instance.execute, ["sh", "-c", context.stop_command])
            answer = None
            if slow is not None and is_accepted:
                context.pause(IN_FLIGHT_S)
                answer = slow.complete()
            while not running.done() and time.monotonic() - began < grace_s:
                context.pause(0.05)
            command_s = time.monotonic() - began
            code, output = running.result() if running.done() else (None, "")
            instance.send_signal("SIGTERM")
            ended = instance.wait(max(0.0, grace_s - (time.monotonic() - began)))
            ended_s = None if ended is None else time.monotonic() - began
            instance.stop()  # ends a command that still runs
        # The engine ends what runs in a container with it, and says 137.
        if code in (137, 143) and ended_s is not None and command_s >= ended_s - 1:
            code = 0
        shown = [f"sh -c {shlex.quote(context.stop_command)}: exit code {code}", output.strip()]
        if answer is not None:
            shown.append(f"a request in flight: {answer}")
        shown.append(f"the service ended with exit code {ended}" if ended_s else "it still runs")
        evidence = "\n".join(line for line in shown if line)
        return _Stop(grace_s, code, command_s, ended_s, answer, evidence)

    return context.once("stop", drill)


def programs(text: str) -> list[str]:
    """Return the programs that a line of shell starts, those in $(...) and in `sh -c` too."""
    found: list[str] = []
    for inner in re.findall(r"\$\(([^()]*)\)|`([^`]*)`", text):
        found += programs("".join(inner))
    text = re.sub(r"\$\([^()]*\)|`[^`]*`", "x", text)
    try:
        lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|()\n")
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError:
        return found
    is_first = True
    for number, word in enumerate(words):
        if set(word) <= set(";&|()\n"):
            is_first = True
            continue
        if is_first and re.fullmatch(r"\w+=.*", word):
            continue
        if is_first and word not in BUILT_IN:
            found.append(word)
            if posixpath.basename(word) in SHELLS and "-c" in words[number : number + 3]:
                at = words.index("-c", number) + 1
                found += programs(words[at]) if at < len(words) else []
        is_first = is_first and word in ("if", "then", "else", "do", "while", "until", "!", "exec")
    return found
