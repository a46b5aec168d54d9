"""The rules of the platform, one function each, one file a group.

A rule is a small function with data beside it::

    @rule(
        id="image.size",
        title="The image is small enough to become a model",
        why="The platform refuses to import a larger one, after the upload.",
        severity=Severity.ERROR,
        profiles=ALL_PROFILES,
        needs=Needs.IMAGE,
        expected=lambda edition: edition.image_size,
        fix="Remove what the model does not need, or ...",
    )
    def size(context: Context) -> Finding:
        size_gb = context.image.size_bytes / GB
        if size_gb > context.edition.image_size.value: return failed(f"{size_gb:.1f} GB", evidence)
        return passed(f"{size_gb:.2f} GB")

The function judges; it does not decide whether it can. What it ``needs`` of the target, and which
rules it ``requires``, is looked up beforehand by :mod:`custom_image.verification`, which also
turns an exception into NOT CHECKED with its reason, and FAILED into the verdict WARNING where the
rule's severity is below error.

A rule about a duration passes only at the true duration. At level ``quick`` it drills the
mechanism with :attr:`Context.waits` and returns :func:`not_waited` where the mechanism works,
:func:`failed` where it does not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Final

from custom_image.report import Severity, Verdict
from custom_image.rules.context import (
    ALL_PROFILES,
    QUICK_WAITS,
    SERVING_PROFILES,
    TRUE_WAITS,
    Cancelled,
    Context,
    Level,
    Needs,
    Profile,
    Service,
    Waits,
    true_waits,
)
from custom_image.specification import (
    HUAWEICLOUD,
    REPLACED_IN_V2,
    Edition,
    Requirement,
    Source,
)

__all__ = [
    "ALL_PROFILES",
    "QUICK_WAITS",
    "SERVING_PROFILES",
    "TRUE_WAITS",
    "Cancelled",
    "Context",
    "Finding",
    "Level",
    "Needs",
    "Profile",
    "Rule",
    "Service",
    "Severity",
    "Waits",
    "catalogue",
    "failed",
    "not_checked",
    "not_waited",
    "passed",
    "rule",
    "true_waits",
    "warned",
]

GROUPS: Final = {
    "config": "static.config",
    "image": "static.image",
    "layers": "contents.layers",
    "secrets": "contents.secrets",
    "waste": "contents.waste",
    "model": "contents.weights",
    "files": "contents.files",
    "code": "static.code",
    "dockerfile": "static.dockerfile",
    "boot": "static.boot",
    "network": "service.network",
    "tls": "service.tls",
    "health": "service.health",
    "api": "service.api",
    "expected": "service.expected",
    "http": "service.http",
    "body": "service.body",
    "stream": "service.streams",
    "websocket": "service.websocket",
    "logs": "service.logs",
    "user": "static.user",
    "port": "static.port",
    "probe": "static.probe",
    "command": "static.command",
    "sigterm": "lifecycle.sigterm",
    "stop": "lifecycle.stop_command",
    "hitless": "lifecycle.hitless",
    "repeated": "lifecycle.determinism",
    "workers": "lifecycle.workers",
    "start": "lifecycle.hosts",
    "confinement": "lifecycle.resource_limits",
    "growth": "lifecycle.growth",
    "weights": "lifecycle.mounted_weights",
    "batch": "service.batch",
    "engine": "static.engine",
    "notebook": "static.notebook",
    "registry": "static.registry",
}
"""The module of each group, in the order of a report; a rule's id starts with its group."""

CONFIG_RULE: Final = "config.valid"


@dataclass(frozen=True)
class Finding:
    """What a rule returns: a verdict with its facts, without the data that stands beside the rule.

    Attributes:
        fix: replaces the rule's own where the finding knows better.
    """

    verdict: Verdict
    measured: str
    evidence: str = ""
    remediation: str = ""


def passed(measured: str, evidence: str = "") -> Finding:
    """The rule holds."""
    return Finding(Verdict.PASSED, measured, evidence)


def failed(measured: str, evidence: str = "", remediation: str = "") -> Finding:
    """The rule is broken; becomes WARNING where the rule's severity is below error."""
    return Finding(Verdict.FAILED, measured, evidence, remediation)


def warned(measured: str, evidence: str = "", remediation: str = "") -> Finding:
    """The rule is not broken, but something about it is probably not what was meant."""
    return Finding(Verdict.WARNING, measured, evidence, remediation)


def not_checked(reason: str, evidence: str = "") -> Finding:
    """The rule could not be judged, and why."""
    return Finding(Verdict.NOT_CHECKED, reason, evidence)


def not_waited(required: Requirement[Any], seen: str, evidence: str = "") -> Finding:
    """The mechanism works, and only the true duration would prove the rule."""
    return not_checked(f"{required} not waited; use --level full ({seen})", evidence)


Expected = Requirement[Any] | str | Callable[[Edition], Requirement[Any]]


@dataclass(frozen=True)
class Rule:
    """A rule of the platform.

    Attributes:
        id: ``group.name``, stable: people waive rules by it.
        title: the rule as one sentence that is true of a good target.
        why: what happens on the platform when it is broken.
        severity: in every profile that ``severities`` does not name.
        expected: what the platform asks for; of a rule with a ``limit_field``, that number.
        limit_field: which number of :class:`Edition` it is held to; empty where none, so that none
            can be replaced for one verification.
        good: what passes it, such as a line of a Dockerfile or of config.json.
        bad: what fails it.
        wait_seconds: how long it waits by intention, shown while it runs; None for not at all.
        requires: rules that make this one pointless when they fail; it is then NOT CHECKED and
            names them. One that needs CONFIG requires ``config.valid`` in any case; it is judged
            all the same where the file can be read.
        exclusive: true where it measures time, so nothing else may run beside it.
    """

    id: str
    title: str
    why: str
    severity: Severity
    profiles: frozenset[Profile]
    needs: Needs
    expected: Expected
    source: Source
    remediation: str
    requires: tuple[str, ...]
    exclusive: bool
    judge: Callable[[Context], Finding]
    severities: Mapping[Profile, Severity] = field(default_factory=dict)
    limit_field: str = ""
    good: str = ""
    bad: str = ""
    wait_seconds: Callable[[Waits], float] | None = None

    def __post_init__(self) -> None:
        if Needs.CONFIG in self.needs and CONFIG_RULE not in self.requires:
            object.__setattr__(self, "requires", (CONFIG_RULE, *self.requires))

    @property
    def level(self) -> Level:
        """The lowest level at which it can say anything."""
        return Level.QUICK if self.needs.runs_something else Level.STATIC

    @property
    def readings(self) -> tuple[str, ...]:
        """Who says what about its number, where the platform's pages disagree."""
        requirement = self.requirement
        return requirement.readings if requirement else ()

    @property
    def newest_page(self) -> str:
        """The date of the newest page that it rests on, such as ``2026-09-08``."""
        requirement = self.requirement
        also = requirement.also if requirement else ()
        pages = [self.source, *(reading.source for reading in also)]
        replaced = REPLACED_IN_V2.get(self.id)
        return max(page.date for page in ([*pages, replaced] if replaced else pages))

    @property
    def requirement(self) -> Requirement[Any] | None:
        """The number or name that it is held to in the default edition, where it is one."""
        expected = self.expected(HUAWEICLOUD) if callable(self.expected) else self.expected
        return expected if isinstance(expected, Requirement) else None

    def required_by(self, edition: Edition) -> str:
        """Return what this edition of the platform asks for, in its own unit."""
        if self.limit_field:
            return str(getattr(edition, self.limit_field))
        return str(self.expected(edition) if callable(self.expected) else self.expected)


REGISTRY: Final[dict[str, Rule]] = {}


def rule(
    *,
    id: str,
    title: str,
    why: str,
    severity: Severity,
    needs: Needs,
    remediation: str,
    expected: Expected = "",
    limit_field: str = "",
    good: str = "",
    bad: str = "",
    source: Source | None = None,
    profiles: frozenset[Profile] = SERVING_PROFILES,
    severities: Mapping[Profile, Severity] | None = None,
    requires: tuple[str, ...] = (),
    exclusive: bool = False,
    wait_seconds: Callable[[Waits], float] | None = None,
) -> Callable[[Callable[[Context], Finding]], Callable[[Context], Finding]]:
    """Register the decorated function as the rule ``id``; the function itself stays callable.

    What is expected is said by one of two: ``limit_field`` names a number of :class:`Edition`;
    ``expected`` is a :class:`Requirement`, a function that picks one from the edition, or a
    sentence with a ``source`` beside it. A number brings its own source.
    """
    if id in REGISTRY:
        raise ValueError(f"two rules are called {id!r}")
    if bool(expected) == bool(limit_field):
        raise ValueError(f"rule {id!r} needs either `expected` or `limit_field`")
    if limit_field:
        expected = getattr(HUAWEICLOUD, limit_field)
    if source is None:
        requirement = expected(HUAWEICLOUD) if callable(expected) else expected
        if not isinstance(requirement, Requirement):
            raise ValueError(f"rule {id!r} names no source")
        source = requirement.source
    page = source

    def register(judge: Callable[[Context], Finding]) -> Callable[[Context], Finding]:
        REGISTRY[id] = Rule(
            id=id,
            title=title,
            why=why,
            severity=severity,
            severities=severities or {},
            profiles=profiles,
            needs=needs,
            expected=expected,
            source=page,
            remediation=remediation,
            requires=requires,
            exclusive=exclusive,
            judge=judge,
            limit_field=limit_field,
            good=good,
            bad=bad,
            wait_seconds=wait_seconds,
        )
        return judge

    return register


def catalogue() -> tuple[Rule, ...]:
    """Return every rule, in the order of a report: a rule stands below those it comes after."""
    for module in GROUPS.values():
        import_module(f"{__name__}.{module}")
    order = list(GROUPS)
    return tuple(sorted(REGISTRY.values(), key=lambda rule: order.index(rule.id.split(".")[0])))
