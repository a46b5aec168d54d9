"""Rules on health: what the service says of it, and whether that is true."""

from __future__ import annotations

import json

from custom_image.drills.startup import ask_health, health_budget_s
from custom_image.engines import Instance
from custom_image.probing.http import Answer
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
    DEPLOY_TIMEOUT,
    HEALTH_METHODS,
    HEALTH_URL,
    SPECIFICATIONS,
    Source,
)

HEALTH_PORT = Source(
    "Troubleshooting: a service stays Deploying, its health check at another port",
    "https://support.huaweicloud.com/trouble-modelarts/modelarts_13_0045.html",
)
INSIDE_S = 5

PROBED = frozenset({Profile.V1, Profile.ENGINE, Profile.V2})


@rule(
    id="health.ready",
    title="The service becomes ready after its start",
    why="The platform gives up on a service that is not ready in time, and deletes it.",
    severity=Severity.ERROR,
    needs=Needs.SERVICE,
    requires=("network.port", "network.bind-address", "tls.protocol"),
    exclusive=True,
    expected=f"ready, within {DEPLOY_TIMEOUT} at most",
    source=DEPLOY_TIMEOUT.source,
    remediation="Read its log in the evidence; start the image by hand with `docker run`.",
    good="the log ends in `listening on port 8080`",
    bad="the log ends in `ModuleNotFoundError`",
)
def ready(context: Context) -> Finding:
    """Watch the shared service start until its health check or a request succeeds."""
    service = context.service
    start = service.start
    if start.is_ready:
        context.facts["ready_s"] = round(start.waited_s, 2)
        return passed(f"after {start.waited_s:.1f} s", f"{service.request}: {start.last_answer}")
    log = service.instance.logs()[-2000:] if service.instance else ""
    evidence = f"{service.request}: {start.last_answer}\nits log ends:\n{log or '(empty)'}"
    if start.has_ended:
        return failed(f"{start.end} after {start.waited_s:.1f} s", evidence)
    return failed(f"not ready after {start.waited_s:.0f} s; waited no longer", evidence)


@rule(
    id="health.declared",
    title="config.json declares a health check",
    why="Without one an upgrade interrupts the service, and `Running` says nothing about it.",
    severity=Severity.WARNING,
    profiles=PROBED,
    needs=Needs.CONFIG,
    expected="health",
    source=SPECIFICATIONS,
    remediation=f'Add "health": {{"check_method": "HTTP", "url": "{HEALTH_URL}"}} to config.json.',
    good='"health": {"check_method": "HTTP", "url": "/health"}',
    bad="a config.json without health",
)
def declared(context: Context) -> Finding:
    """Look for the member `health`."""
    health = context.config.health
    if health is None:
        return failed("no health")
    shown = f"GET {health.url}" if health.check_method == HEALTH_METHODS[0] else health.command
    return passed(str(shown))


@rule(
    id="health.port",
    title="The health check is on the port of the predictions",
    why="The platform asks for health at the model's own port; the deployment stays `Deploying`.",
    severity=Severity.ERROR,
    profiles=PROBED,
    needs=Needs.SERVICE | Needs.INSTANCE | Needs.CONFIG,
    requires=("health.ready",),
    expected="the declared port",
    source=HEALTH_PORT,
    remediation="Serve the health check on the declared port, beside the predictions.",
    good="GET :8080/health and POST :8080/",
    bad="GET :8081/health of a server of its own for management",
)
def port(context: Context) -> Finding:
    """Where it does not answer, ask at every other port that the service listens on."""
    health, service = context.config.health, context.service
    if health is None or health.check_method != HEALTH_METHODS[0]:
        return not_checked("no health check over HTTP is declared")
    answer = _ask(context)
    if answer and answer.is_good:
        return passed(f"{service.port}", str(answer))
    sockets, instance = service.start.sockets, service.instance
    others = sorted({socket.port for socket in sockets or ()} - {service.port})
    for number in others:
        if instance and ask_inside(instance, number, health.url or "/"):
            text = f"answers on port {number}, declared is {service.port}"
            return failed(text, f"port {service.port}: {answer}")
    if sockets is None:
        return not_checked("nothing here can look at its sockets")
    return passed("no other port answers it: see health.answers", str(answer))


@rule(
    id="health.answers",
    title="The declared health check succeeds while the service works",
    why="Otherwise the platform calls a working service faulty, and the deployment fails.",
    severity=Severity.ERROR,
    profiles=PROBED,
    needs=Needs.SERVICE | Needs.CONFIG,
    requires=("health.port",),
    expected="200 on the declared url",
    source=SPECIFICATIONS,
    remediation="Serve the url that config.json declares, on the same port, or declare the one "
    "served.",
    good='GET /health: 200 {"health": "true"}',
    bad="GET /health: 404, because the code serves /healthz",
)
def answers(context: Context) -> Finding:
    """Ask once more, now that the service works."""
    answer = _ask(context)
    if answer is None:
        return not_checked("config.json declares no health check")
    return (passed if answer.status == 200 else failed)(str(answer))


@rule(
    id="health.body",
    title="The health check answers in JSON",
    why='The page shows {"health": "true"}; monitors that read it expect that.',
    severity=Severity.NOTE,
    profiles=PROBED,
    needs=Needs.SERVICE | Needs.CONFIG,
    requires=("health.answers",),
    expected='JSON such as {"health": "true"}',
    source=SPECIFICATIONS,
    remediation='Answer {"health": "true"} as application/json.',
    good='{"health": "true"}',
    bad="OK",
)
def body(context: Context) -> Finding:
    """Parse the body."""
    answer = _ask(context)
    if answer is None:
        return not_checked("config.json declares no health check")
    if context.config.health and context.config.health.check_method != HEALTH_METHODS[0]:
        return not_checked("the health check is a command")
    try:
        json.loads(answer.body)
    except ValueError:
        return failed("no JSON", str(answer))
    return passed(answer.body[:80].decode(errors="replace"), str(answer))


@rule(
    id="health.truth",
    title="The health check succeeds only when a prediction would",
    why="The platform routes requests to an instance as soon as it says that it is healthy.",
    severity=Severity.ERROR,
    profiles=PROBED,
    needs=Needs.SERVICE | Needs.INSTANCE | Needs.CONFIG,
    requires=("health.ready",),
    exclusive=True,
    expected="not 200 before the first good prediction",
    source=SPECIFICATIONS,
    remediation="Answer 503 until the model has made a prediction, and again once it cannot.",
    good="503 until a warm-up prediction has succeeded",
    bad="200 as soon as the port is open, while the model still loads",
)
def truth(context: Context) -> Finding:
    """Ask for a prediction right after each good health check while the service starts."""
    start = context.service.start
    if context.config.health is None:
        return not_checked("config.json declares no health check")
    if start.healthy_s is None:
        return not_checked("the health check never succeeded: see health.answers")
    if start.false_healthy:
        lie_s, answer = start.false_healthy[0]
        until = "never" if start.answered_s is None else f"{start.answered_s:.2f} s"
        return failed(
            f"healthy at {start.healthy_s:.2f} s, first good prediction: {until}",
            f"at {lie_s:.2f} s, right after a good health check: {answer}\n"
            f"{len(start.false_healthy)} such answers in all",
        )
    return passed(
        f"healthy at {start.healthy_s:.2f} s, and a request right after it answered",
        f"{context.service.request}: {start.last_answer}",
    )


@rule(
    id="health.start-time",
    title="The service is ready before the health check gives up",
    why="The platform stops a service whose health check fails too often in a row at its start.",
    severity=Severity.ERROR,
    profiles=PROBED,
    needs=Needs.SERVICE | Needs.INSTANCE | Needs.CONFIG,
    requires=("health.ready",),
    exclusive=True,
    expected="initial delay + failures x period",
    source=CONTAINER_IMAGE,
    remediation="Raise initial_delay_seconds or failure_threshold in config.json, or load faster.",
    good="a start of 20 s with the defaults, which grant 72 s",
    bad="a start of 90 s with the defaults",
)
def start_time(context: Context) -> Finding:
    """Compare the measured start with the time that the declared numbers give."""
    health = context.config.health
    if health is None:
        return not_checked("config.json declares no health check")
    healthy_s = context.service.start.healthy_s
    if healthy_s is None:
        return not_checked("the health check never succeeded: see health.answers")
    budget_s = health_budget_s(health)
    judge = passed if healthy_s <= budget_s else failed
    return judge(f"{healthy_s:.1f} s of {budget_s} s")


def ask_inside(instance: Instance, port: int, path: str) -> bool:
    """Tell whether a GET inside the container succeeds, with whatever client is there."""
    url = f"http://127.0.0.1:{port}{path}"
    fetch = f"from urllib.request import urlopen; urlopen({url!r}, timeout={INSIDE_S})"
    clients = (
        ["python3", "-c", fetch],
        ["curl", "-fsS", "-m", str(INSIDE_S), "-o", "/dev/null", url],
        ["wget", "-q", "-T", str(INSIDE_S), "-O", "/dev/null", url],
    )
    return any(instance.execute(client)[0] == 0 for client in clients)


def _ask(context: Context) -> Answer | None:
    health = context.config.health
    if health is None:
        return None
    service = context.service
    timeout_s = health.timeout_seconds or 10
    return ask_health(service.url, service.instance, health, timeout_s)
