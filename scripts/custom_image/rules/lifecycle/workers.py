"""The processes that do the work: what becomes of them in use, and of health without them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from custom_image.drills.load import CLIENTS, IN_A_ROW, Load, drill_load
from custom_image.drills.startup import ask_health
from custom_image.drills.worker_kill import Death, drill_deaths
from custom_image.errors import Unavailable
from custom_image.probing.http import Answer, ask
from custom_image.rules import (
    Context,
    Finding,
    Needs,
    Profile,
    Service,
    Severity,
    Waits,
    failed,
    not_checked,
    passed,
    rule,
    warned,
)
from custom_image.specification import CONTAINER_IMAGE, SERVICE_UNREACHABLE, SPECIFICATIONS

PROBED: Final = frozenset({Profile.V1, Profile.ENGINE, Profile.V2})
AFTER: Final = ("health.ready", "api.answers", "http.latency")
QUICK_LOAD_S: Final = 3.0
FULL_LOAD_S: Final = 10.0
SLOW_S: Final = 1.0
"""Predictions that take longer hold a thread each; frameworks have 40 of them, and one is left."""
MANY_CLIENTS: Final = 60
STILL_BUSY_S: Final = 3
NOTICEABLE_S: Final = 2.0
"""A check that waits for longer at the end of a short drill may be one that never ends."""
CHECK_TIMEOUT_S: Final = 10
"""Where config.json names none."""
REQUEST_PATIENCE: Final = 10
"""How many times a first answer one after the death of a worker may take."""
LEAST_PATIENCE_S: Final = 2.0


def _load_s(waits: Waits) -> float:
    return FULL_LOAD_S if waits.true else QUICK_LOAD_S


@rule(
    id="workers.stay",
    title="Requests in a row cost no worker its life",
    why="Requests of a worker that ends are lost, and its clients get ModelArts.4503.",
    severity=Severity.ERROR,
    needs=Needs.INSTANCE,
    requires=AFTER,
    wait_seconds=_load_s,
    expected="no worker replaced, no connection cut off",
    source=SERVICE_UNREACHABLE,
    remediation="Read why workers end in the log (memory, a crash in native code, --max-requests); "
    "requests have to survive it.",
    good="the same workers after a thousand requests",
    bad="a worker that leaks memory until it is killed: `Booting worker` in the log",
)
def stay(context: Context) -> Finding:
    """Compare the processes before and after many requests, and count those that were cut off."""
    try:
        load = _use(context).load
    except Unavailable as error:
        return not_checked(str(error).splitlines()[0])
    evidence = "\n".join(
        [
            f"{load.clients} clients, {load.seconds:.1f} s: {load.answered} requests answered, "
            f"{len(load.cut_off)} cut off",
            *(f"replaced: {process}" for process in load.replaced[:5]),
            *(f"cut off: {answer}" for answer in load.cut_off[:3]),
        ]
    )
    if load.has_ended:
        return failed("the service ended", evidence)
    if load.cut_off:
        text = f"{len(load.cut_off)} of {load.answered + len(load.cut_off)} requests cut off"
        return failed(f"{text}, {len(load.replaced)} workers replaced", evidence)
    if load.replaced:
        return warned(f"{len(load.replaced)} workers replaced, no request lost", evidence)
    return passed(f"{load.answered} requests, {load.workers} workers, the same", evidence)


@rule(
    id="workers.busy",
    title="The health check succeeds in time while the workers are busy",
    why="A check that fails often enough restarts the service, just when it is needed most.",
    severity=Severity.WARNING,
    profiles=PROBED,
    needs=Needs.INSTANCE | Needs.CONFIG,
    requires=(*AFTER, "health.answers", "workers.stay"),
    wait_seconds=_load_s,
    expected="a good answer within timeout_seconds",
    source=CONTAINER_IMAGE,
    remediation="Answer health beside the predictions, not behind them: a thread or a worker "
    "of its own.",
    good="health in the event loop, predictions in threads",
    bad="one synchronous worker: a check waits behind each prediction",
)
def busy(context: Context) -> Finding:
    """Ask for health while clients keep every worker busy."""
    health = context.config.health
    if health is None:
        return not_checked("config.json declares no health check")
    timeout_s = health.timeout_seconds or CHECK_TIMEOUT_S
    try:
        load = _use(context).load
    except Unavailable as error:
        return not_checked(str(error).splitlines()[0])
    slowest_s = max((check.seconds for check in load.checks), default=0.0)
    evidence = (
        f"{load.clients} clients, {load.seconds:.1f} s, {load.answered} requests answered\n"
        f"{len(load.checks)} health checks, the slowest {slowest_s * 1000:.0f} ms"
    )
    if failures := load.failures_in_a_row():
        shown = "\n".join(f"health: {failure}" for failure in failures)
        return failed(f"{IN_A_ROW} checks in a row failed: {failures[-1]}", f"{shown}\n{evidence}")
    if load.open_check_s > NOTICEABLE_S:
        waited = f"a check had waited {load.open_check_s:.1f} of its {timeout_s} s"
        return not_checked(f"{waited}; use --level full", evidence)
    if not load.checks:
        return not_checked("no health check ended in that time", evidence)
    return passed(f"{len(load.checks)} checks, the slowest {slowest_s * 1000:.0f} ms", evidence)


@rule(
    id="workers.failing",
    title="The health check fails when every prediction does",
    why="A device that is lost, or a model that broke, answers errors: nothing restarts it.",
    severity=Severity.WARNING,
    profiles=PROBED,
    needs=Needs.INSTANCE | Needs.CONFIG,
    requires=(*AFTER, "health.answers", "workers.stay"),
    expected="no good health check while predictions that worked are answered 5xx",
    source=SPECIFICATIONS,
    remediation="Let the health check count failed predictions in a row, or end the process.",
    good="health answers 503 after five errors in a row",
    bad="the device is gone: 500 to each request, and 200 to each health check",
)
def failing(context: Context) -> Finding:
    """Ask once more for both when the clients are gone."""
    try:
        use = _use(context)
    except Unavailable as error:
        return not_checked(str(error).splitlines()[0])
    if use.check is None or use.answer is None:
        return not_checked("no health check is declared, or it had ended: see workers.stay")
    evidence = f"after {use.load.answered} requests health: {use.check}; a request: {use.answer}"
    if use.answer.status >= 500 and use.check.is_good:
        return failed(f"healthy, and a request gets {use.answer.status}", evidence)
    return passed(f"{use.answer.status} after {use.load.answered} requests", evidence)


@rule(
    id="workers.dead",
    title="The health check fails, or a worker is replaced, when workers are dead",
    why="The platform goes on sending requests to an instance that calls itself healthy.",
    severity=Severity.WARNING,
    profiles=PROBED,
    needs=Needs.INSTANCE | Needs.CONFIG,
    requires=(*AFTER, "health.answers"),
    expected="no good health check while no request is answered",
    source=SPECIFICATIONS,
    remediation="Let the launcher replace workers that die, or end with them; let health ask "
    "the model.",
    good="gunicorn: the worker is replaced; one process: the container ends",
    bad="nginx answers /health by itself, and 502 for the rest",
)
def dead(context: Context) -> Finding:
    """Kill all processes but the first, one kind after the other, and ask for health each time."""
    health = context.config.health
    if health is None:
        return not_checked("config.json declares no health check")
    try:
        use = _use(context)
    except Unavailable as error:
        return not_checked(str(error).splitlines()[0])
    deaths = use.deaths
    evidence = "\n".join(str(death) for death in deaths)
    if use.load.has_ended:
        return not_checked("it had ended before: see workers.stay")
    if not deaths:
        return passed("one process: when it dies, the instance ends")
    if all(death.not_killed for death in deaths):
        return not_checked(f"no worker could be killed: {deaths[0].not_killed}", evidence)
    unnoticed = next((death for death in deaths if death.is_unnoticed), None)
    if unnoticed is not None:
        return failed(f"healthy {unnoticed.after_s:.1f} s after {unnoticed.kind} died", evidence)
    return passed(f"noticed or replaced; kinds of workers killed: {len(deaths)}", evidence)


@dataclass(frozen=True)
class _Use:
    """What became of an instance that was kept busy, and then lost its workers.

    Attributes:
        check: the health check's answer between the two; None without one.
        answer: to a request at that moment.
    """

    load: Load
    deaths: tuple[Death, ...]
    check: Answer | None = None
    answer: Answer | None = None


def _use(context: Context) -> _Use:
    """Run both drills on one instance, once for all the rules here.

    Raises:
        Unavailable: nothing here can look inside.
    """

    def drill() -> _Use:
        with context.start() as service:
            load = _keep_busy(context, service)
            if load.has_ended:
                return _Use(load, ())
            answer = ask(service.url, service.request)
            for _ in range(STILL_BUSY_S):  # it may refuse while it works off what came before
                if answer.status < 500:
                    break
                context.pause(1)
                answer = ask(service.url, service.request)
            check = _check(context, service)
            return _Use(load, _kill_workers(context, service), check, answer)

    return context.once("workers", drill)


def _check(context: Context, service: Service) -> Answer | None:
    health = context.declared_health
    if health is None:
        return None
    timeout_s = health.timeout_seconds or CHECK_TIMEOUT_S
    return ask_health(service.url, service.instance, health, timeout_s)


def _keep_busy(context: Context, service: Service) -> Load:
    instance, health = service.instance, context.declared_health
    assert instance is not None  # INSTANCE is needed, so there is one
    timeout_s = (health.timeout_seconds if health else None) or CHECK_TIMEOUT_S
    is_slow = context.service.start.last_answer.seconds > SLOW_S
    return drill_load(
        instance,
        service.url,
        service.request,
        check_health=(lambda: ask_health(service.url, instance, health, timeout_s))
        if health
        else None,
        for_s=_load_s(context.waits),
        longest_s=(IN_A_ROW + 1) * timeout_s if context.waits.true or is_slow else 0.0,
        clients=MANY_CLIENTS if is_slow else CLIENTS,
        pause=context.pause,
    )


def _kill_workers(context: Context, service: Service) -> tuple[Death, ...]:
    instance, health = service.instance, context.declared_health
    if health is None:
        return ()
    assert instance is not None  # INSTANCE is needed, so there is one
    first = ask(service.url, service.request)
    patience_s = max(LEAST_PATIENCE_S, REQUEST_PATIENCE * first.seconds)
    deaths = drill_deaths(
        instance,
        check_health=lambda: ask_health(service.url, instance, health, patience_s),
        ask=lambda: ask(service.url, service.request, patience_s),
        expected_status=service.start.last_answer.status,
        pause=context.pause,
    )
    return tuple(deaths)
