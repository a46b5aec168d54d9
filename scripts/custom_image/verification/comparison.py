"""Two targets, the same requests to both: what is measured for ``verify A --compare B``."""

from __future__ import annotations

import json
import os
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from custom_image.drills.usage import usage_of
from custom_image.engines import Engine, StartOptions
from custom_image.errors import CustomImageError, ServiceNotReady, Unavailable
from custom_image.model_config import Api
from custom_image.probing.expected_answers import difference, read_samples
from custom_image.probing.http import Answer, Request, ask, ask_on, connect
from custom_image.probing.sample_requests import sample_of
from custom_image.report.comparison import Comparison, Figure, parse_budgets
from custom_image.rules import Level, Needs, Profile
from custom_image.specification import HUAWEICLOUD, PORT
from custom_image.verification.run import words
from custom_image.verification.session import Session
from custom_image.verification.target import Target
from custom_image.verification.targets import open_target

MB: Final = 10**6
PATIENCE_S: Final = 60.0
WARM_UP_REQUESTS: Final = 3
MOST_ROUNDS: Final = 200
MEASURED_S: Final = 10.0
"""How long requests are timed, one to each in turn, so that a busy machine slows both."""
_DISTRIBUTION: Final = re.compile(r"(?:^|/)([A-Za-z0-9_.]+)-([^/-]+)\.dist-info/METADATA$")
_STATUS: Final = "/var/lib/dpkg/status"
_DEBIAN: Final = re.compile(r"^Package: (\S+)$(?:(?!^$)[\s\S])*?^Version: (\S+)$", re.MULTILINE)


def compare(
    target: str | os.PathLike[str] | Target,
    baseline: str | os.PathLike[str] | Target,
    *,
    budgets: Sequence[str] = (),
    config: str | os.PathLike[str] | None = None,
    samples: str | os.PathLike[str] | None = None,
    apis: str | os.PathLike[str] | None = None,
    start_options: StartOptions | None = None,
    command: str | Sequence[str] = "",
    port: int = PORT.value,
    engine: Engine | None = None,
    ready_timeout_s: float | None = None,
) -> Comparison:
    """Start both targets alike, send both the same requests, and put them beside each other.

    Args:
        target: the one that is judged; as :func:`~custom_image.verification.verify` takes it.
        baseline: the one that it is compared with.
        budgets: how much worse the target may be, such as ``latency=10%`` or ``answers=0``.
        config: of both, where they hold none or another one is meant.
        samples: requests to send; without them the author's own beside config.json, else one
            for each api of it.
        apis: a file with the array ``apis``.
        start_options: of both.
        command: of both, in place of their own.
        port: the container port that both declare.
        engine: runs them.
        ready_timeout_s: how long each may take to become ready.

    Raises:
        UsageError: a target or a budget is not one.
        ServiceNotReady: one of them never became ready.
        Unavailable: a target is an image and no Docker engine answers.
    """
    began = time.monotonic()
    parsed = parse_budgets(budgets)
    read = read_samples(Path(samples)) if samples is not None else ()

    def open_session(which: str | os.PathLike[str] | Target) -> Session:
        return Session(
            open_target(which, engine) if isinstance(which, str | os.PathLike) else which,
            config_path=Path(config) if config is not None else None,
            profile=Profile.V2,
            level=Level.QUICK,
            edition=HUAWEICLOUD,
            waits=None,
            port=port,
            ready_timeout_s=ready_timeout_s,
            samples=read,
            command=words(command),
            options=start_options,
            apis_path=Path(apis) if apis is not None else None,
        )

    with open_session(target) as new, open_session(baseline) as old:
        requests = _requests(new)
        figures = _Figures(new, old, requests)
        measured = (
            _measure("answers", figures.answers),
            _measure("schema", figures.schema),
            _measure("latency", figures.latency),
            _measure("memory", figures.memory),
            _measure("size", figures.size),
            _measure("packages", figures.packages),
        )
        return Comparison(
            target=new.name,
            baseline=old.name,
            figures=measured,
            budgets=parsed,
            requests=tuple(requests),
            duration_s=round(time.monotonic() - began, 2),
            facts=figures.facts,
        )


def _measure(name: str, find: Callable[[], Figure]) -> Figure:
    try:
        return find()
    except ServiceNotReady:
        raise
    except (LookupError, Unavailable) as error:
        reason = error.args[0] if error.args else error
        return Figure(name, reason=str(reason).splitlines()[0])


def _requests(new: Session) -> dict[str, Request]:
    """Return what is sent to both, by name."""
    if new.samples:
        return {str(sample): request for sample, request in new.samples}
    if new.reads_config and new.config.apis:
        return {_named(api): sample_of(api) for api in new.config.apis}
    return {str(new.request): new.request}


class _Figures:
    """Measures one property after the other, memory after the requests."""

    def __init__(self, new: Session, old: Session, requests: dict[str, Request]) -> None:
        self._sides = new, old
        self._requests = requests
        self.facts: dict[str, Any] = {}

    def answers(self) -> Figure:
        """Send each request to both; the old one twice, to know what it says of no request."""
        new, old = self._urls()
        details, count = [], 0
        for name, request in self._requests.items():
            mine, theirs = ask(new, request, PATIENCE_S), ask(old, request, PATIENCE_S)
            if not (fault := _differs(theirs, mine)):
                continue
            if _differs(theirs, ask(old, request, PATIENCE_S)):
                details.append(f"{name}: not compared, the old one never answers the same twice")
                continue
            count += 1
            details.append(f"{name}: {fault}")
        return Figure("answers", count, details=tuple(details))

    def schema(self) -> Figure:
        """Compare what both declare."""
        for session in self._sides:
            if not session.reads_config:
                raise LookupError(f"{session.name} holds no config.json; name one with --config")
        new, old = ({_named(api): api for api in s.config.apis} for s in self._sides)
        details = [f"{name} is new" for name in new.keys() - old.keys()]
        details += [f"{name} is gone" for name in old.keys() - new.keys()]
        for name in new.keys() & old.keys():
            mine, theirs = (api.model_dump(mode="json") for api in (new[name], old[name]))
            if fault := _unlike(theirs, mine):
                details.append(f"{name}: {fault}")
        return Figure("schema", len(details), details=tuple(sorted(details)))

    def latency(self) -> Figure:
        """Time the first request, in turn; the median is compared."""
        request = next(iter(self._requests.values()))
        connections = [connect(url, PATIENCE_S) for url in self._urls()]
        times_ms: tuple[list[float], list[float]] = [], []
        try:
            for connection in connections * WARM_UP_REQUESTS:
                ask_on(connection, request)
            began = time.monotonic()
            while len(times_ms[0]) < MOST_ROUNDS and (
                not times_ms[0] or time.monotonic() - began < MEASURED_S
            ):
                self._sides[0].pause(0)
                for connection, times in zip(connections, times_ms, strict=True):
                    answer = ask_on(connection, request)
                    if not answer.status:
                        raise Unavailable(f"{request} got {answer}")
                    times.append(answer.seconds * 1000)
        finally:
            for connection in connections:
                connection.close()
        new, old = (statistics.median(times) for times in times_ms)
        p99s = [sorted(times)[int(len(times) * 0.99)] for times in times_ms]
        rounds = len(times_ms[0])
        self.facts["latency"] = {"rounds": rounds, "p50_ms": [new, old], "p99_ms": p99s}
        shown = f"medians of {rounds} requests to each, in turn; p99 {p99s[0]:.1f} and"
        return Figure("latency", new, old, details=(f"{shown} {p99s[1]:.1f} ms",))

    def memory(self) -> Figure:
        """Compare what all processes hold after those requests."""
        self._urls()
        used = [usage_of(i) for s in self._sides if (i := s.service.instance) is not None]
        if len(used) != len(self._sides):
            raise LookupError("a service that is only asked does not tell its memory")
        new, old = (usage.memory_bytes / MB for usage in used)
        return Figure("memory", new, old)

    def size(self) -> Figure:
        """Compare the images unpacked."""
        self._need(Needs.IMAGE)
        new, old = (session.image.size_bytes / MB for session in self._sides)
        return Figure("size", new, old)

    def packages(self) -> Figure:
        """Compare the packages of Python and of Debian, nothing being run."""
        self._need(Needs.CONTENTS)
        new, old = (dict(_packages(session)) for session in self._sides)
        details = [f"+ {name} {new[name]}" for name in new.keys() - old.keys()]
        details += [f"- {name} {old[name]}" for name in old.keys() - new.keys()]
        details += [
            f"{name} {old[name]} -> {new[name]}"
            for name in new.keys() & old.keys()
            if new[name] != old[name]
        ]
        if not new and not old:
            raise LookupError("neither holds a package of Python or of Debian")
        return Figure("packages", len(details), details=tuple(sorted(details)))

    def _urls(self) -> list[str]:
        """Return where both answer.

        Raises:
            ServiceNotReady: one of them never became ready.
        """
        self._need(Needs.SERVICE)
        for session in self._sides:
            service = session.service
            if not service.start.is_ready:
                log = service.instance.logs() if service.instance else ""
                last = "\n".join(log.splitlines()[-3:])
                raise ServiceNotReady(
                    f"{session.name} was not ready after {service.start.waited_s:.0f} s; last: "
                    f"{service.start.last_answer}.\n{last}\nVerify it without --compare.",
                    log,
                )
        return [session.service.url for session in self._sides]

    def _need(self, need: Needs) -> None:
        for session in self._sides:
            if reason := session.why_lacking(need):
                raise LookupError(f"{session.name}: {reason}")


def _named(api: Api) -> str:
    return f"{api.method.upper()} {api.url}"


def _differs(old: Answer, new: Answer) -> str:
    """Return how an answer differs from another, or an empty string."""
    if new.status != old.status:
        return f"{new}, where the old one says {old}"
    kinds = [a.headers.get("content-type", "").partition(";")[0] for a in (old, new)]
    if kinds[0] != kinds[1]:
        return f"is {kinds[1] or 'of no type'}, where the old one is {kinds[0] or 'of no type'}"
    if old.body == new.body:
        return ""
    with suppress(ValueError):
        return _unlike(json.loads(old.body), json.loads(new.body))
    return f"{len(new.body)} bytes that differ from {len(old.body)}"


def _unlike(old: Any, new: Any) -> str:
    """Return the first place where two documents differ; members that one lacks count."""
    if fault := difference(old, new, tolerance=1e-6):
        return fault
    return f"{fault} in the old one" if (fault := difference(new, old, tolerance=1e-6)) else ""


def _packages(session: Session) -> Iterator[tuple[str, str]]:
    for path in session.contents.overlay.paths():
        if found := _DISTRIBUTION.search(path.decode(errors="replace")):
            yield re.sub(r"[-_.]+", "-", found[1]).lower(), found[2]
    with suppress(CustomImageError):  # far too large to be one
        status = session.read_file(_STATUS) or b""
        for name, version in _DEBIAN.findall(status.decode(errors="replace")):
            yield f"{name} (Debian)", version
