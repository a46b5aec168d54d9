"""The context of a rule: the target under verification, and how far the verification goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Flag, StrEnum, auto
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from custom_image import specification
from custom_image.drills.sigterm import OVERTIME_S
from custom_image.drills.startup import SETTLE_S

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from custom_image.drills.startup import Start
    from custom_image.engines import ImageFacts, ImageFile, Instance, StartOptions
    from custom_image.image_archive import Contents
    from custom_image.model_config import Health, ModelConfig
    from custom_image.probing.expected_answers import Sample
    from custom_image.probing.http import Request

T = TypeVar("T")


class Profile(StrEnum):
    """The kind of deployment that a target is judged for."""

    V1 = "v1"
    ENGINE = "engine"
    BATCH = "batch"
    V2 = "v2"
    NOTEBOOK_SAVE = "notebook-save"
    REGISTRY = "registry"


ALL_PROFILES: Final = frozenset(Profile)
SERVING_PROFILES: Final = frozenset({Profile.V1, Profile.ENGINE, Profile.BATCH, Profile.V2})


class Level(StrEnum):
    """How far a verification goes: no container, short waits, or the platform's true waits."""

    STATIC = "static"
    QUICK = "quick"
    FULL = "full"

    def reaches(self, other: Level) -> bool:
        """Tell whether this level goes at least as far as ``other``."""
        return list(Level).index(self) >= list(Level).index(other)


class Needs(Flag):
    """What a rule needs of its target; a target that lacks it gets NOT CHECKED, with the reason."""

    NOTHING = 0
    CONFIG_TEXT = auto()
    """A config.json, good or bad: :attr:`Context.config_text`."""
    CONFIG = auto()
    """A config.json that can be read, by a patient reader at least: :attr:`Context.config`."""
    FILES = auto()
    """The files of the image or folder: :meth:`Context.read_file`."""
    IMAGE = auto()
    """Image metadata: :attr:`Context.image`."""
    CONTENTS = auto()
    """Every file, of all layers or of a folder, read once: :attr:`Context.contents`."""
    DOCKERFILE = auto()
    """The Dockerfile of a build context: :attr:`Context.dockerfile`."""
    SERVICE = auto()
    """Something that answers HTTP: :attr:`Context.service`; shared, so leave it as it was."""
    INSTANCE = auto()
    """Instances of its own, to signal, starve and kill: :meth:`Context.start`."""
    CONTAINER = auto()
    """Such an instance in a container: a user, a network and a process tree of its own."""

    @property
    def runs_something(self) -> bool:
        """Whether a rule with these needs can say nothing about a target that does not run."""
        return bool(self & (Needs.SERVICE | Needs.INSTANCE | Needs.CONTAINER))


@dataclass(frozen=True)
class Waits:
    """The durations that drills wait for, in seconds: the platform's own, or compressed ones.

    Attributes:
        true: whether these are the platform's own durations.
        drain_s: how long a service goes on serving after SIGTERM.
        exit_s: when it has to be gone.
        overtime_s: how long it is watched beyond that, to say how late it is.
        settle_s: how long the start is watched after a first answer or good health.
        bad_input_s: how long an answer to bad input may take.
        environment: tells a service of the compressed durations; one that does not know these
            variables keeps its own, and is then only judged by what a short wait can show.
    """

    true: bool
    keep_alive_s: float
    drain_s: float
    exit_s: float
    overtime_s: float = OVERTIME_S
    settle_s: float = SETTLE_S
    bad_input_s: float = 15.0

    @property
    def environment(self) -> dict[str, str]:
        """The variables that tell a service of compressed durations; none where they are true."""
        if self.true:
            return {}
        # The margin is that of the true durations: EXIT_SECONDS is 85 where the platform says 90.
        return {"DRAIN_SECONDS": f"{self.drain_s:g}", "EXIT_SECONDS": f"{self.exit_s * 0.9:g}"}


def true_waits(edition: specification.Edition) -> Waits:
    """Return the durations that an edition of the platform asks for."""
    return Waits(
        true=True,
        keep_alive_s=edition.keep_alive.value,
        drain_s=edition.sigterm_drain.value,
        exit_s=edition.sigterm_exit.value,
    )


TRUE_WAITS: Final = true_waits(specification.HUAWEICLOUD)
# Longer than the keep-alive of the servers that close early by default: gunicorn 2 s, uvicorn,
# hypercorn and Node 5 s.
QUICK_WAITS: Final = Waits(true=False, keep_alive_s=7, drain_s=3, exit_s=8)


@dataclass(frozen=True)
class Service:
    """A running service that can be asked.

    Attributes:
        url: base URL, no trailing slash.
        port: on which it has to listen, as it sees itself.
        request: one that it should answer, of its first api where config.json declares one.
        instance: what runs it; None where only the URL is known.
        start: what was seen while it became ready.
    """

    url: str
    port: int
    request: Request
    instance: Instance | None
    start: Start


class Cancelled(Exception):
    """The verification was interrupted while a rule was waiting."""


class Context(Protocol):
    """What a rule sees of the target under verification."""

    name: str
    level: Level
    profile: Profile
    edition: specification.Edition
    waits: Waits
    port: int
    """The container port that the model declares."""
    start_options: StartOptions
    """What the user asked each instance to be started with."""
    stop_command: str
    """What Inference 2.0 runs in the container before SIGTERM; empty where none is given."""
    grace_s: float
    """From the stop command to SIGKILL."""
    facts: dict[str, Any]
    """Measurements that the report keeps, JSON-serialisable."""

    @property
    def config_text(self) -> str:
        """The text of config.json. Only where the rule needs CONFIG_TEXT."""
        ...

    @property
    def config_where(self) -> str:
        """Where that text was found."""
        ...

    @property
    def config_corrections(self) -> tuple[str, ...]:
        """What :attr:`config` has otherwise than the file; empty where the platform accepts it."""
        ...

    @property
    def config(self) -> ModelConfig:
        """The parsed config.json, corrected where need be. Only where the rule needs CONFIG."""
        ...

    @property
    def image(self) -> ImageFacts:
        """Image metadata. Only where the rule needs IMAGE."""
        ...

    @property
    def declared_health(self) -> Health | None:
        """The health check of config.json; None without one, or without a config.json."""
        ...

    def find_file(self, path: str) -> ImageFile | None:
        """Return a file by its absolute path. Only where the rule needs FILES."""
        ...

    @property
    def contents(self) -> Contents:
        """What one pass over every file found. Only where the rule needs CONTENTS."""
        ...

    @property
    def dockerfile(self) -> bytes:
        """The text of the Dockerfile. Only where the rule needs DOCKERFILE."""
        ...

    def read_file(self, path: str) -> bytes | None:
        """Return the content of such a file, or None where there is none."""
        ...

    @property
    def samples(self) -> tuple[tuple[Sample, Request], ...]:
        """The user's own samples, each with the request that it makes; empty where none."""
        ...

    @property
    def service(self) -> Service:
        """The shared service, started when first asked for. Only where the rule needs SERVICE.

        It need not be ready: rules that ask it come ``after`` ``health.ready``.
        """
        ...

    @property
    def knows_short_waits(self) -> bool:
        """Whether the target declares the variables of :attr:`Waits.environment`."""
        ...

    def start(self, options: StartOptions | None = None) -> AbstractContextManager[Service]:
        """Start an instance of one's own, wait until it is ready, and remove it afterwards.

        Raises:
            ServiceNotReady: it never became ready.
        """
        ...

    def launch(self, options: StartOptions | None = None) -> AbstractContextManager[Instance]:
        """Start an instance of one's own without waiting for it, and remove it afterwards.

        Raises:
            Unavailable: this machine cannot honour one of the options.
        """
        ...

    def wait_for(self, instance: Instance) -> Service:
        """Watch an instance that was started once more; it need not become ready."""
        ...

    def borrow(self) -> AbstractContextManager[Service]:
        """Lend a service that a drill may damage: its own where possible, else the shared one."""
        ...

    def once(self, key: str, drill: Callable[[], T]) -> T:
        """Run a drill that several rules judge the first time it is asked for, and keep it."""
        ...

    def pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            Cancelled: the verification was interrupted.
        """
        ...
