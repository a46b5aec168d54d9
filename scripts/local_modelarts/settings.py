"""The platform's limits, so that tests and rehearsals reach them with small images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from custom_image.errors import UsageError
from custom_image.specification import (
    GATEWAY_LATENCY,
    GB,
    IMAGE_SIZE,
    MIB,
    NOTEBOOK_COUNT,
    NOTEBOOK_IMAGE_SIZE,
    NOTEBOOK_LAYERS,
    NOTEBOOK_LEASE,
    ORGANIZATION_COUNT,
    REGISTRY_LOGIN,
    REQUEST_BODY,
    REQUEST_RATE,
    SAVE_TIME,
    SERVICE_COUNT,
    SIGNATURE_AGE,
    SIGTERM_DRAIN,
    SIGTERM_EXIT,
    STOP_DELAY,
    STOP_GRACE_V2,
    TOKEN_LIFETIME,
)


@dataclass(frozen=True)
class Settings:
    """What can be set with ``--set name=value``; the defaults are the platform's own.

    Attributes:
        save_size_bytes: the largest container that can be saved.
        save_layers: the most layers that a saved image may have.
        save_reserve_s: how much of the lease must be left for a save to begin.
        lease_ms: how long an instance runs when the caller names no duration.
        lease_shortest_ms: the shortest lease that a caller may ask for.
        login_s: how long a temporary login to the registry holds.
        signature_age_s: how far the clocks of caller and platform may be apart.
        token_s: how long a token for ``X-Auth-Token`` holds.
        speed: divides every waiting time of services: delays and periods of their probes, how long
            routing lags and a stop waits, deployment time-outs. What an image itself waits for is
            set by the environment of its service.
        predict_timeout_s: when the gateway gives up waiting for an answer; not divided.
        routing_lag_s: how long requests still reach an instance that was told to stop.
        grace_s: after how long it is killed, where the service does not say; of v2, ``grace_v2_s``.
        pool_instances: how many instances all services together may have; 0: as many as they like.
        mount_delay_s: how long fetching weights onto the node takes; divided by the speed.
        node_disk_bytes: what fits onto the disk of a node, for weights that are kept there.
        service_versions: how many versions of a v2 service are kept; the number is inferred.
        stop_delay_s: how long a service with a health check goes on after it was told to stop.
        batch_answer_s: how long a batch waits for the answer to one input.
        manifest_lines: how many results of a batch one manifest lists.
        die: ``before`` or ``after``: the platform kills itself at its next change of state, the
            one way to test that a kill at any moment loses nothing. Empty: it does not.
    """

    save_size_bytes: int = NOTEBOOK_IMAGE_SIZE.value * GB
    save_layers: int = NOTEBOOK_LAYERS.value
    save_reserve_s: int = SAVE_TIME.value
    lease_ms: int = NOTEBOOK_LEASE.value
    lease_shortest_ms: int = NOTEBOOK_LEASE.value
    notebooks: int = NOTEBOOK_COUNT.value
    organizations: int = ORGANIZATION_COUNT.value
    login_s: int = REGISTRY_LOGIN.value * 3600
    signature_age_s: int = SIGNATURE_AGE.value
    token_s: int = TOKEN_LIFETIME.value * 3600
    services: int = SERVICE_COUNT.value
    model_size_bytes: int = IMAGE_SIZE.value * GB
    request_body_bytes: int = REQUEST_BODY.value * MIB
    requests_per_s: int = REQUEST_RATE.value
    predict_timeout_s: int = GATEWAY_LATENCY.value
    routing_lag_s: int = SIGTERM_DRAIN.value
    grace_s: int = SIGTERM_EXIT.value
    grace_v2_s: int = STOP_GRACE_V2.value
    pool_instances: int = 0
    mount_delay_s: int = 0
    node_disk_bytes: int = 500 * GB
    service_versions: int = 100
    stop_delay_s: int = STOP_DELAY.value
    speed: int = 1
    batch_answer_s: int = 3600
    manifest_lines: int = 10_000
    die: str = ""


def read_settings(assignments: Sequence[str]) -> Settings:
    """Return the settings after ``name=value`` assignments.

    Raises:
        UsageError: there is no such setting, or its value is no number.
    """
    kinds: dict[str, type[int] | type[str]] = {
        field.name: type(getattr(Settings(), field.name)) for field in fields(Settings)
    }
    chosen: dict[str, Any] = {}
    for assignment in assignments:
        name, _, value = assignment.partition("=")
        if name not in kinds:
            raise UsageError(
                f"--set {assignment}: there is no setting {name!r}; there are {', '.join(kinds)}."
            )
        try:
            chosen[name] = kinds[name](value)
        except ValueError as error:
            raise UsageError(f"--set {assignment}: {value!r} is no whole number.") from error
    return replace(Settings(), **chosen)
