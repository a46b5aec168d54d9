"""The rules of the platform, one function each, one file a group.

A rule is a small function with data beside it::

    @rule(
        id="image.size",
        title="The image is small enough to be imported",
        severity=Severity.ERROR,
        profiles=ALL_PROFILES,
        needs=Needs.IMAGE,
        required=specification.IMAGE_SIZE,
        mend="Remove what the model does not need, or ...",
    )
    def image_size(subject: Subject) -> Finding:
        size_gb = subject.image.size_bytes / GB
        if size_gb > specification.IMAGE_SIZE.value: return failed(f"{size_gb:.1f} GB", evidence)
        return passed(f"{size_gb:.2f} GB")

The function judges; it does not decide whether it can. What it ``needs`` is looked up beforehand
by :mod:`custom_image.verification`, which also turns an exception into NOT CHECKED with its reason
and a rule of severity WARNING that fails into the verdict WARNING.

A rule about a duration passes only at the true duration. At level ``quick`` it drills the
mechanism with :attr:`Subject.waits` and returns :func:`not_checked` where the mechanism works,
:func:`failed` where it does not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Flag, StrEnum, auto
from typing import TYPE_CHECKING, Any, Protocol

from custom_image.report import Severity, Verdict
from custom_image.specification import Requirement, Source

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from custom_image.engines import ImageFacts, Instance, StartOptions
    from custom_image.model_config import ModelConfig


class Profile(StrEnum):
    """The kind of deployment that a target is judged for."""

    CLASSIC = "classic"
    ENGINE = "engine"
    BATCH = "batch"
    INFERENCE_2_0 = "inference-2.0"
    NOTEBOOK_SAVE = "notebook-save"
    REGISTRY = "registry"


ALL_PROFILES = frozenset(Profile)
SERVING_PROFILES = frozenset(
    {Profile.CLASSIC, Profile.ENGINE, Profile.BATCH, Profile.INFERENCE_2_0}
)


class Level(StrEnum):
    """How far a verification goes: no container, short waits, or the platform's true waits."""

    STATIC = "static"
    QUICK = "quick"
    FULL = "full"


class Needs(Flag):
    """What a rule needs of its target; a target that lacks it gets NOT CHECKED, with the reason."""

    NOTHING = 0
    CONFIG = auto()
    """A config.json that parses: :attr:`Subject.config`."""
    FILES = auto()
    """The files of the image or folder: :meth:`Subject.read_file`."""
    IMAGE = auto()
    """Image metadata: :attr:`Subject.image`."""
    SERVICE = auto()
    """Something that answers HTTP: :attr:`Subject.url`; shared, so leave it as it was."""
    INSTANCE = auto()
    """Instances of its own, to signal, starve and kill: :meth:`Subject.start`."""
    CONTAINER = auto()
    """Such an instance in a container: a user, a network and a process tree of its own."""


@dataclass(frozen=True)
class Waits:
    """The durations that drills wait for, in seconds: the platform's own, or compressed ones.

    Attributes:
        true: whether these are the platform's own durations.
        drain_s: told to the image as ``DRAIN_SECONDS``.
    """

    true: bool
    keep_alive_s: float
    drain_s: float
    exit_s: float


class Subject(Protocol):
    """What a rule sees of the target under verification."""

    name: str
    level: Level
    profile: Profile
    waits: Waits
    config: ModelConfig
    """The parsed config.json. Only where the rule needs CONFIG."""
    config_path: Path | None
    image: ImageFacts
    """Only where the rule needs IMAGE."""
    url: str
    """Base URL of a running service, no trailing slash. Only where the rule needs SERVICE."""
    port: int
    """The container port that the model declares."""
    facts: dict[str, Any]
    """Measurements one rule leaves for others, for example ``ready_s``."""

    def read_file(self, path: str) -> bytes | None:
        """Return a file of the image by its absolute path, or None where there is none."""
        ...

    def start(self, options: StartOptions | None = None) -> AbstractContextManager[Instance]:
        """Start an instance of one's own, wait until it is ready, and remove it afterwards."""
        ...

    def logs(self) -> str:
        """Return what the shared service printed so far. Only where the target can tell."""
        ...

    def sample(self) -> tuple[bytes, str]:
        """Return a body that the first api accepts, and its Content-Type header."""
        ...


@dataclass(frozen=True)
class Finding:
    """What a rule returns: a verdict with its facts, without the data that stands beside the rule."""

    verdict: Verdict
    measured: str
    evidence: str = ""
    mend: str = ""
    """Replaces the rule's own mend where the finding knows better."""


def passed(measured: str, evidence: str = "") -> Finding:
    """The rule holds."""
    return Finding(Verdict.PASSED, measured, evidence)


def failed(measured: str, evidence: str = "", mend: str = "") -> Finding:
    """The rule is broken; becomes WARNING where the rule's severity is below error."""
    return Finding(Verdict.FAILED, measured, evidence, mend)


def not_checked(reason: str, evidence: str = "") -> Finding:
    """The rule could not be judged, and why."""
    return Finding(Verdict.NOT_CHECKED, reason, evidence)


@dataclass(frozen=True)
class Rule:
    """A rule of the platform.

    Attributes:
        id: ``group.name``, stable: people waive rules by it.
        title: the rule as one sentence that is true of a good target.
        why: what happens on the platform when it is broken.
        level: the lowest level at which it can say anything.
        exclusive: true where it measures time, so nothing else may run beside it.
    """

    id: str
    title: str
    why: str
    severity: Severity
    profiles: frozenset[Profile]
    needs: Needs
    required: str
    source: Source
    mend: str
    level: Level
    exclusive: bool
    judge: Callable[[Subject], Finding]


REGISTRY: dict[str, Rule] = {}


def rule(
    *,
    id: str,  # noqa: A002 - the rule's own word
    title: str,
    why: str,
    severity: Severity,
    needs: Needs,
    required: Requirement[Any] | str,
    mend: str,
    source: Source | None = None,
    profiles: frozenset[Profile] = SERVING_PROFILES,
    level: Level = Level.STATIC,
    exclusive: bool = False,
) -> Callable[[Callable[[Subject], Finding]], Callable[[Subject], Finding]]:
    """Register the decorated function as the rule ``id``; the function itself stays callable.

    ``required`` is a :class:`Requirement`, which brings its own source, or a sentence with one.
    """
    if id in REGISTRY:
        raise ValueError(f"two rules are called {id!r}")
    if source is None:
        if not isinstance(required, Requirement):
            raise ValueError(f"rule {id!r} names no source")
        source = required.source
    page = source

    def register(judge: Callable[[Subject], Finding]) -> Callable[[Subject], Finding]:
        REGISTRY[id] = Rule(
            id=id,
            title=title,
            why=why,
            severity=severity,
            profiles=profiles,
            needs=needs,
            required=str(required),
            source=page,
            mend=mend,
            level=level,
            exclusive=exclusive,
            judge=judge,
        )
        return judge

    return register
