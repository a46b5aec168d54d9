"""Deploying, upgrading and taking down real-time services, of either generation of the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from custom_image.cloud.api.client import Cloud, open_cloud
from custom_image.cloud.api.failure_bundle import Bundle
from custom_image.cloud.api.polling import wait_until
from custom_image.cloud.model import Model
from custom_image.cloud.services.access import V1, V2
from custom_image.cloud.services.api_v1 import ApiV1
from custom_image.cloud.services.api_v2 import ApiV2
from custom_image.cloud.services.rollout import Rollout, describe
from custom_image.cloud.services.service import DeployOptions, Generation, Service
from custom_image.cloud.validation.checks import among
from custom_image.platform_api import SERVICES
from custom_image.specification import REQUEST_TIMEOUT_RANGE_2_0

WEIGHTS_MOUNT: Final = "/model/"
LONGEST_STOP_S: Final = 600.0
LONGEST_ANSWER_S: Final = REQUEST_TIMEOUT_RANGE_2_0[1]


def deploy(
    model: Model,
    name: str = "",
    *,
    options: DeployOptions | None = None,
    environment: Mapping[str, str] | None = None,
    instances: int = 0,
    pool: str = "",
    weights: str = "",
    mount: str = WEIGHTS_MOUNT,
    stop_command: str = "",
    authentication: str = "",
    asynchronous: bool = False,
    generation: str = "",
    cloud: Cloud | None = None,
    timeout_s: float = 0,
) -> Service:
    """Deploy a model as a real-time service and wait until it runs.

    A service of this name that runs just so is found; one that runs otherwise is updated, which the
    platform does instance by instance.

    Args:
        model: what :func:`~custom_image.cloud.publish` returned.
        name: of the service; empty for the model's.
        options: all there is to choose; the three that follow are the usual ones. None to keep, of
            a service that is there, what is not said.
        environment: of each instance.
        instances: how many.
        pool: a dedicated resource pool, which alone can upgrade without a gap.
        weights: a folder of storage, ``obs://...`` or ``efs://...``, that is mounted read-only.
        mount: where; the image is told in ``WEIGHTS_PATH``.
        stop_command: of v2: run in the container before SIGTERM.
        authentication: of v2: ``API_KEY``, ``TOKEN`` or ``NONE``; who may call.
        asynchronous: it answers later, by a task.
        generation: of the API: ``v2``, which takes the image without the model, or ``v1``; empty
            for that of the endpoint.
        cloud: where to; None for :func:`~custom_image.cloud.open_cloud`.
        timeout_s: when to give up; 0 for the platform's own deadline.

    Raises:
        UsageError: the platform would refuse it; nothing was sent.
        CloudRefused: it refuses, or the deployment failed; with a bundle.
        Unavailable: the API does not answer.
    """
    cloud = cloud or open_cloud()
    api = api_of(cloud, generation)
    name = name or model.name
    if asynchronous:  # our runtime's own limit; other images do not know it
        environment = {"PREDICT_TIMEOUT_SECONDS": str(LONGEST_ANSWER_S), **(environment or {})}
    mounts = {mount: weights} if weights else {}
    if weights:  # our runtime's own variable; other images read their own
        environment = {"WEIGHTS_PATH": mount.rstrip("/"), **(environment or {})}
    said = {
        "environment": environment,
        "instances": instances,
        "pool": pool,
        "mounts": mounts,
        "stop_command": stop_command,
        "authentication": authentication,
    }
    wanted = (options or DeployOptions()).but(said)
    rollout = Rollout(cloud, api, model, name, wanted, asynchronous)
    rollout.check()  # before anything is asked
    if options is None and (seen := api.find(name)):
        rollout = replace(rollout, options=seen.options.but(said))
    return rollout.run(timeout_s)


def upgrade(service: Service, model: Model, *, timeout_s: float = 0) -> Service:
    """Replace the model of a service, instance by instance; everything else stays.

    Raises:
        UsageError: the platform would refuse it; nothing was sent.
        CloudRefused: it refuses, or the update failed; with a bundle.
        Unavailable: the API does not answer.
    """
    kept = service.options, service.is_asynchronous
    return Rollout(service.cloud, _generation(service), model, service.name, *kept).run(timeout_s)


def delete(service: Service, *, timeout_s: float = LONGEST_STOP_S) -> None:
    """Delete a service and wait until it is gone. Idempotent.

    Raises:
        CloudRefused: the platform refuses, or it is still there at the deadline; with a bundle.
        Unavailable: the API does not answer.
    """
    generation, cloud = _generation(service), service.cloud
    with Bundle(cloud, "delete", service.name) as bundle:
        describe(bundle, generation, service.id, {"service": repr(service)}, service.model)
        generation.delete(service.id)
        if cloud.wire.dry_run:
            return
        wait_until(
            f"taking down {service.name}",
            lambda: generation.show(service.id),
            is_settled=lambda seen: seen is None,
            describe=lambda seen: seen.status if seen else "gone",
            timeout_s=timeout_s,
            poll_s=cloud.poll_s,
        )


def services_left(cloud: Cloud) -> int:
    """Return how many services there are, of both generations."""
    from huaweicloudsdkmodelarts.v1 import ListInferServicesRequest

    what = "list the services that are left"
    found = cloud.ask(
        lambda: cloud.modelarts.list_infer_services(ListInferServicesRequest()), what=what
    )
    old = cloud.call("GET", SERVICES, what=what).get("services") or []
    return len(old) + len((found.data if found else None) or [])


def events_of(service: Service) -> list[dict[str, Any]]:
    """Return what has happened to a service, oldest first."""
    return _generation(service).events(service.id)


def _generation(service: Service) -> Generation:
    return api_of(service.cloud, service.generation)


def api_of(cloud: Cloud, generation: str = "") -> Generation:
    """Return the calls of a generation of the API; empty for that of the endpoint.

    Raises:
        UsageError: there is no such generation.
    """
    wanted = generation or cloud.generation
    among(
        "generation", wanted, (V1, V2), "Huawei Cloud deploys with v2, Open Telekom Cloud with v1."
    )
    return ApiV2(cloud) if wanted == V2 else ApiV1(cloud)
