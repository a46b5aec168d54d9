"""The user that the platform may start the container as."""

from __future__ import annotations

from custom_image.engines import StartOptions
from custom_image.errors import ServiceNotReady
from custom_image.rules import (
    Finding,
    Needs,
    Profile,
    Severity,
    Subject,
    failed,
    passed,
    rule,
)
from custom_image.rules.accounts import accounts
from custom_image.rules.exchange import ask
from custom_image.specification import CUSTOM_ENGINE, GROUP_ID, USER_HOME, USER_ID, USER_NAME

ENGINE_IS_STRICT = {Profile.ENGINE: Severity.ERROR}
IDS = f"{USER_ID}:{GROUP_ID}"


@rule(
    id="user.account",
    title=f"The image has the account {USER_NAME}, with the ids that the platform uses",
    why="Without an entry in /etc/passwd, code that asks for its name or home directory fails.",
    severity=Severity.NOTE,
    severities=ENGINE_IS_STRICT,
    needs=Needs.IMAGE | Needs.FILES,
    required=f"{USER_NAME}, uid {USER_ID}, gid {GROUP_ID}, home {USER_HOME}",
    source=CUSTOM_ENGINE,
    mend=f"RUN useradd -d {USER_HOME} -m -u {USER_ID} -g {GROUP_ID} {USER_NAME}",
)
def account(subject: Subject) -> Finding:
    """Parse /etc/passwd; the name of the group is free, Debian calls gid 100 `users`."""
    found = next((a for a in accounts(subject) if a.uid == USER_ID.value), None)
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
    after=("health.ready", "api.answers"),
    required=f"works as {IDS}",
    source=CUSTOM_ENGINE,
    mend=f"Give it its files with COPY --chown={IDS}, and write only below {USER_HOME} and /tmp.",
)
def platform_ids(subject: Subject) -> Finding:
    """Start an instance as that user and ask it."""
    expected = subject.service.start.last_answer.status
    try:
        with subject.start(StartOptions(user=IDS)) as service:
            answer = ask(service.url, service.request)
    except ServiceNotReady as error:
        return failed(f"never ready as {IDS}", str(error))
    shown = f"{service.request}: {answer}"
    if answer.status != expected:
        return failed(f"answers {answer.status} as {IDS}, {expected} as its own user", shown)
    return passed(f"works as {IDS}", shown)
