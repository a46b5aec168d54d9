"""One service on its way to what is wanted: what ``deploy`` and ``upgrade`` do."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from custom_image.cloud import validation
from custom_image.cloud.api.client import Cloud
from custom_image.cloud.api.failure_bundle import Bundle
from custom_image.cloud.api.polling import wait_until
from custom_image.cloud.images import registered
from custom_image.cloud.model import Model
from custom_image.cloud.models import last_trouble
from custom_image.cloud.services.access import V2
from custom_image.cloud.services.service import DeployOptions, Generation, Seen, Service
from custom_image.errors import CloudRefused
from custom_image.progress import say

_SLACK_S: Final = 60.0
"""Beyond the platform's own deadline, so that its reason is heard and not only ours."""
_UNDER_WAY: Final = ("deploying", "upgrading", "init", "pending", "waiting", "stopping")


@dataclass(frozen=True)
class Rollout:
    """A service on its way to what is wanted: found, created or updated, and waited for.

    Attributes:
        api: the calls of the generation that deploys it.
        options: how it is to be deployed.
        asynchronous: it answers later, by a task.
    """

    cloud: Cloud
    api: Generation
    model: Model
    name: str
    options: DeployOptions
    asynchronous: bool = False

    @cached_property
    def body(self) -> dict[str, Any]:
        """The body of the request."""
        return self.api.request(self.model, self.name, self.options, asynchronous=self.asynchronous)

    @cached_property
    def content(self) -> object:
        """What tells the service that is wanted from others."""
        return self.api.content(self.body)

    def check(self) -> None:
        """Refuse what the platform would.

        Raises:
            UsageError: the platform would refuse it.
        """
        _ = self.content

    def run(self, timeout_s: float = 0) -> Service:
        """Bring the service to what is wanted; one that is so already is left alone.

        Raises:
            UsageError: the platform would refuse it; nothing was sent.
            CloudRefused: it refuses, or the deployment failed; with a bundle.
            Unavailable: the API does not answer.
        """
        self.check()
        timeout_s = (
            timeout_s or self.options.deploy_timeout_min * 60 + self.options.grace_s + _SLACK_S
        )
        began = time.monotonic()
        with Bundle(self.cloud, "deploy", self.name) as bundle:
            describe(bundle, self.api, "", self.body, self.model)
            seen = self.api.find(self.name)
            told = self._count_events(seen)
            if seen and seen.status in _UNDER_WAY:
                say(f"{self.name} is {seen.status}; waiting for the end of that first")
                seen = self._wait(seen.id, timeout_s, told)
                told = self._count_events(seen)
            was_there = self._is_so(seen)
            service_id = seen.id if seen else ""
            if not was_there and self.api.generation == V2:
                self._require_digest()  # v2 takes the image by its tag, not the model's copy
            if seen is None:
                service_id = self.api.create(self.body)
            elif not was_there:
                self._change(seen)
            describe(bundle, self.api, service_id, self.body, self.model)
            seen = self._wait(service_id, timeout_s, told)
            if not self._is_so(seen):
                how = "runs as before" if seen.status == "running" else f"is {seen.status}"
                raise CloudRefused(
                    f"{self.name} was not deployed with {self.model.name} {self.model.version}: "
                    f"it {how}.\nThe platform says: {_trouble(self.api, service_id)}"
                )
        return self.service(seen, was_there=was_there, seconds=time.monotonic() - began)

    def service(self, seen: Seen, *, was_there: bool = True, seconds: float = 0) -> Service:
        """Return the service as it was seen."""
        return Service(
            id=seen.id,
            name=self.name,
            generation=self.api.generation,
            model=self.model,
            url=seen.url,
            status=seen.status,
            options=self.options,
            is_asynchronous=self.asynchronous,
            was_there=was_there,
            seconds=seconds,
            cloud=self.cloud,
        )

    def _require_digest(self) -> None:
        """Refuse a model whose image's tag was moved since it was published."""
        model = self.model
        found = None if self.cloud.wire.dry_run else registered(self.cloud, model.image)
        if found and model.digest.startswith("sha256:"):
            remediation = (
                "Push yours under a tag of its own, or publish what is there now, and deploy it."
            )
            validation.image_digest(model.image, model.digest, found.digest, remediation)

    def _change(self, seen: Seen) -> None:
        """Update a service; one that is stopped is started behind that."""
        if seen.content != self.content:
            self.api.update(seen, self.body)
        elif seen.status != "running":
            self.api.restart(seen)
            return
        now = self.api.show(seen.id, planned=self.body)
        if now and now.status == "stopped":
            self.api.restart(now)

    def _is_so(self, seen: Seen | None) -> bool:
        return seen is not None and seen.status == "running" and seen.content == self.content

    def _count_events(self, seen: Seen | None) -> int:
        return len(self.api.events(seen.id)) if seen and not self.cloud.wire.dry_run else 0

    def _wait(self, service_id: str, timeout_s: float, told: int) -> Seen:
        """Wait until nothing is under way; say the service's events, from the ``told``-th on."""

        def look() -> Seen:
            nonlocal told
            seen = self.api.show(service_id, planned=self.body)
            if seen is None:
                raise CloudRefused(f"{self.name} is gone: somebody deleted it meanwhile.")
            events = [] if self.cloud.wire.dry_run else self.api.events(service_id)
            for event in events[told:]:
                say(f"  {event.get('event_info', '')}")
            told = max(told, len(events))
            return seen

        return wait_until(
            f"deploying {self.name}",
            look,
            is_settled=lambda seen: seen.is_settled,
            describe=lambda seen: seen.status,
            timeout_s=timeout_s,
            poll_s=self.cloud.poll_s,
        )


def _trouble(generation: Generation, service_id: str) -> str:
    """Return the platform's last words; of v2 those of the instances, which say more."""
    pods = [e for e in generation.pod_events(service_id) if e.get("type") == "Warning"]
    last = max(pods, key=lambda event: str(event.get("last_timestamp")), default=None)
    if last is not None:
        return f"{last.get('reason')}: {last.get('message')}"
    return last_trouble(generation.events(service_id))


def describe(
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
