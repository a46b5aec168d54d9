"""The instances of services, batch services included: containers of a model's image.

Every step may be done twice: what a crash interrupted is simply begun again.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping
from typing import Any, Final

from custom_image.engines.docker.host import MountPoint
from custom_image.engines.serving_host import ServeOptions, ServingState
from custom_image.errors import ServiceNotReady, Unavailable
from custom_image.specification import MIB
from local_modelarts.platform import Platform
from local_modelarts.runtime import probes
from local_modelarts.runtime.probes import Probe, ask, from_json
from local_modelarts.storage.resources import Model
from local_modelarts.storage.specs import InstanceSpec

SERVICE_LABEL: Final = "custom-image.service"
_POLL_S: Final = 0.05
_MEANINGS: Final = {126: ": it could not be run", 127: ": no such program, or no sh, in the image"}


def spec_of_model(
    model: Model, *, environment: Mapping[str, str] | None = None, **fields: Any
) -> InstanceSpec:
    """Return the spec of an instance of a published model of the classic API.

    The start is gated by ``startup_health``, else by ``health``, else by the port (inferred).
    """
    config = model.config
    alive = probes.classic(config.get("health"))
    started = probes.classic(config.get("startup_health")) or alive or probes.port_opens()
    found = {
        "startup": started,
        "readiness": probes.classic(config.get("readiness_health")),
        "liveness": alive,
    }
    return InstanceSpec(
        image=model.image,
        is_remote=not model.source_copy,
        port=model.port,
        protocol=model.protocol,
        command=model.command,
        environment=dict(environment or {}),
        probes={role: probe.to_json() for role, probe in found.items() if probe},
        **fields,
    )


class ServingInstances:
    """Starts, asks and ends containers; what they are for is for others to know."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._host = platform.host

    def start(self, name: str, spec: InstanceSpec, labels: Mapping[str, str]) -> None:
        """Start a container by this name, unless it runs already.

        Raises:
            Unavailable: the registry refuses the image, or is gone.
            UsageError: the engine has no such image.
            ServiceNotReady: its first process could not be started.
        """
        platform = self._platform
        if spec.is_remote:
            self._require_manifest(spec.image)
        if source := spec.image if spec.is_remote else self._lost_copy(spec.image):
            login = platform.logins.temporary("local", platform.settings.login_s)
            self._host.pull(source, login.user, login.password)
            if source != spec.image:
                self._host.tag(source, spec.image)
        options = ServeOptions(
            spec.image,
            shlex.split(spec.command),
            spec.environment,
            spec.user,
            [MountPoint(m.target, m.source, m.read_only) for m in spec.mounts],
            spec.memory_mib * MIB,
            spec.cpus,
        )
        self._host.serve(
            name,
            options,
            labels={**platform.identity.labels, SERVICE_LABEL: "", **labels},
            network=platform.identity.network,
        )

    def _require_manifest(self, image: str) -> None:
        """Refuse an image by digest that the registry has no longer; the engine may know it yet.

        Raises:
            Unavailable: it was deleted, or the registry does not answer.
        """
        name, _, digest = image.partition("@")
        if digest and not self._platform.registry.manifest(name.partition("/")[2], digest):
            raise Unavailable(f"image {image!r} cannot be pulled: the registry has none of it")

    def _lost_copy(self, image: str) -> str:
        """Return where a model's copy came from; empty where the engine has it still.

        A copy is the engine's alone, and gone after ``docker image prune --all``.
        """
        if self._host.image_size_bytes(image):
            return ""
        model = self._platform.state.get(Model, image.rpartition(":")[2])
        return f"{model.source_location.rpartition(':')[0]}@{model.digest}" if model else ""

    def states(self) -> dict[str, ServingState]:
        """Return all containers of this platform's services by name."""
        own = platform_label(self._platform)
        found = self._host.serving(SERVICE_LABEL)
        return {name: state for name, state in found.items() if own.items() <= state.labels.items()}

    def probe(self, name: str, spec: InstanceSpec, probe: Probe, address: str) -> str:
        """Ask a container; return an empty string, or what was wrong.

        Raises:
            Unavailable: the engine, not the container, is what does not answer.
        """
        if probe.method != probes.EXEC:
            return ask(probe, address, spec.port)
        try:
            code = self._host.run_inside(name, probe.command.split(), probe.timeout_s)
        except TimeoutError as error:
            return f"{probe.command}: {error}"
        return f"{probe.command} exited {code}" if code else ""

    def wait_until_ready(self, name: str, spec: InstanceSpec, timeout_s: float) -> str:
        """Wait until a container has started as its probe says, and return its base URL.

        Raises:
            ServiceNotReady: it has not, with its log.
        """
        probe = from_json(spec.probes.get("startup"))
        deadline = time.monotonic() + timeout_s
        while True:
            state = self._host.serving_state(name)
            is_running = state is not None and state.is_running
            fault = "it has ended"
            if state and is_running:
                fault = self.probe(name, spec, probe, state.address) if probe else ""
                if not fault:
                    return f"{spec.protocol}://{state.address}:{spec.port}"
            if not is_running or time.monotonic() >= deadline:
                raise ServiceNotReady(f"{name} is not ready: {fault}", self.logs(name))
            time.sleep(_POLL_S)

    def exit_code(self, name: str) -> int:
        """Return how a container has ended; -1 where that is not known."""
        return self._host.exit_code(name)

    def terminate(self, name: str, spec: InstanceSpec, grace_s: float) -> str:
        """Tell a container to stop: the stop command, then SIGTERM; return what was wrong with it.

        The command is run in the container, by the image's own ``sh``; its time is part of the
        grace, and SIGTERM follows whatever became of it, as Kubernetes has it:
        https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/
        """
        fault = ""
        if spec.pre_stop:
            try:
                code = self._host.run_inside(name, ["sh", "-c", spec.pre_stop], grace_s)
            except TimeoutError as error:
                fault = str(error)
            else:
                fault = f"exited with {code}{_MEANINGS.get(code, '')}" if code else ""
        self._host.send_signal(name, "SIGTERM")
        return fault

    def logs(self, name: str) -> str:
        """Return what a container wrote to standard output and error; empty where it is gone."""
        return self._host.log(name)

    def remove(self, name: str) -> None:
        """Kill and remove a container. Idempotent."""
        self._host.remove(name)


def platform_label(platform: Platform) -> dict[str, str]:
    """Return the label of all that this platform makes."""
    return platform.identity.labels
