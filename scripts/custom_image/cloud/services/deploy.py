"""Deploying, upgrading and taking down real-time services, of either generation of the API."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from custom_image.cloud.api.client import Cloud, open_cloud
from custom_image.cloud.api.failure_bundle import Bundle
from custom_image.cloud.api.polling import wait_until
from custom_image.cloud.images import registered
from custom_image.cloud.model import Model
from custom_image.cloud.models import last_trouble
from custom_image.cloud.services.access import V1, V2
from custom_image.cloud.services.api_v1 import ApiV1
from custom_image.cloud.services.api_v2 import ApiV2
from custom_image.cloud.services.service import DeployOptions, Service
from custom_image.cloud.services.service_state import Generation, Seen
from custom_image.cloud.validation import requests_v1
from custom_image.cloud.validation.checks import among
from custom_image.errors import CloudRefused
from custom_image.progress import say
from custom_image.specification import REQUEST_TIMEOUT_RANGE_2_0

WEIGHTS_MOUNT: Final = "/model/"
LONGEST_STOP_S: Final = 600.0
LONGEST_ANSWER_S: Final = REQUEST_TIMEOUT_RANGE_2_0[1]
_SLACK_S: Final = 60.0
"""Beyond the platform's own deadline, so that its reason is heard and not only ours."""
_UNDER_WAY: Final = ("deploying", "upgrading", "init", "pending", "waiting", "stopping")


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
    api.request(model, name, wanted, asynchronous=asynchronous)  # before anything is asked
    if options is None and (seen := api.find(name)):
        wanted = seen.options.but(said)
    return _deploy(cloud, api, model, name, wanted, asynchronous, timeout_s)


def upgrade(service: Service, model: Model, *, timeout_s: float = 0) -> Service:
    """Replace the model of a service, instance by instance; everything else stays.

    Raises:
        UsageError: the platform would refuse it; nothing was sent.
        CloudRefused: it refuses, or the update failed; with a bundle.
        Unavailable: the API does not answer.
    """
    generation = _generation(service)
    kept = service.options, service.is_asynchronous
    return _deploy(service.cloud, generation, model, service.name, *kept, timeout_s)


def delete(service: Service, *, timeout_s: float = LONGEST_STOP_S) -> None:
    """Delete a service and wait until it is gone. Harmless if repeated.

    Raises:
        CloudRefused: the platform refuses, or it is still there at the deadline; with a bundle.
        Unavailable: the API does not answer.
    """
    generation, cloud = _generation(service), service.cloud
    with Bundle(cloud, "delete", service.name) as bundle:
        _describe(bundle, generation, service.id, {"service": repr(service)}, service.model)
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
    old = cloud.call("GET", "/services", what=what).get("services") or []
    return len(old) + len((found.data if found else None) or [])


def events_of(service: Service) -> list[dict[str, Any]]:
    """Return what has happened to a service, oldest first."""
    return _generation(service).events(service.id)


def _deploy(
    cloud: Cloud,
    generation: Generation,
    model: Model,
    name: str,
    options: DeployOptions,
    asynchronous: bool,
    timeout_s: float,
) -> Service:
    body = generation.request(model, name, options, asynchronous=asynchronous)
    timeout_s = timeout_s or options.deploy_timeout_min * 60 + options.grace_s + _SLACK_S
    began = time.monotonic()
    with Bundle(cloud, "deploy", name) as bundle:
        _describe(bundle, generation, "", body, model)
        seen = generation.find(name)
        told = _count_events(cloud, generation, seen)
        if seen and seen.status in _UNDER_WAY:
            say(f"{name} is {seen.status}; waiting for the end of that first")
            seen = _wait(cloud, generation, seen.id, name, body, timeout_s, told)
            told = _count_events(cloud, generation, seen)
        was_there = bool(seen) and _runs_so(generation, seen, body)
        service_id = seen.id if seen else ""
        if not was_there:
            if generation.generation == V2:  # it takes the image by its tag, not the model's copy
                _require_digest(cloud, model)
            if seen is None:
                service_id = generation.create(body)
            else:
                _change(generation, seen, body)
        _describe(bundle, generation, service_id, body, model)
        seen = _wait(cloud, generation, service_id, name, body, timeout_s, told)
        if not _runs_so(generation, seen, body):
            how = "runs as before" if seen.status == "running" else f"is {seen.status}"
            raise CloudRefused(
                f"{name} was not deployed with {model.name} {model.version}: it {how}.\n"
                f"The platform says: {_trouble(generation, service_id)}"
            )
    seconds = time.monotonic() - began
    return make_service(
        cloud, generation, seen, model, name, options, asynchronous, was_there, seconds
    )


def _trouble(generation: Generation, service_id: str) -> str:
    """Return the platform's last words; of v2 those of the instances, which say more."""
    pods = [e for e in generation.pod_events(service_id) if e.get("type") == "Warning"]
    last = max(pods, key=lambda event: str(event.get("last_timestamp")), default=None)
    if last is not None:
        return f"{last.get('reason')}: {last.get('message')}"
    return last_trouble(generation.events(service_id))


def _change(generation: Generation, seen: Seen, body: Mapping[str, Any]) -> None:
    """Update a service; one that is stopped is started behind that."""
    if seen.content != generation.content(body):
        generation.update(seen, body)
    elif seen.status != "running":
        generation.restart(seen)
        return
    now = generation.show(seen.id, planned=body)
    if now and now.status == "stopped":
        generation.restart(now)


def _runs_so(generation: Generation, seen: Seen | None, body: Mapping[str, Any]) -> bool:
    return (
        seen is not None and seen.status == "running" and seen.content == generation.content(body)
    )


def _count_events(cloud: Cloud, generation: Generation, seen: Seen | None) -> int:
    return len(generation.events(seen.id)) if seen and not cloud.wire.dry_run else 0


def _wait(
    cloud: Cloud,
    generation: Generation,
    service_id: str,
    name: str,
    body: Mapping[str, Any],
    timeout_s: float,
    told: int,
) -> Seen:
    """Wait until nothing is under way with a service; say its events, from the ``told``-th on."""

    def look() -> Seen:
        nonlocal told
        seen = generation.show(service_id, planned=body)
        if seen is None:
            raise CloudRefused(f"{name} is gone: somebody deleted it meanwhile.")
        events = [] if cloud.wire.dry_run else generation.events(service_id)
        for event in events[told:]:
            say(f"  {event.get('event_info', '')}")
        told = max(told, len(events))
        return seen

    return wait_until(
        f"deploying {name}",
        look,
        is_settled=lambda seen: seen.is_settled,
        describe=lambda seen: seen.status,
        timeout_s=timeout_s,
        poll_s=cloud.poll_s,
    )


def _require_digest(cloud: Cloud, model: Model) -> None:
    """Refuse a model whose image's tag was moved since it was published."""
    found = None if cloud.wire.dry_run else registered(cloud, model.image)
    if found and model.digest.startswith("sha256:"):
        remediation = (
            "Push yours under a tag of its own, or publish what is there now, and deploy it."
        )
        requests_v1.image_digest(model.image, model.digest, found.digest, remediation)


def _describe(
    bundle: Bundle, generation: Generation, service_id: str, body: Any, model: Model
) -> None:
    """Say what a bundle shall hold of a service."""
    bundle.add("request.json", body)
    bundle.add("config.json", model.config.to_json())
    bundle.add("image.json", {"reference": model.image, "digest": model.digest})
    if service_id:
        bundle.add("events.json", lambda: generation.events(service_id))
        if generation.generation == V2:
            bundle.add("pod_events.json", lambda: generation.pod_events(service_id))
        bundle.add("logs.txt", lambda: bundle.logs_of(service_id))


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


def make_service(
    cloud: Cloud,
    generation: Generation,
    seen: Seen,
    model: Model,
    name: str,
    options: DeployOptions,
    asynchronous: bool,
    was_there: bool,
    seconds: float,
) -> Service:
    """Return a service as it was seen."""
    return Service(
        id=seen.id,
        name=name,
        generation=generation.generation,
        model=model,
        url=seen.url,
        status=seen.status,
        options=options,
        is_asynchronous=asynchronous,
        was_there=was_there,
        seconds=seconds,
        cloud=cloud,
    )
