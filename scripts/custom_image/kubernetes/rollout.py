"""The rollout of a Deployment, for the local platform to rehearse it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from custom_image.errors import UsageError
from custom_image.model_config import Health, ModelConfig
from custom_image.specification import HEALTH_METHODS

_HTTP, _EXEC = HEALTH_METHODS
_ROLES = {
    "startupProbe": "startup_health",
    "readinessProbe": "readiness_health",
    "livenessProbe": "health",
}


@dataclass(frozen=True)
class Rollout:
    """An update as a Deployment describes it.

    Attributes:
        probes: members of config.json, by their names there; of these that ask over HTTP or run a
            command, which are all that the platform knows.
        surge: how many pods an update may start besides.
        unavailable: how many it may miss.
    """

    grace_s: int
    stop_command: str
    surge: int
    unavailable: int
    probes: dict[str, Health] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Rollout:
        """Read the Deployment in a file that `custom-image export kubernetes` wrote.

        Raises:
            UsageError: it cannot be read, or there is no such Deployment in it.
        """
        try:
            documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
            (spec,) = (each["spec"] for each in documents if each["kind"] == "Deployment")
            pod, update = spec["template"]["spec"], spec["strategy"]["rollingUpdate"]
            (container,) = pod["containers"]
            stop = container.get("lifecycle", {}).get("preStop", {}).get("exec", {})
            return cls(
                grace_s=int(pod["terminationGracePeriodSeconds"]),
                stop_command=shlex.join(stop.get("command", ())),
                surge=int(update["maxSurge"]),
                unavailable=int(update["maxUnavailable"]),
                probes={
                    name: health
                    for role, name in _ROLES.items()
                    if (health := _health(container.get(role) or {}))
                },
            )
        except OSError as error:
            raise UsageError(f"{path}: cannot be read ({error.strerror}).") from error
        except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UsageError(
                f"{path}: expected one Deployment with one container, found none that can be "
                f"read ({type(error).__name__}: {error}).\n"
                "Write one: custom-image export kubernetes IMAGE --output FILE"
            ) from error

    def applied_to(self, config: ModelConfig) -> ModelConfig:
        """Return config.json with the probes of the Deployment in place of its own."""
        return config.model_copy(update=dict(self.probes))


def _health(probe: dict[str, Any]) -> Health | None:
    """Return a probe as config.json has it; None for one that only opens the port."""
    if "httpGet" in probe:
        how = {"check_method": _HTTP, "url": probe["httpGet"]["path"]}
    elif "exec" in probe:
        how = {"check_method": _EXEC, "command": " ".join(probe["exec"]["command"])}
    else:
        return None
    return Health(
        **how,
        initial_delay_seconds=probe.get("initialDelaySeconds", 0),
        period_seconds=probe["periodSeconds"],
        timeout_seconds=probe["timeoutSeconds"],
        failure_threshold=probe["failureThreshold"],
    )
