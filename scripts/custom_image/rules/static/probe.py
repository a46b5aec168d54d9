"""Rules on the probes of config.json: what they may say, and what makes sense."""

from __future__ import annotations

from collections.abc import Iterator

from custom_image.model_config import Health
from custom_image.platform_api import PROBE_URL
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
from custom_image.specification import (
    CONTAINER_IMAGE,
    HEALTH_COMMAND_FORBIDDEN,
    HEALTH_METHODS,
    HEALTH_PERIOD,
    HEALTH_PERIOD_2_0,
    HEALTH_TEXT_LENGTH,
    HEALTH_URL,
    INFERENCE_2_0_HEALTH,
    STARTUP_PROBE_FROM,
)

PROBED = frozenset({Profile.V1, Profile.V2})
NEW = frozenset({Profile.V2})


@rule(
    id="probe.timeout",
    title="A health check ends before the next one begins",
    why="Checks that overlap pile up on a slow instance, and none of them tells its state.",
    severity=Severity.WARNING,
    profiles=PROBED,
    needs=Needs.CONFIG,
    expected="timeout below period",
    source=CONTAINER_IMAGE,
    remediation="Lower timeout_seconds, or raise period_seconds.",
    good='"period_seconds": "10", "timeout_seconds": "5"',
    bad='"period_seconds": "5", "timeout_seconds": "10"',
)
def timeout(context: Context) -> Finding:
    """Compare timeout and period of each check, with the platform's defaults where it has some."""
    is_new = context.profile is Profile.V2
    shown, faults = [], []
    for name, health in _checks(context):
        period_s = health.period_seconds or (HEALTH_PERIOD_2_0 if is_new else HEALTH_PERIOD).value
        if health.timeout_seconds is None:
            continue
        line = f"{name}: timeout {health.timeout_seconds} s, period {period_s} s"
        shown.append(line)
        if health.timeout_seconds >= period_s:
            faults.append(line)
    if not shown:
        return passed("no timeout is declared; the platform's own holds")
    return failed(faults[0], "\n".join(shown)) if faults else passed(shown[0], "\n".join(shown))


@rule(
    id="probe.command",
    title="The command of a health check is one that Inference 2.0 accepts",
    why="The request that creates the service is refused: pipes, quotes and variables are not let "
    "through.",
    severity=Severity.ERROR,
    profiles=NEW,
    needs=Needs.CONFIG,
    expected=f"at most {HEALTH_TEXT_LENGTH}, none of {HEALTH_COMMAND_FORBIDDEN}",
    source=INFERENCE_2_0_HEALTH,
    remediation="Put the command into a script of the image, and let the check call the script.",
    good='"command": "sh /home/ma-user/health.sh"',
    bad='"command": "curl -s localhost:$PORT | grep ok"',
)
def command(context: Context) -> Finding:
    """Look for the characters that the API refuses."""
    commands = [
        (name, health.command or "")
        for name, health in _checks(context)
        if health.check_method != HEALTH_METHODS[0]
    ]
    if not commands:
        return not_checked("no health check is a command")
    for name, text in commands:
        bad = sorted(set(text) & set(HEALTH_COMMAND_FORBIDDEN.value))
        if bad:
            return failed(f"{name}: {' '.join(bad)}", text)
        if len(text) > HEALTH_TEXT_LENGTH.value:
            return failed(f"{name}: {len(text)} characters", text)
    return passed(commands[0][1], "\n".join(f"{name}: {text}" for name, text in commands))


@rule(
    id="probe.url",
    title="The url of a health check is one that Inference 2.0 accepts",
    why="The request that creates the service is refused: a dot or a query is not let through.",
    severity=Severity.ERROR,
    profiles=NEW,
    needs=Needs.CONFIG,
    expected=f"{PROBE_URL.pattern.pattern}, at most {HEALTH_TEXT_LENGTH}",
    source=INFERENCE_2_0_HEALTH,
    remediation=f"Serve the check at a plain path such as {HEALTH_URL}.",
    good='"url": "/health/live"',
    bad='"url": "/health.json?full=1"',
)
def url(context: Context) -> Finding:
    """Match the url with the pattern of the API."""
    urls = [
        (name, health.url or "")
        for name, health in _checks(context)
        if health.check_method == HEALTH_METHODS[0]
    ]
    if not urls:
        return not_checked("no health check is an HTTP request")
    for name, text in urls:
        if not PROBE_URL.allows(text):
            return failed(f"{name}: {text[:80]}", text)
    return passed(urls[0][1], "\n".join(f"{name}: {text}" for name, text in urls))


@rule(
    id="probe.startup",
    title="A service that starts no faster than this declares startup_health",
    why="Until a startup check succeeds the others are off; without one they give up on the start.",
    severity=Severity.WARNING,
    profiles=NEW,
    needs=Needs.SERVICE | Needs.INSTANCE | Needs.CONFIG,
    requires=("health.ready",),
    limit_field="startup_probe_from",
    remediation='Add "startup_health" to config.json, with a budget above the measured start.',
    good='"startup_health": {"check_method": "HTTP", "url": "/health"}',
    bad=f"a start of more than {STARTUP_PROBE_FROM} without it",
)
def startup(context: Context) -> Finding:
    """Compare the measured start with the time from which a check of it is worth its lines."""
    started_s = context.service.start.waited_s
    shown = f"ready after {started_s:.1f} s"
    if context.config.startup_health is not None:
        return passed(f"{shown}, startup_health is declared")
    is_fast = started_s <= context.edition.startup_probe_from.value
    return (passed if is_fast else failed)(shown)


def _checks(context: Context) -> Iterator[tuple[str, Health]]:
    for name in ("health", "readiness_health", "startup_health"):
        health = getattr(context.config, name)
        if health is not None:
            yield name, health
