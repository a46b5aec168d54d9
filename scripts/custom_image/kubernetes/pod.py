"""The pod of an image: probes, shutdown, resources, user and file system, each with its reason.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, field
from typing import Any, Final

from custom_image.kubernetes.measurements import Measurements
from custom_image.model_config import Health, ModelConfig
from custom_image.rules.static.accounts import ROOT_ID, Account
from custom_image.specification import (
    HEALTH_FAILURES,
    HEALTH_INITIAL_DELAY,
    HEALTH_METHODS,
    HEALTH_PERIOD,
    INSTANCE_MEMORY,
    PORT,
    SIGTERM_DRAIN,
    SIGTERM_EXIT,
)

PORT_NAME: Final = "http"
DEFAULT_CPUS: Final = 2.0
_MIB: Final = 2**20
_STEP_MIB: Final = 64
_MEMORY_MARGIN: Final = 1.5
"""Of the measured peak: other inputs need more than the sample that was sent."""
_START_MARGIN: Final = 5
"""Times the measured start: a node that pulls and starts many pods at once is slow."""
_EXIT_MARGIN_S: Final = 5


@dataclass(frozen=True)
class PodOptions:
    """What the image itself does not say.

    Attributes:
        stop_command: run in the container before SIGTERM; its own time counts into the grace.
        stop_s: how long that takes at most.
        memory_bytes: request and limit; 0 for what was measured, or the smallest public flavor.
        npus: Ascend NPUs of a pod.
    """

    port: int = PORT.value
    stop_command: str = ""
    stop_s: int = SIGTERM_DRAIN.value
    cpus: float = DEFAULT_CPUS
    memory_bytes: int = 0
    npus: int = 0


@dataclass
class Pod:
    """The spec of a pod's template.

    Attributes:
        reasons: where each part comes from, a line each, for the head of the file.
    """

    image: str
    config: ModelConfig
    user: Account
    measured: Measurements
    options: PodOptions
    reasons: list[str] = field(default_factory=list)

    def spec(self, container: str) -> dict[str, Any]:
        """Return the spec, with one container of that name."""
        self.reasons.clear()
        stop = self._stop_command()
        volumes = [{"name": "tmp", "emptyDir": {}}]
        return {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": self._grace_s(bool(stop)),
            "securityContext": self._user(),
            "containers": [
                {
                    "name": container,
                    "image": self.image,
                    # A tag may move; a digest cannot.
                    "imagePullPolicy": "IfNotPresent" if "@" in self.image else "Always",
                    "ports": [{"name": PORT_NAME, "containerPort": self.options.port}],
                    **self._probes(),
                    **({"lifecycle": {"preStop": {"exec": {"command": stop}}}} if stop else {}),
                    "resources": self._resources(),
                    "securityContext": self._confinement(),
                    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                }
            ],
            "volumes": volumes,
        }

    def _probes(self) -> dict[str, Any]:
        """Return the three probes: those of config.json, else made of its one health check."""
        health = self.config.health
        liveness = _probe(health, self.options.port)
        readiness = _probe(self.config.readiness_health or health, self.options.port)
        if self.config.startup_health:
            startup = _probe(self.config.startup_health, self.options.port)
            self.reasons.append("probes: config.json, startup_health, readiness_health, health")
            return _named(startup, readiness, liveness)
        startup = _probe(self.config.readiness_health or health, self.options.port)
        ready_s, period_s = self.measured.ready_s, startup["periodSeconds"]
        if ready_s is not None:
            failures = math.ceil(_START_MARGIN * ready_s / period_s)
            startup["failureThreshold"] = max(startup["failureThreshold"], failures)
        # While it starts, the startup probe asks alone: the others need no delay.
        for probe in (readiness, liveness):
            probe.pop("initialDelaySeconds", None)
        if not self.config.readiness_health:
            readiness["failureThreshold"] = 1  # no request for a pod that has just said no
        source = "config.json, health" if health else "config.json has none: the port opens"
        started = f"; ready after {ready_s:.1f} s" if ready_s is not None else ""
        self.reasons.append(f"probes: {source}{started}")
        return _named(startup, readiness, liveness)

    def _stop_command(self) -> list[str]:
        if self.options.stop_command:
            self.reasons.append(f"preStop: --stop-command, at most {self.options.stop_s} s")
            return shlex.split(self.options.stop_command)
        if self.measured.stops_early:
            self.reasons.append(
                f"preStop: sigterm.serves FAILED, so SIGTERM comes {SIGTERM_DRAIN} later"
            )
            return ["sleep", str(SIGTERM_DRAIN.value)]
        return []

    def _grace_s(self, has_stop_command: bool) -> int:
        exit_s, why = SIGTERM_EXIT.value, "the platform's own"
        if self.measured.exited_s is not None:
            needed_s = math.ceil(self.measured.exited_s) + _EXIT_MARGIN_S
            why = f"gone {self.measured.exited_s:.1f} s after SIGTERM"
            exit_s = max(exit_s, needed_s)
        stop_s = self.options.stop_s if has_stop_command else 0
        more = f", after {stop_s} s of the stop command" if stop_s else ""
        self.reasons.append(f"grace: {exit_s + stop_s} s; {why}{more}")
        return exit_s + stop_s

    def _resources(self) -> dict[str, Any]:
        peak = self.measured.peak_bytes
        if self.options.memory_bytes:
            needed, why = self.options.memory_bytes, "--memory"
        elif peak is not None:
            needed = round(peak * _MEMORY_MARGIN)
            why = f"peak of {peak / 1e6:.0f} MB and half as much"
        else:
            needed, why = int(INSTANCE_MEMORY.value * 1e9), "not measured: the smallest flavor"
        mib = math.ceil(needed / _MIB / _STEP_MIB) * _STEP_MIB
        self.reasons.append(f"memory: {mib} MiB; {why}")
        wanted = {"cpu": f"{round(self.options.cpus * 1000)}m", "memory": f"{mib}Mi"}
        return {"requests": dict(wanted), "limits": dict(wanted)}

    def _user(self) -> dict[str, Any]:
        is_root = self.user.uid == ROOT_ID
        why = "; the platform refuses root where a rule says so" if is_root else ""
        self.reasons.append(f"user: {self.user}, USER of the image{why}")
        return {
            "runAsNonRoot": not is_root,
            "runAsUser": self.user.uid,
            "runAsGroup": self.user.gid,
            "seccompProfile": {"type": "RuntimeDefault"},
        }

    def _confinement(self) -> dict[str, Any]:
        why = "confinement.read-only PASSED" if self.measured.read_only else "not measured"
        self.reasons.append(f"read-only root: {str(self.measured.read_only).lower()}; {why}")
        return {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": self.measured.read_only,
            "capabilities": {"drop": ["ALL"]},
        }


def _probe(health: Health | None, port: int) -> dict[str, Any]:
    """Return a probe; what config.json leaves out is as the platform has it."""
    if health is None:
        return {
            "tcpSocket": {"port": port},
            "periodSeconds": HEALTH_PERIOD.value,
            "timeoutSeconds": 1,
            "failureThreshold": HEALTH_FAILURES.value,
        }
    handler: dict[str, Any] = {"exec": {"command": (health.command or "").split()}}
    if health.check_method == HEALTH_METHODS[0]:
        handler = {"httpGet": {"path": health.url, "port": port}}
    period_s = health.period_seconds or HEALTH_PERIOD.value
    delay_s = health.initial_delay_seconds
    return {
        **handler,
        "initialDelaySeconds": HEALTH_INITIAL_DELAY.value if delay_s is None else delay_s,
        "periodSeconds": period_s,
        "timeoutSeconds": health.timeout_seconds or period_s,
        "failureThreshold": health.failure_threshold or HEALTH_FAILURES.value,
    }


def _named(
    startup: dict[str, Any], readiness: dict[str, Any], liveness: dict[str, Any]
) -> dict[str, Any]:
    return {"startupProbe": startup, "readinessProbe": readiness, "livenessProbe": liveness}
