"""A service that answers, and how it was deployed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from html import escape
from typing import TYPE_CHECKING, Any

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
