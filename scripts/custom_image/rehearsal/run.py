"""The rehearsal of an upgrade that loses no request, on the local ModelArts.

Two versions of a model stand behind one service. Clients ask it at a steady rate while it is
upgraded from the one to the other and back, and every request is accounted for. Then the same image
is deployed without a drain: what it loses shows that the rehearsal would have seen a loss.

The clients are those of :mod:`custom_image.drills.load_balancer`, as in the rule
``hitless.upgrade``.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from custom_image.cloud.api.client import Cloud
from custom_image.cloud.api.polling import wait_until
from custom_image.cloud.images import choose_target, push
from custom_image.cloud.model import Model
from custom_image.cloud.models import publish
from custom_image.cloud.services.access import V2
from custom_image.cloud.services.deploy import api_of, delete, deploy, upgrade
from custom_image.cloud.services.service import DeployOptions, Service
from custom_image.drills.load_balancer import CLIENTS, Gateway, Routed
from custom_image.errors import ServiceNotReady, Unavailable, UsageError
from custom_image.model_config import Health, ModelConfig, read_model_config
from custom_image.platform_api import TIMELINE
from custom_image.probing.http import Request, ask
from custom_image.probing.sample_requests import sample_request
from custom_image.progress import say
from custom_image.rehearsal.result import Happening, Load, Rehearsal
from custom_image.specification import (
    HEALTH_FAILURES,
    MAX_SURGE,
    MAX_UNAVAILABLE,
    SIGTERM_DRAIN,
    SIGTERM_EXIT,
)

RATE_PER_S: Final = 50.0
LAG_SHARE: Final = 0.95
"""Of the time that an instance goes on after SIGTERM: how long requests still reach it."""
COMPRESSED_LAG_SHARE: Final = 0.75
"""The same where waits are seconds: a busy machine needs some of them to notice."""
_LEAVING_S: Final = 2.0
"""What a process takes to end on a busy machine, however short its drain was."""
POOL: Final = "rehearsal"
"""A dedicated pool: on the public one the platform interrupts whatever the image does."""
VERSIONS: Final = ("1.0.0", "1.0.1")
_QUIET_S: Final = 0.5
_UNROUTED: Final = ("unrouted",)
_ENDINGS: Final = ("exited", "killed")
_ANSWER_TIMEOUT_S: Final = 10
_EXIT_SHARE: Final = 17 / 18  # 85 of 90 s, the runtime's own default


def platform_settings(speed: int) -> list[str]:
    """Return the settings of a local ModelArts on which waits are ``speed`` times shorter."""
    return [f"speed={speed}", f"routing_lag_s={round(_lag_s(speed) * speed)}"]


def _grace_s(speed: int, grace_s: int) -> int:
    """Return what a service is granted to stop in, in the platform's time."""
    return grace_s + (0 if speed == 1 else round(_LEAVING_S * speed))


def _instances(count: int, *, is_v2: bool) -> str:
    """Return a number beside one instance: v2 counts in shares, none of them 0."""
    return f"{max(1, 100 * count)}%" if is_v2 else str(count)


def _lag_s(speed: int) -> float:
    share = LAG_SHARE if speed == 1 else COMPRESSED_LAG_SHARE
    return SIGTERM_DRAIN.value * share / speed


def rehearse(
    image: str,
    config: ModelConfig | str | Path,
    *,
    cloud: Cloud,
    speed: int = 1,
    upgrades: int = 2,
    control: bool = True,
    rate_per_s: float = RATE_PER_S,
    generation: str = "",
    stop_command: str = "",
    grace_s: int = SIGTERM_EXIT.value,
    surge: int = MAX_SURGE.value,
    unavailable: int = MAX_UNAVAILABLE.value,
) -> Rehearsal:
    """Upgrade a service from A to B and back under load, and count what clients miss.

    Args:
        image: of the Docker engine; both versions are made of it.
        config: config.json, parsed or as its path.
        cloud: a local ModelArts with :func:`platform_settings` of the same speed.
        speed: how many times shorter than the platform's all waits are; 1 for true ones. The
            image is told in ``DRAIN_SECONDS`` and ``EXIT_SECONDS``.
        upgrades: A to B is one, B to A the next.
        control: also deploy the image with neither drain nor stop command, which must lose
            something.
        rate_per_s: requests a second.
        generation: of the API: ``v2``, with its probes and stop command, or ``v1``, with SIGTERM
            alone; empty for that of the endpoint.
        stop_command: of v2.
        grace_s: what an instance is granted to stop in, in the platform's time.
        surge: how many instances an update may start besides its one.
        unavailable: how many it may miss.

    Raises:
        UsageError: it is no local ModelArts, or v1 was given a stop command.
        ServiceNotReady: the service does not answer before anything is upgraded.
        CloudRefused: the platform refuses, or a deployment fails; with a bundle.
        Unavailable: engine or platform do not answer.
    """
    if isinstance(config, str | Path):
        config = read_model_config(config)
    if cloud.platform is None:
        raise UsageError(
            "A rehearsal is for the local ModelArts; this is the cloud.\n"
            "Start one with `custom-image platform up`: nothing real is interrupted there."
        )
    drain_s, lag_s = SIGTERM_DRAIN.value / speed, _lag_s(speed)
    is_v2 = api_of(cloud, generation).generation == V2
    if stop_command and not is_v2:
        raise UsageError(
            f"A stop command is of v2; found {stop_command!r} for v1, which sends SIGTERM alone.\n"
            "Leave it out, or rehearse with --generation v2."
        )
    models = _publish(image, patient(config, speed), cloud, is_v2=is_v2)
    waits = {"DRAIN_SECONDS": f"{drain_s:g}"}
    waits["EXIT_SECONDS"] = f"{SIGTERM_EXIT.value * _EXIT_SHARE / speed:g}"
    options = DeployOptions(
        environment=waits,
        pool=POOL,
        max_surge=_instances(surge, is_v2=is_v2),
        max_unavailable=_instances(unavailable, is_v2=is_v2),
        grace_s=_grace_s(speed, grace_s),
        stop_command=stop_command,
    )
    shared = rate_per_s, cloud, generation
    load = _upgrade_under_load("rehearsal", models, options, upgrades, *shared)
    without = None
    if control:
        say("once more without a drain: this must lose something")
        nothing = {**waits, "DRAIN_SECONDS": "0"}
        none = replace(options, environment=nothing, stop_command="")
        without = _upgrade_under_load("control", models, none, 2, *shared)
    return Rehearsal(image, load, without, drain_s, lag_s)


def patient(config: ModelConfig, speed: int) -> ModelConfig:
    """Return a config whose probes fail as late as on the platform, whatever the speed.

    Waits of the platform are shortened; a container starts no faster for it, and a probe with a
    twentieth of its patience restarts one again and again where the machine is slow.
    """
    probes = {
        name: probe.model_copy(update={"failure_threshold": speed * _failures(probe)})
        for name in ("health", "readiness_health", "startup_health")
        if (probe := getattr(config, name))
    }
    return config.model_copy(update=probes)


def _failures(probe: Health) -> int:
    return probe.failure_threshold or HEALTH_FAILURES.value


def _publish(image: str, config: ModelConfig, cloud: Cloud, *, is_v2: bool) -> tuple[Model, Model]:
    """Publish an image twice; under two tags where a service is made of the image itself.

    Models and tags are named by what they hold, so that another image, config.json or generation
    meets none of an earlier rehearsal.
    """
    from custom_image.engines.docker.engine import DockerEngine  # heavy: the Docker SDK

    content = DockerEngine.connect().inspect(image).id, config.model_dump_json(), str(is_v2)
    name = f"rehearsal-{hashlib.sha256(''.join(content).encode()).hexdigest()[:12]}"
    target = choose_target(image, "", cloud)
    tags = [f"{name}-{version}" for version in VERSIONS] if is_v2 else [name] * 2
    images = [push(image, f"{target.repository}:{tag}", cloud=cloud) for tag in tags]
    first, second = (
        publish(pushed, config, name=name, version=version, copy_image=False, cloud=cloud)
        for pushed, version in zip(images, VERSIONS, strict=True)
    )
    return first, second


def _upgrade_under_load(
    kind: str,
    models: tuple[Model, Model],
    options: DeployOptions,
    upgrades: int,
    rate_per_s: float,
    cloud: Cloud,
    generation: str,
) -> Load:
    name = f"{models[0].name}-{kind}"
    service = deploy(models[0], name, options=options, generation=generation, cloud=cloud)
    try:
        # What an earlier rehearsal, killed half-way, has left behind shall not be counted.
        unrouted, ended = _count(service, _UNROUTED), _count(service, _ENDINGS)
        gateway = Gateway(_answered(service), 200, clients=CLIENTS, interval_s=CLIENTS / rate_per_s)
        gateway.route_to([_origin(service.url)])
        began, began_at = time.monotonic(), time.time()
        with gateway.in_use():
            time.sleep(_QUIET_S)
            for number in range(1, upgrades + 1):
                gateway.send(_signed(service))
                service = upgrade(service, models[number % 2])
                # So that a loss belongs to one upgrade: nothing reaches the old instance now.
                _wait_for(service, _UNROUTED, unrouted + number)
            _wait_for(service, _ENDINGS, ended + upgrades)
            time.sleep(_QUIET_S)
        seconds = time.monotonic() - began
        happenings = tuple(
            Happening(
                entry["at"] - began_at,
                entry["kind"],
                entry["instance"],
                _model(entry["model"], service.generation),
            )
            for entry in _timeline(service)
            if entry["at"] >= began_at
        )
    finally:
        delete(service)
    found = tuple(_noted(routed, began, service.generation) for routed in gateway.routed())
    return Load(found, happenings, upgrades, seconds)


def _noted(routed: Routed, began: float, generation: str) -> tuple[float, str, bool, str]:
    title, _, _ = routed.by.rpartition(" ")  # name, version and instance
    version = _model(title, generation).rpartition(" ")[2]
    return round(routed.sent_at - began, 3), version, routed.ok, routed.note


def _model(title: str, generation: str) -> str:
    """Return name and version of the model behind an instance.

    In v2 the version is the service's own, which each upgrade raises: A and B take turns.
    """
    name, _, version = title.rpartition(" ")
    if generation != V2 or not version:
        return title
    return f"{name} {VERSIONS[int(version.rpartition('.')[2]) % 2]}"


def _signed(service: Service) -> Request:
    """Return a request that proves who calls; a signature holds for a quarter of an hour."""
    sample = sample_request(service.model.config)
    url = f"{service.url.rstrip('/')}{sample.path}"
    content_type = {"Content-Type": sample.content_type} if sample.content_type else {}
    signed = service.access.headers(sample.method, url, content_type, sample.body)
    signed.pop("Content-Type", "")
    return replace(sample, path=urlsplit(url).path, headers=tuple(signed.items()))


def _answered(service: Service) -> Request:
    """Return a signed request that the service answers well.

    Raises:
        ServiceNotReady: it does not.
    """
    request = _signed(service)
    answer = ask(_origin(service.url), request)
    if answer.status != 200:
        raise ServiceNotReady(
            f"{service.name} does not answer {request} with 200: {answer}.\n"
            "Nothing was upgraded: fix this first, with `custom-image verify`.",
            "",
        )
    return request


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _timeline(service: Service) -> list[dict[str, Any]]:
    """Return what happened to the instances of a service, in order of time."""
    assert service.cloud.platform is not None  # rehearse() has checked that
    url = f"{service.cloud.platform.endpoint}{TIMELINE.format(id=service.id)}"
    try:
        answer = requests.get(url, timeout=_ANSWER_TIMEOUT_S)
        answer.raise_for_status()
    except requests.RequestException as error:
        raise Unavailable(f"GET {url}: {error}") from error
    return sorted(answer.json()["entries"], key=lambda entry: float(entry["at"]))


def _count(service: Service, kinds: tuple[str, ...]) -> int:
    return len([entry for entry in _timeline(service) if entry["kind"] in kinds])


def _wait_for(service: Service, kinds: tuple[str, ...], count: int) -> None:
    """Wait until this has happened to so many instances."""
    kind = " or ".join(kinds)
    wait_until(
        f"{service.name}: {count} instances {kind}",
        lambda: _count(service, kinds),
        is_settled=lambda found: found >= count,
        describe=lambda found: f"{found} of {count} instances {kind}",
        timeout_s=2.0 * SIGTERM_EXIT.value,
        poll_s=service.cloud.poll_s,
    )
