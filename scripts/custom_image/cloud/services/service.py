"""A service: how it is deployed, as the platform shows it, and as callers ask it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

from custom_image.cloud.conversion import predicting_api
from custom_image.cloud.services.access import API_KEY, Access
from custom_image.cloud.services.predict import ask_later, ask_now
from custom_image.engines.client import OnPart, Prediction
from custom_image.specification import DEPLOY_TIMEOUT, SERVICE_FLAVOR, SIGTERM_EXIT

if TYPE_CHECKING:
    from custom_image.cloud.api.client import Cloud
    from custom_image.cloud.model import Model


@dataclass(frozen=True)
class DeployOptions:
    """How a service is deployed; an upgrade keeps all of it.

    Attributes:
        environment: of each instance; values of secrets do not belong here, says the platform.
        flavor: of each instance.
        custom_spec: CPUs and memory in MB, in place of a flavor.
        pool: a dedicated resource pool; empty for the public one, where an upgrade interrupts.
        deploy_timeout_min: when the platform gives up a deployment.
        max_surge: how many instances an update may start besides; a share such as ``25%`` in 2.0.
        max_unavailable: how many it may miss meanwhile.
        grace_s: how long an instance may take to stop, before it is killed.
        stop_command: of v2: run in the container by its own ``sh`` before SIGTERM.
        authentication: of v2: who may call: ``API_KEY``, ``TOKEN`` or ``NONE``.
        request_timeout_s: of v2: how long a caller waits; 0 for the platform's own.
        mounts: folders of storage by where they are mounted: new directories, such as /model/.
            An address is ``obs://...``, or in v2 ``efs://FILE_SYSTEM/folder`` for SFS Turbo.
        writable: whether the mounts may be written.
        websocket: connections may be upgraded to WebSocket.
    """

    instances: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    flavor: str = SERVICE_FLAVOR.value
    custom_spec: Mapping[str, Any] = field(default_factory=dict)
    pool: str = ""
    deploy_timeout_min: int = DEPLOY_TIMEOUT.value
    max_surge: str = ""
    max_unavailable: str = ""
    grace_s: int = SIGTERM_EXIT.value
    stop_command: str = ""
    authentication: str = API_KEY
    request_timeout_s: int = 0
    description: str = ""
    writable: bool = False
    mounts: Mapping[str, str] = field(default_factory=dict)
    websocket: bool = False

    def but(self, said: Mapping[str, Any]) -> DeployOptions:
        """Return these options with what is not empty in place of their own."""
        return replace(self, **{name: value for name, value in said.items() if value})

    def __repr__(self) -> str:
        shown = {**vars(self), "environment": sorted(self.environment)}  # names, no values
        return f"DeployOptions({', '.join(f'{k}={v!r}' for k, v in shown.items() if v)})"


@dataclass(frozen=True)
class Seen:
    """A service as the platform shows it now.

    Attributes:
        status: in lower case, as the classic calls write it.
        url: where it is asked; empty before it runs.
        content: what tells it from a service of other models or settings.
        is_ready: whether every part of it is.
        version: of a service of v2; empty elsewhere.
        options: how it was deployed, as far as the platform says.
        is_asynchronous: whether it says that it answers later; classic services do not.
    """

    id: str
    status: str
    url: str
    content: object
    is_ready: bool
    version: str
    options: DeployOptions
    is_asynchronous: bool = False

    @property
    def is_settled(self) -> bool:
        """Whether nothing is under way with it."""
        if self.status == "running":
            return self.is_ready
        return self.status in ("failed", "stopped", "error", "finished")


@dataclass(frozen=True)
class Service:
    """A real-time service.

    Attributes:
        generation: ``v1``, the classic one, or ``v2``, Inference 2.0.
        url: the base that paths of apis are appended to.
        is_asynchronous: whether it answers later, by a task.
        was_there: whether it ran already, just so.
    """

    id: str
    name: str
    generation: str
    model: Model
    url: str
    status: str
    options: DeployOptions = field(repr=False)
    is_asynchronous: bool
    was_there: bool
    seconds: float
    cloud: Cloud = field(repr=False, compare=False)

    def predict(
        self,
        body: bytes | Mapping[str, Any],
        *,
        filename: str = "digit.jpg",
        url_path: str = "",
        token: str = "",
        timeout_s: float | None = None,
        on_part: OnPart | None = None,
    ) -> Prediction:
        """Ask through the gateway; of an asynchronous service submit, wait, and fetch the answer.

        Args:
            body: a file, or the members of a JSON request.
            filename: of the file.
            url_path: of the api; empty for the first that is a POST.
            token: of IAM, for ``X-Auth-Token``; empty for that of the environment, else to sign
                with the keys in v1, and to send what the service asks for in v2.
            timeout_s: when to give up; None for a little longer than the gateway waits.
            on_part: told each part of a stream as it arrives.

        Raises:
            UsageError: config.json declares no api for this.
            Unavailable: nothing answers.
        """
        api = predicting_api(self.model.config, url_path)
        asked: dict[str, Any] = {"filename": filename, "token": token, "timeout_s": timeout_s}
        if self.is_asynchronous:
            return ask_later(self.access, self.url, api, body, **asked)
        return ask_now(self.access, self.url, api, body, **asked, on_part=on_part)

    @property
    def access(self) -> Access:
        """How its callers prove who they are."""
        return Access(self.cloud, self.generation, self.options.authentication)

    def __str__(self) -> str:
        how = "ran already" if self.was_there else f"{self.status} in {self.seconds:.1f} s"
        rows = (f"  {name:<9} {text}" for name, text in self._rows())
        return "\n".join([f"{self.name}: {how}", *rows])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td style='text-align:left'>{escape(name)}</td>"
            f"<td style='text-align:left'>{escape(text)}</td></tr>"
            for name, text in self._rows()
        )
        return f"<p><b>{escape(self.name)}</b> {escape(self.status)}</p><table>{rows}</table>"

    def _rows(self) -> list[tuple[str, str]]:
        count = self.options.instances
        pool = self.options.pool or "the public pool"
        kind = "asynchronous" if self.is_asynchronous else "real-time"
        return [
            ("id", self.id),
            ("model", f"{self.model.name} {self.model.version}"),
            ("instances", f"{count} in {pool}"),
            ("kind", f"{kind}, {self.generation}"),
            ("url", self.url),
        ]


class Generation(Protocol):
    """The calls about real-time services of one generation of the API."""

    generation: str

    def request(
        self, model: Model, name: str, options: DeployOptions, *, asynchronous: bool
    ) -> dict[str, Any]:
        """Return the body of a request; refuse what the platform would."""
        ...

    def find(self, name: str) -> Seen | None:
        """Return the service of this name, or None."""
        ...

    def create(self, body: Mapping[str, Any]) -> str:
        """Begin to deploy a service and return its id."""
        ...

    def update(self, seen: Seen, body: Mapping[str, Any]) -> None:
        """Begin a rolling update."""
        ...

    def restart(self, seen: Seen) -> None:
        """Begin to start a service that was stopped."""
        ...

    def show(self, service_id: str, planned: Mapping[str, Any] | None = None) -> Seen | None:
        """Return a service as it is now, or None."""
        ...

    def content(self, document: Mapping[str, Any]) -> object:
        """Return what tells services apart, of a request or of one that is shown."""
        ...

    def events(self, service_id: str) -> list[dict[str, Any]]:
        """Return what has happened to a service, oldest first."""
        ...

    def pod_events(self, service_id: str) -> list[dict[str, Any]]:
        """Return what has happened to its instances, oldest first; of v2 alone."""
        ...

    def delete(self, service_id: str) -> None:
        """Begin to delete a service. Idempotent."""
        ...
