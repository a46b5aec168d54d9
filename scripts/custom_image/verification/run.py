"""Running the rules against a target: what applies, in which order, and what becomes of each."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

from custom_image.engines import Engine, StartOptions
from custom_image.errors import UsageError
from custom_image.probing.expected_answers import read_samples
from custom_image.report import Check, Report, Severity, Verdict
from custom_image.rules import (
    CONFIG_RULE,
    Cancelled,
    Finding,
    Level,
    Profile,
    Rule,
    Waits,
    catalogue,
    not_checked,
)
from custom_image.rules.overrides import Overrides, one_of
from custom_image.specification import EDITIONS, HUAWEICLOUD, PORT, Edition
from custom_image.verification.progress import Watcher, watch
from custom_image.verification.session import GRACE_S, Session
from custom_image.verification.targets import Target, open_target

E = TypeVar("E", bound=StrEnum)

AT_ONCE: Final = 24
"""Drills that run at the same time: they wait, they do not compute."""


def verify(
    target: str | os.PathLike[str] | Target,
    *,
    config: str | os.PathLike[str] | None = None,
    profile: str = "",
    level: str = Level.QUICK,
    port: int = PORT.value,
    engine: Engine | None = None,
    edition: str | Edition = HUAWEICLOUD,
    only: Collection[str] = (),
    waits: Waits | None = None,
    ready_timeout_s: float | None = None,
    progress: Watcher | None = None,
    overrides: Overrides | None = None,
    samples: str | os.PathLike[str] | None = None,
    command: str | Sequence[str] = "",
    start_options: StartOptions | None = None,
    apis: str | os.PathLike[str] | None = None,
    stop_command: str = "",
    grace_s: float = GRACE_S,
) -> Report:
    """Judge a target by the rules of the platform.

    Args:
        target: an image reference, a folder (build context, model package, or one that mirrors
            /home of an image and is started as a process), or the URL of a running service.
        config: config.json, where the target holds none or another one is meant.
        profile: the kind of deployment, a :class:`~custom_image.rules.Profile`; empty for the
            edition's own.
        level: ``static``, ``quick`` or ``full``.
        port: the container port that the model declares.
        engine: runs the target; None for the Docker engine, or this machine for a folder.
        edition: whose limits hold: ``huaweicloud``, ``classic`` or ``otc``.
        only: ids of rules; they and the rules they require are run.
        waits: instead of those of the level.
        ready_timeout_s: how long a service may take to become ready; None for a while longer than
            the health check of its config.json grants it.
        progress: told when a rule begins and ends; None for a live view on the terminal.
        overrides: what is held otherwise: severities, limits, and rules that are waived.
        samples: requests with the answers that are expected of them, a folder or a YAML file; see
            :mod:`custom_image.probing.expected_answers`.
        command: started instead of the image's own, as by the start command of the model's form:
            the image of a notebook instance starts JupyterLab by default.
        start_options: what each instance is started with besides, as the service's form has it;
            see :func:`custom_image.engines.options.parse_options`. Values of its environment are
            shown nowhere in the report.
        apis: a file with the array ``apis``, where there is no config.json or another is meant.
        stop_command: what Inference 2.0 runs in the container before SIGTERM.
        grace_s: from the stop command to SIGKILL.

    Raises:
        UsageError: the target, the config.json or an argument is not there.
        Unavailable: the target is an image and no Docker engine answers.
    """
    began = time.monotonic()
    overrides = overrides or Overrides()
    limits = overrides.changed(_edition(edition))
    chosen = _one_of(Profile, profile or limits.profile, "profile")
    rules = _applicable(chosen, only)
    session = Session(
        target if not isinstance(target, str | os.PathLike) else open_target(target, engine),
        config_path=Path(config) if config is not None else None,
        profile=chosen,
        level=_one_of(Level, level, "level"),
        edition=limits,
        waits=waits,
        port=port,
        ready_timeout_s=ready_timeout_s,
        samples=read_samples(Path(samples)) if samples is not None else (),
        command=words(command),
        options=start_options,
        apis_path=Path(apis) if apis is not None else None,
        stop_command=stop_command,
        grace_s=grace_s,
    )
    with session, watch(rules, session.waits, progress) as watcher:
        checks = _Run(session, rules, watcher, overrides, began).run()
    return Report(
        target=session.name,
        level=session.level,
        profile=session.profile,
        checks=tuple(checks[rule.id] for rule in rules),
        facts=session.mask.data(session.facts),
        duration_s=round(time.monotonic() - began, 2),
        edition=limits.name,
        overrides=overrides.to_fact(),
    )


@dataclass
class _Run:
    """One pass over the rules: first what measures time, alone, then the rest side by side."""

    session: Session
    rules: list[Rule]
    watcher: Watcher
    overrides: Overrides
    began: float

    def __post_init__(self) -> None:
        self.checks: dict[str, Check] = {}
        self.roots: dict[str, str] = {}
        """What made a rule pointless, by its id: another one that failed, or broke."""

    def run(self) -> dict[str, Check]:
        """Judge every rule; an interrupt calls the waiting ones off first."""
        alone = [rule for rule in self.rules if rule.exclusive or not rule.needs.runs_something]
        for rule in alone:
            self._settle(rule)
        waiting = [rule for rule in self.rules if rule.id not in self.checks]
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="rule") as pool:
            try:
                self._run_side_by_side(pool, waiting)
            except BaseException:
                self.session.call_off()
                pool.shutdown(cancel_futures=True)
                raise
        return self.checks

    def _run_side_by_side(self, pool: ThreadPoolExecutor, waiting: list[Rule]) -> None:
        running: set[Future[None]] = set()
        while waiting or running:
            ready = [rule for rule in waiting if all(a in self.checks for a in self._before(rule))]
            waiting = [rule for rule in waiting if rule not in ready]
            ready.sort(key=self._lasts, reverse=True)  # the longest decides how long it all takes
            running |= {pool.submit(self._settle, rule) for rule in ready}
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()

    def _lasts(self, rule: Rule) -> float:
        return rule.wait_seconds(self.session.waits) if rule.wait_seconds else 0.0

    def _before(self, rule: Rule) -> list[str]:
        """Return the rules of this run that a rule requires."""
        mine = {rule.id for rule in self.rules}
        return [rule_id for rule_id in rule.requires if rule_id in mine]

    def _settle(self, rule: Rule) -> None:
        began = time.monotonic()
        if reason := self._why_not(rule):
            finding = not_checked(reason)
        else:
            self.watcher.began(rule)
            finding = self._find(rule)
        check = self._check(rule, finding, began)
        self.checks[rule.id] = check
        self.watcher.ended(check)

    def _severity(self, rule: Rule) -> Severity:
        own = rule.severities.get(self.session.profile, rule.severity)
        return self.overrides.severities.get(rule.id, own)

    def _why_not(self, rule: Rule) -> str:
        """Return why a rule cannot be judged; empty where it can."""
        for rule_id in self._before(rule):
            if rule_id == CONFIG_RULE and self.session.reads_config:
                continue
            if root := self.roots.get(rule_id):
                self.roots[rule.id] = root
                return root
        return self.session.why_not(rule)

    def _find(self, rule: Rule) -> Finding:
        try:
            finding = rule.judge(self.session)
        except Cancelled:
            raise
        except Exception as error:  # noqa: BLE001 - a rule that breaks must not look like a pass
            kind = type(error).__name__
            finding = not_checked(f"the rule itself broke: {kind}: {error}".splitlines()[0])
            self.roots[rule.id] = f"{rule.id} {finding.verdict}"
        if finding.verdict is Verdict.FAILED and self._severity(rule) is Severity.ERROR:
            self.roots[rule.id] = f"{rule.id} {finding.verdict}"
        return finding

    def _check(self, rule: Rule, finding: Finding, began: float) -> Check:
        severity = self._severity(rule)
        verdict = finding.verdict
        if verdict is Verdict.FAILED and severity is not Severity.ERROR:
            verdict = Verdict.WARNING
        is_broken = verdict in (Verdict.FAILED, Verdict.WARNING)
        duration_s = time.monotonic() - began
        wait_s = rule.wait_seconds(self.session.waits) if rule.wait_seconds else 0.0
        return Check(
            id=rule.id,
            title=rule.title,
            severity=severity,
            verdict=verdict,
            required=rule.required_by(self.session.edition),
            measured=self.session.mask.text(finding.measured),
            evidence=self.session.mask.text(finding.evidence),
            remediation=(finding.remediation or rule.remediation) if is_broken else "",
            source=str(rule.source),
            duration_s=round(duration_s, 3),
            began_s=round(began - self.began, 3),
            waited_s=round(min(wait_s, duration_s), 3),
            requires=tuple(self._before(rule)),
            waived=self.overrides.waivers.get(rule.id, "") if is_broken else "",
        )


def _applicable(profile: Profile, only: Collection[str]) -> list[Rule]:
    """Return the rules of a profile, in order; with ``only``, those and what they require."""
    rules = catalogue()
    by_id = {rule.id: rule for rule in rules}
    wanted = set(by_id)
    if only:
        wanted, open_ids = set(), list(only)
        while open_ids:
            rule_id = one_of(by_id, open_ids.pop(), "rule")
            if rule_id not in wanted:
                wanted.add(rule_id)
                open_ids += by_id[rule_id].requires
    return [rule for rule in rules if rule.id in wanted and profile in rule.profiles]


def _one_of(choices: type[E], value: str, what: str) -> E:
    return choices(one_of([choice.value for choice in choices], value, what))


def words(command: str | Sequence[str]) -> tuple[str, ...]:
    """Return a command as the platform starts it: split like a shell's, and not given to one."""
    if not isinstance(command, str):
        return tuple(command)
    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        raise UsageError(
            f"command {command!r} cannot be split into words: {error}.\n"
            'Expected something like "sh /home/ma-user/infer/run.sh".'
        ) from error


def _edition(edition: str | Edition) -> Edition:
    if isinstance(edition, Edition):
        return edition
    return EDITIONS[one_of(EDITIONS, edition, "edition")]
