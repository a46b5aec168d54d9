"""The user that the platform may start the container as."""

from __future__ import annotations

import re

from custom_image.engines import StartOptions
from custom_image.errors import ServiceNotReady
from custom_image.probing.http import ask
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
from custom_image.rules.static.accounts import ROOT_ID, accounts, start_user
from custom_image.specification import (
    CUSTOM_ENGINE,
    GROUP_ID,
    INFERENCE_2_0_IMAGE,
    USER_HOME,
    USER_ID,
    USER_NAME,
)

ENGINE_IS_STRICT = {Profile.ENGINE: Severity.ERROR}
IDS = f"{USER_ID}:{GROUP_ID}"
REFUSALS = re.compile(r"permission denied|read-only file system|\[Errno (13|30)\]", re.IGNORECASE)
NAMELESS = re.compile(r"getpwuid|uid not found|getpass|no username set|cannot find name for user")
ROOT_IDS = f"{ROOT_ID}:{ROOT_ID}"


@rule(
    id="user.account",
    title=f"The image has the account {USER_NAME}, with the ids that the platform uses",
    why="Without an entry in /etc/passwd, code that asks for its name or home directory fails.",
    severity=Severity.NOTE,
    severities=ENGINE_IS_STRICT,
    needs=Needs.IMAGE | Needs.FILES,
    expected=f"{USER_NAME}, uid {USER_ID}, gid {GROUP_ID}, home {USER_HOME}",
    source=CUSTOM_ENGINE,
    remediation=f"RUN useradd -d {USER_HOME} -m -u {USER_ID} -g {GROUP_ID} {USER_NAME}",
    good="RUN useradd -d /home/ma-user -m -u 1000 -g 100 ma-user",
    bad="FROM ubuntu:24.04 as it is: uid 1000 is called ubuntu",
)
def account(context: Context) -> Finding:
    """Parse /etc/passwd; the name of the group is free, Debian calls gid 100 `users`."""
    found = next((a for a in accounts(context) if a.uid == USER_ID.value), None)
    if found is None:
        return failed(f"/etc/passwd has no uid {USER_ID}")
    shown = f"{found.name}, uid {found.uid}, gid {found.gid}, home {found.home}"
    expected = (USER_NAME.value, GROUP_ID.value, USER_HOME.value)
    return (passed if (found.name, found.gid, found.home) == expected else failed)(shown)


@rule(
    id="user.platform-ids",
    title=f"The service works as uid {USER_ID}, gid {GROUP_ID}",
    why="The platform starts custom engines as this user; what only root may read or write fails.",
    severity=Severity.WARNING,
    severities=ENGINE_IS_STRICT,
    needs=Needs.CONTAINER,
    requires=("health.ready", "api.answers", "http.latency"),
    expected=f"works as {IDS}",
    source=CUSTOM_ENGINE,
    remediation=f"Give it its files with COPY --chown={IDS}, and write only below {USER_HOME} "
    "and /tmp.",
    good="COPY --chown=1000:100 app /app",
    bad="RUN chmod 700 /app, owned by root",
)
def platform_ids(context: Context) -> Finding:
    """Start an instance as that user and ask it."""
    return _works_as(context, IDS)


@rule(
    id="user.as-root",
    title="The service works where it is started as root",
    why="Inference 2.0 allows root, and who looks into a fault starts the image as root.",
    severity=Severity.NOTE,
    needs=Needs.CONTAINER,
    requires=("health.ready", "api.answers", "http.latency"),
    expected=f"works as {ROOT_IDS}",
    source=INFERENCE_2_0_IMAGE,
    remediation="Name files by absolute paths, not by ~ or the account; let no program refuse "
    "root.",
    good="ENV HOME=/home/ma-user, so that ~ is the same for every user",
    bad="weights below ~, which is /root as root",
)
def as_root(context: Context) -> Finding:
    """Start an instance as root and ask it."""
    return _works_as(context, ROOT_IDS)


@rule(
    id="user.root",
    title="The image does not start as root",
    why="What root writes, uid 1000 cannot read back; and a hole in the service is root's.",
    severity=Severity.WARNING,
    severities={Profile.V2: Severity.NOTE},
    needs=Needs.IMAGE | Needs.FILES,
    expected="a user other than root",
    source=INFERENCE_2_0_IMAGE,
    remediation=f"End the Dockerfile with USER {IDS}.",
    good=f"USER {IDS}",
    bad="no USER at all, or USER root",
)
def root(context: Context) -> Finding:
    """Look at USER of the image's configuration; Inference 2.0 leaves the choice to the author."""
    user = start_user(context)
    return (failed if user.uid == ROOT_ID else passed)(str(user))


@rule(
    id="user.denied",
    title="Nothing that the service writes is refused to it",
    why="A cache or a log that cannot be written costs the first prediction, or the whole start.",
    severity=Severity.WARNING,
    needs=Needs.SERVICE,
    requires=("health.ready", "api.answers", "user.platform-ids"),
    expected="no refusal in the log",
    source=CUSTOM_ENGINE,
    remediation=f"Set a WORKDIR that {IDS} owns, and write caches below /tmp or {USER_HOME}.",
    good=f"WORKDIR {USER_HOME}",
    bad="no WORKDIR: a compiler writes kernel_meta into /",
)
def denied(context: Context) -> Finding:
    """Search the log, also of an instance that runs as the platform's user."""
    instance = context.service.instance
    if instance is None:
        return not_checked("nothing here can read the log of the service")
    logs = (instance.logs(), context.once("log-of-platform-ids", str))
    lines = [line for log in logs for line in log.splitlines() if REFUSALS.search(line)]
    if lines:
        return failed(lines[0].strip()[:160], "\n".join(dict.fromkeys(lines[:10])))
    return passed("no refusal in the log")


@rule(
    id="user.home",
    title=f"{USER_HOME} is there and belongs to the user that the platform starts",
    why="Caches and settings are written there; where that fails, libraries fail at their import.",
    severity=Severity.WARNING,
    needs=Needs.SERVICE | Needs.CONTAINER,
    requires=("health.ready",),
    expected=f"owned by {IDS}",
    source=CUSTOM_ENGINE,
    remediation=f"RUN mkdir -p {USER_HOME} && chown {IDS} {USER_HOME}",
    good=f"RUN chown {IDS} {USER_HOME}",
    bad="a home that COPY made, as root",
)
def home(context: Context) -> Finding:
    """Ask `stat` in the running container."""
    instance = context.service.instance
    if instance is None:
        return not_checked("nothing here can run a command inside the service")
    code, output = instance.execute(["stat", "-c", "%u:%g", USER_HOME.value])
    shown = (output.strip().splitlines() or ["no output"])[0]
    if code and "No such file or directory" in shown:
        return (
            failed("not there", shown) if "stat:" in shown else not_checked("the image has no stat")
        )
    if code:
        return not_checked("`stat` does not work in the image", shown)
    return (passed if shown == IDS else failed)(f"owned by {shown}")


def _works_as(context: Context, user: str) -> Finding:
    expected = context.service.start.last_answer.status
    try:
        with context.start(StartOptions(user=user)) as service:
            answer = ask(service.url, service.request)
            assert service.instance is not None  # CONTAINER is needed, so there is one
            log = service.instance.logs()
    except ServiceNotReady as error:
        nameless = NAMELESS.search(error.log)
        advice = f"Give uid {USER_ID} an entry in /etc/passwd (useradd), or set ENV USER and HOME."
        return failed(f"never ready as {user}", str(error), advice if nameless else "")
    if user == IDS:
        context.once("log-of-platform-ids", lambda: log)
    shown = f"{service.request}: {answer}"
    if answer.status != expected:
        return failed(f"answers {answer.status} as {user}, {expected} as its own user", shown)
    return passed(f"works as {user}", shown)
