"""The states of a service, and what may happen in each; both generations of the API share them.

Source: the status fields of "Obtaining Service Details",
https://support.huaweicloud.com/intl/en-us/api-modelarts/ShowService.html (classic, lower case), and
of ``ShowInferServiceResponse`` in huaweicloudsdkmodelarts 3.1.219 (2.0). Which call is allowed in
which state is inferred, but for: a service that is deploying cannot be updated.
"""

from __future__ import annotations

from typing import Final

DEPLOYING: Final = "DEPLOYING"
RUNNING: Final = "RUNNING"
UPGRADING: Final = "UPGRADING"
CONCERNING: Final = "CONCERNING"
STOPPING: Final = "STOPPING"
STOPPED: Final = "STOPPED"
FAILED: Final = "FAILED"
DELETING: Final = "DELETING"

STATES: Final = (
    DEPLOYING,
    RUNNING,
    UPGRADING,
    CONCERNING,
    STOPPING,
    STOPPED,
    FAILED,
    DELETING,
)
SERVING: Final = (DEPLOYING, RUNNING, UPGRADING, CONCERNING)
"""In these a service has, or is given, instances; STOPPING keeps them until its delay is over."""

CALLS: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "update": ((RUNNING, CONCERNING), UPGRADING),
    "start": ((STOPPED, FAILED), DEPLOYING),
    "stop": ((DEPLOYING, RUNNING, UPGRADING, CONCERNING, FAILED), STOPPING),
    "delete": (tuple(state for state in STATES if state != DELETING), DELETING),
    "edit": ((STOPPED, FAILED), ""),
}
"""From which states a call is allowed, and which state it leads to. ``edit`` is an update of what
does not run: the next start uses it."""


def settled(state: str, *, done: bool, failed: bool, well: bool, gone: bool) -> str:
    """Return the state that follows from what the instances are; the same where nothing follows.

    Args:
        state: of the service.
        done: the instances are what the config asks for.
        failed: one of the config's instances has failed to start for good.
        well: every instance that the config asks for is ready and passes its probes.
        gone: there is no instance.
    """
    if state == DEPLOYING:
        return FAILED if failed else RUNNING if done else state
    if state == UPGRADING:
        return RUNNING if done else state  # a failure rolls back, and goes on UPGRADING
    if state in (RUNNING, CONCERNING):
        return RUNNING if well else CONCERNING
    if state == STOPPING:
        return STOPPED if gone else state
    return state


def classic_name(state: str) -> str:
    """Return a state as the classic API spells it; it has none of its own for an update."""
    return DEPLOYING.lower() if state == UPGRADING else state.lower()
