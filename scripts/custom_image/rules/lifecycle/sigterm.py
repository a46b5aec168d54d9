"""Rules on SIGTERM: one drill, judged by five rules."""

from __future__ import annotations

import time

from custom_image.drills.processes import catches_sigterm
from custom_image.drills.sigterm import Drain, drill_sigterm
from custom_image.engines import StartOptions
from custom_image.rules import (
    Context,
    Finding,
    Needs,
    Profile,
    Severity,
    failed,
    not_checked,
    not_waited,
    passed,
    rule,
    warned,
)
from custom_image.specification import (
    HEALTH_METHODS,
    SIGTERM_DRAIN,
    SPECIFICATIONS,
)

UPGRADED = frozenset({Profile.V1, Profile.ENGINE, Profile.V2})
AFTER = ("health.ready", "api.answers", "http.latency")
LOADS_S = 5.0
"""A start that is over sooner is hardly ever met by a signal."""
EARLY = 0.25
"""Of that time: the next start may be quicker than the one that was timed."""
DIES_OF_SIGTERM = (143, -15)
"""The exit codes of a process without a handler: 128 + 15 in a container, -15 without one."""


@rule(
    id="sigterm.serves",
    title="After SIGTERM the service goes on serving, new connections and kept-alive ones",
    why="Requests are still routed to an instance for a while after it was told to stop.",
    severity=Severity.ERROR,
    profiles=UPGRADED,
    needs=Needs.INSTANCE,
    requires=AFTER,
    wait_seconds=lambda waits: waits.exit_s,
    limit_field="sigterm_drain",
    remediation=f"On SIGTERM wait {SIGTERM_DRAIN} before the server is told to stop.",
    good="trap 'sleep 60; kill $pid; wait $pid' TERM",
    bad="the server stops accepting as soon as it gets SIGTERM",
)
def serves(context: Context) -> Finding:
    """Judge the requests that were sent while the service had to serve."""
    drain = _drill(context)
    lost = drain.lost()
    gone = "still there" if drain.exited_s is None else f"gone after {drain.exited_s:.1f} s"
    if lost:
        text = f"{len(lost)} requests lost, the first {lost[0].t_s:.1f} s after SIGTERM; {gone}"
        return failed(text, drain.summary())
    if drain.exited_s is not None and drain.exited_s < drain.drain_s:
        return failed(gone, drain.summary())
    if not drain.asked():  # each client still waited for an answer from before the signal
        text = f"no answer came in {drain.drain_s:g} s, so nobody could ask again"
        return not_checked(text, drain.summary())
    if context.waits.true:
        return passed(f"no request lost in {drain.drain_s:g} s", drain.summary())
    drain_s = context.edition.sigterm_drain
    return not_waited(drain_s, f"no request lost in {drain.drain_s:g} s", drain.summary())


@rule(
    id="sigterm.in-flight",
    title="A request that was accepted is finished, also after SIGTERM",
    why="A request that is cut off is lost: the gateway does not send it a second time.",
    severity=Severity.ERROR,
    profiles=UPGRADED,
    needs=Needs.INSTANCE,
    requires=AFTER,
    wait_seconds=lambda waits: waits.exit_s,
    expected="every accepted request answered",
    source=SPECIFICATIONS,
    remediation="Stop accepting first, finish what was accepted, then exit; never end with "
    "SIGKILL.",
    good="stop accepting, finish what was accepted, exit",
    bad="os._exit(0) in the signal handler",
)
def in_flight(context: Context) -> Finding:
    """Judge the requests that took their time to arrive: one or more at any time, to the end."""
    drain = _drill(context)
    slow = [event for event in drain.events if event.kind == "slow"]
    cut_off = drain.cut_off()
    if not slow:
        return not_checked("no slow request was accepted", drain.summary())
    evidence = "\n".join(str(event) for event in (*cut_off[:5], *slow[-1:]))
    if cut_off:
        return failed(f"{len(cut_off)} of {len(slow)} slow requests cut off", evidence)
    return passed(f"{len(slow)} slow requests answered", evidence)


@rule(
    id="sigterm.exit",
    title="After SIGTERM the service ends in time, whatever its clients do",
    why="What still runs then is killed, with everything in flight.",
    severity=Severity.ERROR,
    profiles=UPGRADED,
    needs=Needs.INSTANCE,
    requires=AFTER,
    wait_seconds=lambda waits: waits.exit_s,
    limit_field="sigterm_exit",
    remediation="Catch SIGTERM in process 1 (`exec` the server), and do not wait for idle "
    "connections: "
    "gunicorn --graceful-timeout 20.",
    good="exec gunicorn --graceful-timeout 20",
    bad="sh run.sh without exec: the shell keeps the signal",
)
def exits(context: Context) -> Finding:
    """Judge when the first process ended, with idle connections open."""
    drain = _drill(context)
    exited_s, evidence = drain.exited_s, drain.summary()
    if exited_s is not None and exited_s <= drain.exit_s:
        seen = f"gone after {exited_s:.1f} s"
        return (
            passed(seen, evidence)
            if context.waits.true
            else not_waited(context.edition.sigterm_exit, seen, evidence)
        )
    seen = (
        f"still there after {drain.exit_s:g} s"
        if exited_s is None
        else f"gone after {exited_s:.1f} s"
    )
    if exited_s is None and drain.is_caught is False:
        seen = f"{seen}: its first process has no handler for SIGTERM"
        return failed(seen, f"{evidence}\n{seen}")
    if exited_s is None and drain.deaf:
        return failed(f"{seen}: {drain.deaf[0]} listens and ignores SIGTERM", evidence)
    if context.waits.true or context.knows_short_waits:
        return failed(seen, evidence)
    return not_waited(context.edition.sigterm_exit, f"{seen}, which proves nothing", evidence)


@rule(
    id="sigterm.exit-code",
    title="After SIGTERM the service exits on its own, with exit code 0",
    why="Any other code looks like a crash in the platform's events.",
    severity=Severity.WARNING,
    profiles=UPGRADED,
    needs=Needs.INSTANCE,
    requires=AFTER,
    wait_seconds=lambda waits: waits.exit_s,
    expected="0",
    source=SPECIFICATIONS,
    remediation="Handle SIGTERM and exit with 0; in a shell, `wait` for the server and `exit 0`.",
    good="sys.exit(0) at the end of the drain",
    bad="exit 143, which looks like a crash",
)
def exit_code(context: Context) -> Finding:
    """Judge the exit code of the first process."""
    drain = _drill(context)
    if drain.exit_code is None:
        return not_checked("it did not end while it was watched: see sigterm.exit")
    if drain.exit_code in DIES_OF_SIGTERM:
        return warned(f"{drain.exit_code}: it died of SIGTERM", drain.summary())
    return (passed if drain.exit_code == 0 else failed)(f"{drain.exit_code}", drain.summary())


@rule(
    id="sigterm.loading",
    title="SIGTERM is heard while the model still loads",
    why="An upgrade that is called off stops what is just starting: deaf, it hangs to the end.",
    severity=Severity.WARNING,
    profiles=UPGRADED,
    needs=Needs.INSTANCE,
    requires=("health.ready", "sigterm.exit"),
    wait_seconds=lambda waits: waits.exit_s,
    limit_field="sigterm_exit",
    remediation="Install the handler before the model is loaded, or start through an init that "
    "passes signals on (tini).",
    good="signal.signal(SIGTERM, stop) in the first lines, then the import of torch",
    bad="a model that is loaded at import, and a server that installs its handler afterwards",
)
def loading(context: Context) -> Finding:
    """Stop an instance of its own when a part of the time that it loads is over."""
    loads_s = context.service.start.waited_s
    if loads_s < LOADS_S:
        return passed(f"ready after {loads_s:.1f} s, too soon to be stopped meanwhile")
    waits = context.waits
    with context.launch(StartOptions(environment=waits.environment)) as instance:
        context.pause(loads_s * EARLY)
        if not instance.is_running():
            return not_checked("it ended by itself while it was loading")
        is_caught = catches_sigterm(instance)
        began = time.monotonic()
        instance.send_signal("SIGTERM")
        code = None
        while code is None and time.monotonic() - began < waits.exit_s:
            context.pause(0.1)
            code = instance.wait(0)
        ended_s = time.monotonic() - began
    evidence = f"SIGTERM {loads_s * EARLY:.1f} s after the start; it is ready after {loads_s:.1f} s"
    if code is not None:
        return passed(f"ended {ended_s:.1f} s after it, with exit code {code}", evidence)
    seen = f"still there {ended_s:.0f} s after SIGTERM"
    if is_caught is False:
        return failed(f"{seen}: no handler yet, and process 1 has no other", evidence)
    if waits.true or context.knows_short_waits:
        return failed(seen, evidence)
    return not_waited(context.edition.sigterm_exit, f"{seen}, which proves nothing", evidence)


@rule(
    id="sigterm.orphans",
    title="No process outlives its parent after SIGTERM",
    why="An orphan answers requests that nobody manages, until it is killed in the middle of one.",
    severity=Severity.ERROR,
    profiles=UPGRADED,
    needs=Needs.INSTANCE,
    requires=AFTER,
    wait_seconds=lambda waits: waits.exit_s,
    expected="none",
    source=SPECIFICATIONS,
    remediation="Let the launcher stop its children and `wait` for them before it exits.",
    good='kill "$pid"; wait "$pid"; exit 0',
    bad="the launcher exits, its workers stay",
)
def orphans(context: Context) -> Finding:
    """Judge the processes that lost their parent, or stayed behind."""
    drain = _drill(context)
    if drain.orphans:
        return failed(f"{len(drain.orphans)} processes", "\n".join(drain.orphans))
    return passed("none")


def _drill(context: Context) -> Drain:
    """Run the drill on an instance of its own, once for all the rules here."""

    def drill() -> Drain:
        config = context.declared_health
        is_http = config is not None and config.check_method == HEALTH_METHODS[0]
        with context.start(StartOptions(environment=context.waits.environment)) as service:
            assert service.instance is not None  # INSTANCE is needed, so there is one
            drain = drill_sigterm(
                service.instance,
                service.url,
                service.request,
                expected_status=service.start.last_answer.status,
                drain_s=context.waits.drain_s,
                exit_s=context.waits.exit_s,
                overtime_s=context.waits.overtime_s,
                health_path=(config.url or "") if config and is_http else "",
                pause=context.pause,
            )
        context.facts["sigterm"] = drain.to_fact()
        return drain

    return context.once("sigterm", drill)
