"""A verification's session: what runs during it, and what rules see of it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock, RLock
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

from custom_image.drills.startup import health_budget_s, never_started, watch_start
from custom_image.engines import ImageFacts, ImageFile, Instance, StartOptions
from custom_image.engines.options import describe, merge
from custom_image.errors import (
    CustomImageError,
    PackageError,
    ServiceNotReady,
    Unavailable,
    UsageError,
)
from custom_image.image_archive import Contents
from custom_image.model_config import Health, ModelConfig
from custom_image.probing.expected_answers import Sample, warm_up_request
from custom_image.probing.http import Request
from custom_image.probing.sample_requests import sample_request
from custom_image.rules import (
    QUICK_WAITS,
    Level,
    Needs,
    Profile,
    Rule,
    Service,
    Waits,
    true_waits,
)
from custom_image.specification import DEPLOY_TIMEOUT, Edition
from custom_image.verification.config import find_config
from custom_image.verification.instances import Instances
from custom_image.verification.redaction import Mask
from custom_image.verification.target import WARM_UP_PLACES, Target

T = TypeVar("T")

GRACE_S: Final = 90.0
"""What a deployment asks for where nothing is said: the drain of a service fits in."""
LEAST_READY_TIMEOUT_S: Final = 60.0
LEAST_PATIENCE_S: Final = 15.0
PATIENCE: Final = 8
"""How many times the start of the shared service an instance of a rule's own may take."""


class Session:
    """A target under verification; leaving its ``with`` block removes everything it started."""

    def __init__(
        self,
        target: Target,
        *,
        config_path: Path | None,
        profile: Profile,
        level: Level,
        edition: Edition,
        waits: Waits | None,
        port: int,
        ready_timeout_s: float | None,
        samples: tuple[Sample, ...] = (),
        command: tuple[str, ...] = (),
        options: StartOptions | None = None,
        apis_path: Path | None = None,
        stop_command: str = "",
        grace_s: float = GRACE_S,
    ) -> None:
        self.start_options = options or StartOptions()
        self.mask = Mask(self.start_options.environment)
        if self.start_options != StartOptions() and Needs.INSTANCE not in target.offers:
            self._refuse_options(target)
        if command and Needs.IMAGE not in target.offers and Needs.INSTANCE not in target.offers:
            raise UsageError(f"{target.name} is not started here, so no command can be chosen.")
        self.name = target.name
        self.profile = profile
        self.level = level
        self.edition = edition
        self.waits = waits or (true_waits(edition) if level is Level.FULL else QUICK_WAITS)
        self.facts: dict[str, Any] = {"command": shlex.join(command)} if command else {}
        if described := describe(self.start_options):
            self.facts["start_options"] = described
        self.stop_command = stop_command
        self.grace_s = grace_s
        self._command = command
        self._target = target
        self.port = port
        self._given_timeout_s = ready_timeout_s
        self._found = find_config(target, config_path)
        if apis_path is not None:
            self._found = self._found.with_apis(apis_path)
        self._config = self._found.config
        # Before anything is started: making the sample takes as long as a good service's start.
        self.samples = tuple((sample, sample.to_request(self._config)) for sample in samples)
        self._request = self._warm_up() or sample_request(self._config)
        self._instances = Instances(self._start)
        self._lock = Lock()
        self._kept: dict[str, Any] = {}
        self._kept_locks: dict[str, RLock] = {}

    # --- what the target holds ---------------------------------------------------------------

    @property
    def config_text(self) -> str:
        if self._found.fault is not None:
            raise PackageError(str(self._found.fault))  # config.valid says it
        if self._found.text is None:
            raise LookupError("no config.json")
        return self._found.text

    @property
    def config_where(self) -> str:
        return self._found.where

    @property
    def config_corrections(self) -> tuple[str, ...]:
        return self._found.corrections

    @property
    def config(self) -> ModelConfig:
        if self._config is None:
            raise LookupError("no config.json that can be read")
        return self._config

    @property
    def reads_config(self) -> bool:
        """Whether there is a config.json that can be read, though the platform may refuse it."""
        return self._config is not None

    @property
    def declared_health(self) -> Health | None:
        return self._config.health if self._config else None

    @property
    def image(self) -> ImageFacts:
        facts = self._target.image()
        if self._command:
            facts = replace(facts, command=self._command, shell_form=False)
        return facts

    @property
    def request(self) -> Request:
        """What the service is asked at its start."""
        return self._request

    def find_file(self, path: str) -> ImageFile | None:
        return self._target.find_file(path)

    def read_file(self, path: str) -> bytes | None:
        found = self._target.find_file(path)
        return found.content if found else None

    @property
    def contents(self) -> Contents:
        return self.once("contents", self._target.contents)

    @property
    def dockerfile(self) -> bytes:
        return self._target.dockerfile()

    @property
    def knows_short_waits(self) -> bool:
        return self._target.mentions(
            set(QUICK_WAITS.environment) - {*self.start_options.environment}
        )

    def why_not(self, rule: Rule) -> str:
        """Return why a rule cannot be judged here; empty where it can."""
        if not self.level.reaches(rule.level):
            return f"level {self.level} starts nothing; use --level {rule.level}"
        if reason := self.why_lacking(rule.needs):
            return reason
        return self._why_not_started() if rule.level is not Level.STATIC else ""

    def why_lacking(self, needs: Needs) -> str:
        """Return why the target lacks something; empty where it has it all."""
        offers = self._target.offers
        if self._found.text is not None:
            offers |= Needs.CONFIG_TEXT
        if self._config is not None:
            offers |= Needs.CONFIG
        lacking = needs & ~offers
        return self._target.why_not(next(iter(lacking))) if lacking else ""

    def _warm_up(self) -> Request | None:
        """Return the author's own good request, which is a sample where none was given."""
        if self._config is None or Needs.FILES not in self._target.offers:
            return None
        for place in WARM_UP_PLACES:
            with suppress(CustomImageError):  # far too large to be one
                content = self.read_file(place)
                if content is None:
                    continue
                name = place.rpartition("/")[2]
                request = warm_up_request(name, content, self._config)
                if request and not self.samples:
                    self.samples = ((Sample(name=name), request),)
                return request
        return None

    def _refuse_options(self, target: Target) -> None:
        reason = "it runs already" if target.url else "nothing of it is started here"
        raise UsageError(
            f"{target.name}: {describe(self.start_options)} cannot be given, because {reason}.\n"
            "Name an image that a Docker engine holds."
        )

    def _why_not_started(self) -> str:
        """Return why nothing can be started with the user's options; empty where it can."""
        options = self.start_options
        depends_on_machine = options.gpus or options.devices or options.is_offline
        if not depends_on_machine and Needs.CONTAINER in self._target.offers:
            return ""
        if options == StartOptions(environment=options.environment):
            return ""
        return self.once("options", self._try_options)

    def _try_options(self) -> str:
        try:
            self._instances.remove(self._instances.start(StartOptions()))
        except Unavailable as error:
            return str(error).splitlines()[0]
        except ServiceNotReady:  # an image that cannot be started: health.ready says so
            return ""
        return ""

    # --- what runs -------------------------------------------------------------------------------

    @property
    def service(self) -> Service:
        return self.once("service", self._start_shared)

    @contextmanager
    def start(self, options: StartOptions | None = None) -> Iterator[Service]:
        with self._instances.starting:
            instance = self._instances.start(options or StartOptions())
            try:
                service = self.wait_for(instance)
            except BaseException:
                self._instances.remove(instance)
                raise
        try:
            if not service.start.is_ready:
                raise ServiceNotReady(
                    f"an instance of its own was not ready after {service.start.waited_s:.0f} s; "
                    f"last: {service.start.last_answer}.",
                    instance.logs(),
                )
            yield service
        finally:
            self._instances.remove(instance)

    @contextmanager
    def launch(self, options: StartOptions | None = None) -> Iterator[Instance]:
        with self._instances.starting:
            instance = self._instances.start(options or StartOptions())
        try:
            yield instance
        finally:
            self._instances.remove(instance)

    @contextmanager
    def borrow(self) -> Iterator[Service]:
        if Needs.INSTANCE in self._target.offers:
            with self.start() as service:
                yield service
        else:
            yield self.service

    def wait_for(self, instance: Instance) -> Service:
        return self._watch(instance, self._patience_s())

    def once(self, key: str, drill: Callable[[], T]) -> T:
        with self._lock:
            lock = self._kept_locks.setdefault(key, RLock())
        with lock:
            if key not in self._kept:
                self._kept[key] = drill()
            kept: T = self._kept[key]
            return kept

    def pause(self, seconds: float) -> None:
        self._instances.pause(seconds)

    def call_off(self) -> None:
        """Wake every rule that waits, and take their instances away."""
        self._instances.end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.call_off()

    def _start_shared(self) -> Service:
        if self._target.url:
            return self._watch(None)
        try:
            return self._watch(self._instances.start(StartOptions()))
        except ServiceNotReady as error:
            return Service("", self.port, self._request, None, never_started(str(error)))

    def _start(self, options: StartOptions) -> Instance:
        options = merge(self.start_options, options)
        options = replace(options, port=self.port, command=options.command or self._command)
        return self._target.start(options)

    def _watch(self, instance: Instance | None, timeout_s: float | None = None) -> Service:
        url = instance.url if instance else self._target.url
        if self._config and self._config.apis and self._config.apis[0].protocol == "https":
            url = url.replace("http://", "https://", 1)
        # A process of this machine is told another port than the declared one.
        port = self.port if self._target.maps_ports else urlsplit(url).port or self.port
        start = watch_start(
            url,
            port,
            self._request,
            health=self.declared_health,
            instance=instance,
            timeout_s=timeout_s or self._ready_timeout_s(),
            settle_s=self.waits.settle_s,
            pause=self.pause,
        )
        return Service(url, port, self._request, instance, start)

    def _patience_s(self) -> float:
        """Return how long an instance of a rule's own may take; the shared one was not hurried."""
        known_s = self.service.start.waited_s if Needs.SERVICE in self._target.offers else 0.0
        return min(self._ready_timeout_s(), max(LEAST_PATIENCE_S, PATIENCE * known_s))

    def _ready_timeout_s(self) -> float:
        if self._given_timeout_s is not None:
            return self._given_timeout_s
        health = self.declared_health
        # Longer than the health check's patience, to tell a slow start from none.
        wanted_s = max(LEAST_READY_TIMEOUT_S, 2 * health_budget_s(health) if health else 0)
        return min(wanted_s, DEPLOY_TIMEOUT.value * 60.0)
